"""One measurement against one floor. Pure: no files, no clock, no pytest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate.floors import Floor, runtime_major
from slimgate.gate.message import compose_message
from slimgate.gate.noise import find_fineness
from slimgate.gate.provenance import find_mismatches
from slimgate.gate.records import Record
from slimgate.measure import metric_for

LEAST_CONFIDENCE = 0.95
"""Of an interval that a verdict may rest on: a narrower one passes and fails by chance."""

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A floor made absolute: the lowest and the highest value that pass."""

    low: float | None
    high: float | None


def judge(
    measurement: Measurement,
    floor: Floor,
    *,
    record: Record | None,
    reference: Measurement | None = None,
    run_id: str = "",
    reproduce: str = "slimgate study",
) -> Verdict:
    """Return what the gate says about a measurement.

    A value with an interval passes when the interval lies wholly on the right side of the bound. It fails when the
    interval that holds in all comparisons of the run at once lies wholly on the other: of sixty intervals at 95 %
    three miss by chance, and one of them would cost a night. Else it is INCONCLUSIVE. (Against a relative floor the
    value itself counts: its interval is not that of the difference.) An accuracy has no such interval: on given
    images it is exact. How well its differences are known is said in the message and changes no verdict. Whatever
    cannot be compared is INVALID.

    Args:
        measurement: what was measured.
        floor: what it is held against.
        record: the accepted evidence behind the floor; without it nothing proves that the two are comparable.
        reference: the same metric of the case that a relative floor names, from the same run.
        run_id: id of the run that is judged.
        reproduce: command that the message completes with ``-k '<case>'``.
    """
    limits = Limits(low=floor.min, high=floor.max)
    causes = find_causes(measurement) or _find_key_causes(measurement, floor)
    if not causes:
        causes = _find_record_causes(measurement, record, run_id)
    if not causes and floor.relative_to is not None:
        causes = _find_reference_causes(measurement, floor, reference)
        limits = _limits_from_reference(floor, reference) if reference and not causes else limits
    status = Status.INVALID if causes else _compare(measurement, floor, limits)
    bounds = (limits.low, limits.high)
    return Verdict(
        case=measurement.case,
        metric=measurement.metric,
        status=status,
        measured=None if math.isnan(measurement.value) else measurement.value,
        floor=_nearest_limit(measurement.value, limits),
        unit=measurement.unit,
        message=compose_message(
            status,
            measurement,
            floor,
            record=record,
            limits=bounds,
            reference=reference,
            causes=causes,
            reproduce=reproduce,
        ),
        golden=floor.where,
        note="" if causes else find_fineness(measurement, floor, limits=bounds, reference=reference),
    )


def find_causes(measurement: Measurement) -> list[str]:
    """Return why a measurement cannot be judged, whatever the floor; empty if it can."""
    if not measurement.valid:
        return [measurement.why_invalid or "the measurement says that it is not valid"]
    unit = metric_for(measurement.metric).unit
    if measurement.unit != unit:
        return [f"measured in {measurement.unit}, {measurement.metric} is in {unit}"]
    ends = measurement.interval or ()
    if not all(math.isfinite(number) for number in (measurement.value, *ends)):
        return [f"measured {measurement.value}, which is no number to judge"]
    if unit == "fraction" and abs(measurement.value) > 1:
        return [f"measured {measurement.value:g}, outside 0..1: percent?"]
    if ends and not ends[0] <= measurement.value <= ends[1]:
        return [f"measured {measurement.value:g} outside its own interval {ends[0]:g} to {ends[1]:g}"]
    wide = measurement.simultaneous
    if wide is not None and not (ends and wide[0] <= ends[0] and ends[1] <= wide[1]):
        shown = f"{ends[0]:g} to {ends[1]:g}" if ends else "none"
        return [
            f"the interval of all {measurement.comparisons} comparisons at once, {wide[0]:g} to {wide[1]:g}, "
            f"does not hold that of this one alone, {shown}"
        ]
    if measurement.confidence is not None and measurement.confidence < LEAST_CONFIDENCE:
        return [
            f"an interval of {measurement.confidence * 100:g}% confidence, {LEAST_CONFIDENCE * 100:g}% or more is "
            "asked for"
        ]
    if unit == "ratio" and measurement.samples:
        # Samples of a ratio are its logarithms, round by round; whatever summarises them lies among them.
        low, high = math.exp(min(measurement.samples)), math.exp(max(measurement.samples))
        if not low * (1 - _ROUNDING) <= measurement.value <= high * (1 + _ROUNDING):
            return [
                f"measured {measurement.value:g}, while its own {len(measurement.samples)} samples lie between "
                f"{low:g} and {high:g}"
            ]
    return []


def _find_key_causes(measurement: Measurement, floor: Floor) -> list[str]:
    causes = []
    if (measurement.case, measurement.metric) != (floor.case, floor.metric):
        causes.append(f"the floor is of {floor.metric} of {floor.case}")
    if measurement.unit != floor.unit:
        causes.append(f"measured in {measurement.unit}, the floor is in {floor.unit}")
    if measurement.device != floor.device:
        causes.append(f"measured on device '{measurement.device}', the floor is of '{floor.device}'")
    versions = measurement.provenance.get("versions", {})
    ran = runtime_major(measurement.case, versions.items())
    if ran != floor.runtime:
        causes.append(f"ran with {ran or 'an unknown runtime version'}, the floor is of {floor.runtime}")
    if floor.unit == "seconds" and measurement.interval is None:
        causes.append(
            "a budget in seconds is judged by an interval, and this time has none: too few images were timed "
            "(a median takes 6, the 99 % quantile 299)"
        )
    return causes


def _find_record_causes(measurement: Measurement, record: Record | None, run_id: str) -> list[str]:
    if record is None:
        return [
            "no record of an accepted run stands behind the floor: "
            "run 'slimgate accept RUN_DIR', commit the record, run the study again"
        ]
    if run_id and record.accepted.run_id == run_id:
        return [
            "the record was accepted from this very run: a run is no judge of itself; run the study again"
        ]
    accepted = record.measurement
    if accepted.unit != measurement.unit or accepted.device != measurement.device:
        return [
            f"the record is in {accepted.unit} on '{accepted.device}', "
            f"measured in {measurement.unit} on '{measurement.device}'"
        ]
    return [
        f"the record is of another run ({mismatch})"
        for mismatch in find_mismatches(accepted.provenance, measurement.provenance)
    ]


def _find_reference_causes(
    measurement: Measurement, floor: Floor, reference: Measurement | None
) -> list[str]:
    if reference is None:
        return [f"the reference {floor.relative_to} has no {floor.metric} in this run"]
    if (reference.case, reference.metric) != (floor.relative_to, floor.metric):
        return [f"held against {reference.metric} of {reference.case}, the floor names {floor.relative_to}"]
    return [f"the reference {reference.case}: {cause}" for cause in find_causes(reference)] + [
        f"the reference {reference.case} was measured with another {key}"
        for key in ("dataset_sha256", "images", "protocol")
        if reference.provenance.get(key) != measurement.provenance.get(key)
    ]


def _limits_from_reference(floor: Floor, reference: Measurement) -> Limits:
    lows = [
        None if floor.max_drop is None else reference.value - floor.max_drop,
        None if floor.min_fraction is None else reference.value * floor.min_fraction,
    ]
    highs = [
        None if floor.max_rise is None else reference.value + floor.max_rise,
        None if floor.max_fraction is None else reference.value * floor.max_fraction,
    ]
    return Limits(
        low=max((low for low in lows if low is not None), default=None),
        high=min((high for high in highs if high is not None), default=None),
    )


def _compare(measurement: Measurement, floor: Floor, limits: Limits) -> Status:
    low_end, high_end = measurement.value, measurement.value
    surely_low, surely_high = low_end, high_end
    if measurement.interval is not None and floor.relative_to is None:
        low_end, high_end = measurement.interval
        surely_low, surely_high = measurement.simultaneous or measurement.interval
    low = -math.inf if limits.low is None else limits.low
    high = math.inf if limits.high is None else limits.high
    if surely_high < low or surely_low > high:
        return Status.FAIL
    if low_end < low or high_end > high:
        return Status.INCONCLUSIVE
    if floor.slack is not None:
        # Added to the bound, not subtracted from the value: 0.84 is 0.83 + 0.01, but 0.84 - 0.83 is not 0.01.
        if metric_for(floor.metric).higher_is_better:
            is_stale = limits.low is not None and low_end > low + floor.slack
        else:
            is_stale = limits.high is not None and high_end < high - floor.slack
        if is_stale:
            return Status.STALE
    return Status.PASS


def _nearest_limit(value: float, limits: Limits) -> float | None:
    bounds = [bound for bound in (limits.low, limits.high) if bound is not None]
    if math.isnan(value):
        return bounds[0] if bounds else None
    return min(bounds, key=lambda bound: abs(bound - value), default=None)
