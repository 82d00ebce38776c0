"""A floor of the same shape for a new number: what a person may put in place of one that no longer fits."""

from __future__ import annotations

import math
from collections.abc import Mapping

from slimgate.flow import Measurement
from slimgate.gate.bounds import ABSOLUTE, RELATIVE, find_bound_fault
from slimgate.gate.floors import Floor
from slimgate.gate.kinds import is_timed
from slimgate.gate.message import show_number
from slimgate.gate.propose import (
    FRACTION_MARGIN,
    SIZE_MARGIN,
    TIME_MARGIN,
    propose_bounds,
    round_up,
)
from slimgate.gate.render import bounds_of, render_number
from slimgate.gate.vacuous import BrokenScores
from slimgate.measure import metric_for

_STRICTER_UP = ("min", "min_fraction")
"""Bounds that are tighter when they are higher; every other one is tighter when it is lower."""

_DROP_MARGIN = 0.001
_SHARE_MARGIN = 0.002


def renew_bounds(
    floor: Floor,
    measurement: Measurement,
    *,
    reference: Measurement | None = None,
    broken: BrokenScores | None = None,
) -> dict[str, str] | None:
    """Return new bounds of a floor's own kind that a measurement holds, as TOML numbers by key.

    An absolute floor stays absolute and a relative one relative. None where no floor of that kind can hold it: a drop
    that is larger than the schema calls a tolerance.

    Args:
        floor: as it stands.
        measurement: what was measured.
        reference: the same metric of the case that a relative floor names.
        broken: what the reference scores when it is broken on purpose; no bound is set below that.
    """
    if floor.relative_to is not None:
        bounds = _relative(floor, measurement, reference)
    elif set(proposed := propose_bounds(measurement, broken=broken)) & set(ABSOLUTE) == _sides(floor):
        bounds = _with_slack_of(floor, proposed)
    elif floor.min is not None and floor.max is not None:
        bounds = _band(floor, measurement)
    else:
        bounds = _one_sided(floor, measurement) if not _is_better_way(floor) else proposed
    if bounds is None:
        return None
    numbers = {key: float(number) for key, number in bounds.items()}
    named = {} if floor.relative_to is None else {"relative_to": floor.relative_to}
    return None if find_bound_fault(metric_for(floor.metric), {**numbers, **named}) else bounds


def describe_change(floor: Floor, bounds: Mapping[str, str]) -> list[str]:
    """Return one text per bound that differs: both values, and how much tighter or looser it is."""
    before, texts = bounds_of(floor), []
    for key in (*ABSOLUTE, *RELATIVE):
        if key in before and key in bounds and float(before[key]) != float(bounds[key]):
            old, new = float(before[key]), float(bounds[key])
            way = "tighter" if (new > old) == (key in _STRICTER_UP) else "looser"
            shown = [_show(key, number, floor.unit) for number in (old, new, abs(new - old))]
            texts.append(f"{key} {shown[0]} → {shown[1]}, {way} by {shown[2]}")
        elif key in before and key not in bounds:
            texts.append(f"{key} {_show(key, float(before[key]), floor.unit)} → none")
        elif key in bounds and key not in before:
            texts.append(f"{key} none → {_show(key, float(bounds[key]), floor.unit)}")
    return texts


def is_tighter(floor: Floor, bounds: Mapping[str, str]) -> bool:
    """Return whether bounds are tighter than a floor's in one place, and looser in none."""
    texts = describe_change(floor, bounds)
    return bool(texts) and all(", tighter by " in text for text in texts)


def is_much_tighter(floor: Floor, bounds: Mapping[str, str]) -> bool:
    """Return whether bounds are tighter by what is worth a line: any digit of a fraction, 1 % of anything else."""
    before = bounds_of(floor)
    least = 0.0 if floor.unit == "fraction" else SIZE_MARGIN
    return is_tighter(floor, bounds) and any(
        abs(float(bounds[key]) / float(before[key]) - 1) > least
        for key in ABSOLUTE
        if key in before and float(before[key])
    )


def _relative(floor: Floor, measurement: Measurement, reference: Measurement | None) -> dict[str, str] | None:
    if reference is None or not reference.value:
        return None
    value, base = measurement.value, reference.value
    # Rounded to what people write: a thousandth of a fraction, a whole byte or count.
    step = 1000 if floor.unit in ("fraction", "ratio") else 1
    room = _DROP_MARGIN if floor.unit in ("fraction", "ratio") else SIZE_MARGIN * base
    bounds = {
        "max_drop": _ceil(max(0.0, base - value + room), step),
        "max_rise": _ceil(max(0.0, value - base + room), step),
        "min_fraction": min(1.0, math.floor((value / base - _SHARE_MARGIN) * 1000) / 1000),
        "max_fraction": math.ceil((value / base + _SHARE_MARGIN) * 1000) / 1000,
    }
    present = bounds_of(floor)
    kept = {key: render_number(bounds[key]) for key in RELATIVE if key in present}
    return {**kept, "slack": present["slack"]} if "slack" in present else kept


def _ceil(value: float, step: int) -> float:
    """Return a value rounded up to whole steps; what is off by less than 1e-6 of one is float arithmetic."""
    return math.ceil(round(value * step, 6)) / step


def _band(floor: Floor, measurement: Measurement) -> dict[str, str]:
    """Return a band as wide as before around the value; at most up to 1 for a fraction."""
    assert floor.min is not None
    assert floor.max is not None
    half = (floor.max - floor.min) / 2
    centre = measurement.value
    if floor.unit == "fraction":
        centre = min(centre, 1.0 - half)
    return {"min": render_number(centre - half), "max": render_number(centre + half)}


def _one_sided(floor: Floor, measurement: Measurement) -> dict[str, str]:
    """Return the bound on the side where being better is what fails: of what is meant to score nothing."""
    value, unit = measurement.value, floor.unit
    ends = measurement.interval or (value, value)
    if floor.min is not None:
        if unit == "fraction":
            return {"min": f"{math.floor((value - FRACTION_MARGIN) * 1000) / 1000:.3f}"}
        low = ends[0] / TIME_MARGIN if unit in ("ratio", "seconds") else math.floor(value * (1 - SIZE_MARGIN))
        return {"min": render_number(low)}
    if unit == "fraction":
        return {"max": f"{min(1.0, math.ceil((value + FRACTION_MARGIN) * 1000) / 1000):.3f}"}
    if is_timed(floor.metric) or unit == "ratio":
        return {"max": round_up(ends[1] * TIME_MARGIN)}
    return {"max": str(math.ceil(value * (1 + SIZE_MARGIN)))}


def _with_slack_of(floor: Floor, bounds: Mapping[str, str]) -> dict[str, str]:
    """Return proposed bounds with the slack that the person chose, where the metric's scale cannot have changed it."""
    kept = dict(bounds)
    if floor.slack is not None and floor.unit == "fraction" and "slack" in kept:
        kept["slack"] = render_number(floor.slack)
    return kept


def _sides(floor: Floor) -> set[str]:
    return {key for key in ABSOLUTE if getattr(floor, key) is not None}


def _is_better_way(floor: Floor) -> bool:
    """Return whether a floor bounds the side on which its metric gets worse."""
    return (floor.min is not None) == metric_for(floor.metric).higher_is_better


def _show(key: str, number: float, unit: str) -> str:
    return f"{number:.4f}" if key.endswith("_fraction") else show_number(number, unit)
