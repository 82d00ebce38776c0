"""What the images can tell: whether a shortfall is beyond their noise, and whether a floor is finer than that noise.

A metric on given images is exact: measured again it is the same, and a floor judges that value. The noise is that of
the images. Others of their kind would have shown another difference between the same two detectors, and the
bootstrap says how far another. So noise changes no verdict; it says how much one is worth.
"""

from __future__ import annotations

from slimgate.flow import Difference, Measurement
from slimgate.gate.floors import Floor

Limits = tuple[float | None, float | None]
"""The lowest and the highest value that pass."""


def describe_noise(
    measurement: Measurement, floor: Floor, *, limits: Limits, reference: Measurement | None
) -> str:
    """Return what the images show about a value and its floor, in words; nothing where their noise is not known."""
    difference = _find_difference(measurement, floor)
    if difference is None:
        return ""
    value, low, high = (
        f"{number:+g}" if measurement.unit == "count" else f"{number:+.4f}"
        for number in (difference.value, *difference.interval)
    )
    known = (
        f"{value} to {difference.reference}, {difference.confidence:.0%} interval {low} to {high} "
        f"on {difference.images} images"
    )
    if floor.relative_to is not None and reference is not None:
        return f"{known}: {_judge_change(difference, limits, reference.value)}"
    beyond = _shortfall(measurement.value, limits)
    if beyond is None:
        return ""
    if beyond < difference.half_width:
        return f"{known}: the bound is missed by less than the ±{difference.half_width:.2g} that these images resolve"
    return f"{known}: the bound is missed by more than the ±{difference.half_width:.2g} that these images resolve"


def find_fineness(
    measurement: Measurement, floor: Floor, *, limits: Limits, reference: Measurement | None
) -> str:
    """Return in what a floor is finer than the images resolve, or nothing.

    A relative floor is when it allows less than half the interval of the difference that it bounds: a detector
    that has lost nothing can fail it, and one that has lost more can pass. An absolute floor, which bounds no
    difference of this run, is when its slack is less than half of what the images resolve.
    """
    difference = _find_difference(measurement, floor)
    if difference is None:
        return ""
    if floor.relative_to is not None and reference is not None:
        allowed = [abs(limit - reference.value) for limit in limits if limit is not None]
        what, least = "allows", difference.half_width
    else:
        allowed = [] if floor.slack is None else [floor.slack]
        what, least = "has a slack of", difference.half_width / 2
    if not allowed or min(allowed) >= least:
        return ""
    return (
        f"this floor is finer than {difference.images} images resolve: it {what} {min(allowed):.2g}, "
        f"and the difference to {difference.reference} is known to ±{difference.half_width:.2g}"
    )


def _find_difference(measurement: Measurement, floor: Floor) -> Difference | None:
    """Return the difference to the case that the floor names, else to the first: the study's reference."""
    if floor.relative_to is not None:
        return measurement.difference_to(floor.relative_to)
    return measurement.differences[0] if measurement.differences else None


def _judge_change(difference: Difference, limits: Limits, reference: float) -> str:
    """Return whether a change and its excess over what is allowed are beyond the noise."""
    low, high = difference.interval
    if low == high == 0:
        return "no image changes it"
    least, most = (None if limit is None else limit - reference for limit in limits)
    if least is not None and difference.value < least:
        return _judge_excess("drop", -high, -least)
    if most is not None and difference.value > most:
        return _judge_excess("rise", low, most)
    if (least is None or low >= least) and (most is None or high <= most):
        return "within what is allowed, noise included"
    return "within what is allowed, but these images do not show that it always would be"


def _judge_excess(word: str, surely: float, allowed: float) -> str:
    """Return what is shown of a change of which ``surely`` is the end of the interval nearest to none."""
    if surely > allowed:
        return f"a {word} of more than the allowed {allowed:.4g} is shown"
    if surely > 0:
        return f"a {word} is shown, but not that it is more than the allowed {allowed:.4g}"
    return f"these images do not tell it from no {word} at all"


def _shortfall(value: float, limits: Limits) -> float | None:
    """Return how far a value is beyond an absolute bound, or None when it is not."""
    low, high = limits
    if low is not None and value < low:
        return low - value
    return value - high if high is not None and value > high else None
