"""Floors to paste: text for a person to read, judge and put into a floors file. Nothing here writes one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from slimgate.flow import Case, Measurement
from slimgate.gate.bounds import SIGNED
from slimgate.gate.floors import runtime_major
from slimgate.gate.kinds import is_timed
from slimgate.gate.render import render_entry, render_metric
from slimgate.gate.schema import FLOORS_FORMAT
from slimgate.gate.vacuous import BrokenScores
from slimgate.measure import metric_for

FRACTION_MARGIN = 0.005
FRACTION_SLACK = 0.01
_SHARE = "_share"
_SHARE_STEP = 1e-4
_SHARE_MARGIN = 1e-6
SIZE_MARGIN = 0.01
_SIZE_SLACK = 0.05
_ENGINE_BAND = 0.25
TIME_MARGIN = 1.05
_ENGINES = "tensorrt"


def propose_floor(measurement: Measurement, *, broken: BrokenScores | None = None) -> str:
    """Return the line for ``[case.floor]`` that holds a measurement where it is, with a little room.

    The room: 0.0001 for shares of the arithmetic, 0.005 for other fractions, 1 % for sizes and counts, 25 % either
    way for engines (their builds are not reproducible), 5 % above the interval for times. What scores no better
    than a detector that is broken on purpose is bounded the other way: it is meant to score nothing.
    """
    entry = render_entry(propose_bounds(measurement, broken=broken), measurement.unit)
    return render_metric(measurement.metric, [entry])


def propose_floors(
    measurements: Sequence[Measurement], *, today: str, broken: BrokenScores | None = None
) -> str:
    """Return the floors of measurements as TOML to paste, one block per case; empty if there are none.

    The reason is the person's who pastes them: where it belongs stands a request to write one.
    """
    by_case: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        by_case.setdefault(measurement.case, []).append(measurement)
    return "\n".join(_propose_case(case, of_case, today, broken) for case, of_case in by_case.items())


def propose_header(study: str, device: str | None) -> str:
    """Return the first lines of a floors file that does not exist yet."""
    lines = [f'format = "{FLOORS_FORMAT}"', f'study = "{study}"']
    return "\n".join([*lines, f'device = "{device}"'] if device else lines) + "\n"


def split_by_device(measurements: Iterable[Measurement]) -> Mapping[bool, list[Measurement]]:
    """Return measurements by whether their floor belongs into the latency file of the device."""
    split: dict[bool, list[Measurement]] = {False: [], True: []}
    for measurement in measurements:
        split[is_timed(measurement.metric)].append(measurement)
    return split


def _propose_case(
    case: Case, measurements: Sequence[Measurement], today: str, broken: BrokenScores | None
) -> str:
    versions = measurements[0].provenance.get("versions", {})
    runtime = runtime_major(case, versions.items()) or f"{case.runtime} UNKNOWN"
    lines = [
        "[[case]]",
        f'id = "{case}"',
        f'runtime = "{runtime}"',
        'reason = "WRITE WHY THIS IS GOOD ENOUGH"',
        f"date = {today}",
        "[case.floor]",
        *(propose_floor(measurement, broken=broken) for measurement in measurements),
    ]
    return "\n".join(lines) + "\n"


def propose_bounds(measurement: Measurement, *, broken: BrokenScores | None = None) -> dict[str, str]:
    """Return the bounds that ``propose_floor`` writes, as TOML numbers by key."""
    value, unit = measurement.value, measurement.unit
    if measurement.metric.endswith(_SHARE):
        # One convolution of many may be a thousandth of the arithmetic, and a graph has the same shares everywhere.
        low = math.floor((value - _SHARE_MARGIN) / _SHARE_STEP) * _SHARE_STEP
        high = math.ceil((value + _SHARE_MARGIN) / _SHARE_STEP) * _SHARE_STEP
        above = {"max": f"{min(high, 1.0):.4f}"}
        return above if low <= 0 else {"min": f"{low:.4f}", **above}
    if unit == "fraction":
        return _fraction_bounds(measurement, level_of(measurement.metric, broken or {}))
    if is_timed(measurement.metric):
        return {"max": round_up((measurement.interval or (value, value))[1] * TIME_MARGIN)}
    if measurement.case.runtime.startswith(_ENGINES) and unit == "bytes":
        return {
            "min": str(int(value * (1 - _ENGINE_BAND))),
            "max": str(math.ceil(value * (1 + _ENGINE_BAND))),
        }
    if unit == "ratio":
        return {"max": round_up(value * TIME_MARGIN, 2)}
    high = math.ceil(value * (1 + SIZE_MARGIN))
    level = level_of(measurement.metric, broken or {})
    if level is not None and high >= level:
        return {"min": str(max(1, math.floor(value * (1 - SIZE_MARGIN))))}
    return {"max": str(high), "slack": str(max(1, math.floor(high * _SIZE_SLACK)))}


def level_of(metric: str, broken: BrokenScores) -> float | None:
    """Return the best that a detector scores when it is broken on purpose; None if nobody measured it."""
    scores = [values[metric] for values in broken.values() if metric in values]
    if not scores:
        return None
    return max(scores) if metric_for(metric).higher_is_better else min(scores)


def _fraction_bounds(measurement: Measurement, level: float | None) -> dict[str, str]:
    value, metric = measurement.value, metric_for(measurement.metric)
    low = math.floor((value - FRACTION_MARGIN) * 1000) / 1000
    high = math.ceil((value + FRACTION_MARGIN) * 1000) / 1000
    if not metric.higher_is_better:
        if high >= min(1.0, 1.0 if level is None else level):
            return {"min": f"{max(0.01, value - 0.01):.3f}"}
        return {"max": f"{high:.3f}", "slack": f"{FRACTION_SLACK}"}
    # What scores nothing is meant to score nothing: the pruning has destroyed it, and that is recorded.
    if metric.name not in SIGNED and low <= max(0.0, level or 0.0):
        return {"max": f"{min(1.0, max(0.01, value + 0.01)):.3f}"}
    return {"min": f"{low:.3f}", "slack": f"{FRACTION_SLACK}"}


def round_up(value: float, digits: int = 3) -> str:
    """Return a number rounded up to significant digits."""
    if value <= 0:
        return "0"
    scale = 10 ** (digits - 1 - math.floor(math.log10(value)))
    return f"{math.ceil(value * scale) / scale:.12g}"
