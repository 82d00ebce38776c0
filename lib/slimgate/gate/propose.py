"""Floors to paste: text for a person to read, judge and put into a floors file. Nothing here writes one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from slimgate.flow import Case, Measurement
from slimgate.gate.floors import runtime_major
from slimgate.gate.kinds import is_timed
from slimgate.gate.schema import FLOORS_FORMAT
from slimgate.measure import metric_for

_FRACTION_MARGIN = 0.005
_FRACTION_SLACK = 0.01
_SHARE = "_share"
_SHARE_STEP = 1e-4
_SHARE_MARGIN = 1e-6
_SIZE_MARGIN = 0.01
_SIZE_SLACK = 0.05
_ENGINE_BAND = 0.25
_TIME_MARGIN = 1.05
_ENGINES = "tensorrt"


def propose_floor(measurement: Measurement) -> str:
    """Return the line for ``[case.floor]`` that holds a measurement where it is, with a little room.

    The room: 0.0001 for shares of the arithmetic, 0.005 for other fractions, 1 % for sizes and counts, 25 % either
    way for engines (their builds are not reproducible), 5 % above the interval for times.
    """
    return f'{_quote(measurement.metric)} = {{ {_bounds(measurement)}, unit = "{measurement.unit}" }}'


def propose_floors(measurements: Sequence[Measurement], *, today: str) -> str:
    """Return the floors of measurements as TOML to paste, one block per case; empty if there are none.

    The reason is the person's who pastes them: where it belongs stands a request to write one.
    """
    by_case: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        by_case.setdefault(measurement.case, []).append(measurement)
    return "\n".join(_propose_case(case, of_case, today) for case, of_case in by_case.items())


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


def _propose_case(case: Case, measurements: Sequence[Measurement], today: str) -> str:
    versions = measurements[0].provenance.get("versions", {})
    runtime = runtime_major(case, versions.items()) or f"{case.runtime} UNKNOWN"
    lines = [
        "[[case]]",
        f'id = "{case}"',
        f'runtime = "{runtime}"',
        'reason = "WRITE WHY THIS IS GOOD ENOUGH"',
        f"date = {today}",
        "[case.floor]",
        *(propose_floor(measurement) for measurement in measurements),
    ]
    return "\n".join(lines) + "\n"


def _bounds(measurement: Measurement) -> str:
    value, unit = measurement.value, measurement.unit
    if measurement.metric.endswith(_SHARE):
        # One convolution of many may be a thousandth of the arithmetic, and a graph has the same shares everywhere.
        low = math.floor((value - _SHARE_MARGIN) / _SHARE_STEP) * _SHARE_STEP
        high = math.ceil((value + _SHARE_MARGIN) / _SHARE_STEP) * _SHARE_STEP
        return f"max = {high:.4f}" if low <= 0 else f"min = {low:.4f}, max = {min(high, 1.0):.4f}"
    if unit == "fraction":
        if not metric_for(measurement.metric).higher_is_better:
            high = math.ceil((value + _FRACTION_MARGIN) * 1000) / 1000
            return f"max = {high:.3f}, slack = {_FRACTION_SLACK}"
        low = math.floor((value - _FRACTION_MARGIN) * 1000) / 1000
        # What scores nothing is meant to score nothing: the pruning has destroyed it, and that is recorded.
        return (
            f"min = {low:.3f}, slack = {_FRACTION_SLACK}"
            if low > 0 or metric_for(measurement.metric).name == "score_shift"
            else f"max = {max(0.01, value + 0.01):.3f}"
        )
    if is_timed(measurement.metric):
        high = (measurement.interval or (value, value))[1] * _TIME_MARGIN
        return f"max = {_round_up(high, 3)}"
    if measurement.case.runtime.startswith(_ENGINES) and unit == "bytes":
        return f"min = {int(value * (1 - _ENGINE_BAND))}, max = {math.ceil(value * (1 + _ENGINE_BAND))}"
    if unit == "ratio":
        return f"max = {_round_up(value * _TIME_MARGIN, 2)}"
    high = math.ceil(value * (1 + _SIZE_MARGIN))
    return f"max = {high}, slack = {max(1, math.floor(high * _SIZE_SLACK))}"


def _round_up(value: float, digits: int) -> str:
    """Return a number rounded up to significant digits."""
    if value <= 0:
        return "0"
    scale = 10 ** (digits - 1 - math.floor(math.log10(value)))
    return f"{math.ceil(value * scale) / scale:.12g}"


def _quote(metric: str) -> str:
    return metric if metric.replace("_", "").isalnum() else f'"{metric}"'
