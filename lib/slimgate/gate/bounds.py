"""What the numbers of a floor may be: bounds that can fail, tolerances that are tolerances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimgate.measure import Metric

ABSOLUTE = ("min", "max")
RELATIVE = ("max_drop", "max_rise", "min_fraction", "max_fraction")

_MOST_SLACK = {"fraction": 0.05, "ratio": 0.5}
_MOST_SHARE = 0.25
"""Largest slack, as a share of the bound, in units that have no natural scale."""
_LEAST_COUNT_SLACK = 5.0
_MOST_CHANGE = {"fraction": 0.1, "ratio": 0.5, "count": 100.0}
"""Largest max_drop and max_rise; other units have no natural scale, so there a share of the reference is asked for."""
_WIDEST_BAND = 0.1
"""Of a fraction: from min to max."""
_MOST_BAND = 2.0
"""Of everything else: max over min."""
HIGHEST_RATIO = 10.0
"""No ratio that anybody accepts is higher: 95 is meant as percent."""
SIGNED = ("score_shift",)
"""Metrics that are below 0 as well."""
_WORSE_WAY = {True: ("max_drop", "min_fraction"), False: ("max_rise", "max_fraction")}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a floor's numbers."""

    found: str
    expected: str
    action: str


def find_bound_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    """Return what is wrong with the bounds of one floor, or None."""
    return _find_shape_fault(bounds) or _find_value_fault(metric, bounds) or _find_slack_fault(metric, bounds)


def _find_shape_fault(bounds: Mapping[str, Any]) -> Fault | None:
    absolute = [key for key in ABSOLUTE if key in bounds]
    relative = [key for key in RELATIVE if key in bounds]
    for key in (*absolute, *relative, "slack"):
        value = bounds.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return Fault(found=f"{key} is {value!r}", expected="a finite number", action=f"correct {key}")
    if absolute and relative:
        return Fault(
            found=f"has {' and '.join(absolute + relative)}",
            expected="either min and max, or bounds relative to another case",
            action="write two floors as a list: [{ min = ... }, { relative_to = ... }]",
        )
    if not absolute and not relative:
        return Fault(
            found="has no bound", expected=f"one of {', '.join(ABSOLUTE + RELATIVE)}", action="add it"
        )
    if bool(relative) != ("relative_to" in bounds):
        lacking = "relative_to" if relative else f"one of {', '.join(RELATIVE)}"
        return Fault(
            found=f"lacks {lacking}",
            expected="relative_to together with the bound that is relative",
            action=f"add {lacking}",
        )
    if len(absolute) == 2 and not bounds["min"] < bounds["max"]:
        return Fault(
            found=f"min {bounds['min']:g} is not below max {bounds['max']:g}",
            expected="a band: min below max",
            action="correct one of them",
        )
    return None


def _find_value_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    for key in ABSOLUTE:
        if key not in bounds:
            continue
        value = float(bounds[key])
        in_percent = find_percent(metric, key, value)
        if in_percent:
            return in_percent
        if metric.name not in SIGNED and (value < 0 or (key == "min" and value == 0)):
            return Fault(
                found=f"{key} = {value:g} can never fail" if key == "min" else f"{key} = {value:g}",
                expected="a bound above 0",
                action="write the value that must hold",
            )
    fault = _find_band_fault(metric, bounds) or _find_change_fault(metric, bounds)
    if fault:
        return fault
    if not _find_downward(metric, bounds):
        return Fault(
            found=f"{' and '.join(key for key in RELATIVE if key in bounds)} cannot notice that "
            f"{metric.name} got worse",
            expected=" or ".join(_WORSE_WAY[metric.higher_is_better]),
            action="bound the way in which it gets worse",
        )
    for key, least, most in (("min_fraction", 0.5, 1.0), ("max_fraction", 0.0, 2.0)):
        if key in bounds and not least < float(bounds[key]) <= most:
            percent = float(bounds[key]) > 2
            return Fault(
                found=f"{key} = {bounds[key]:g}{' looks like percent' if percent else ''}",
                expected=f"a share of the reference above {least:g} and at most {most:g}",
                action=f"write {key} = {bounds[key] / 100:g}" if percent else "correct it",
            )
    return None


def find_percent(metric: Metric, key: str, value: float) -> Fault | None:
    """Return what is wrong with a bound that was written in percent, or None."""
    most = {"fraction": 1.0, "ratio": HIGHEST_RATIO}.get(metric.unit, math.inf)
    if abs(value) <= most:
        return None
    return Fault(
        found=f"{key} = {value:g} looks like percent",
        expected="a fraction between 0 and 1"
        if metric.unit == "fraction"
        else f"a ratio, of which 1 means no difference, of at most {most:g}",
        action=f"write {key} = {value / 100:g}",
    )


def _find_band_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    if not all(key in bounds for key in ABSOLUTE):
        return None
    low, high = float(bounds["min"]), float(bounds["max"])
    if metric.unit == "fraction":
        # Of what is written: 0.9 - 0.8 is a little more than 0.1.
        wide = high - low > _WIDEST_BAND + 1e-9
        size, expected = f"{high - low:g} wide", f"{_WIDEST_BAND:g} fraction"
    else:
        wide = high > _MOST_BAND * low
        size, expected = f"a factor of {high / low:.1f} wide", f"a factor of {_MOST_BAND:g}"
    if not wide:
        return None
    return Fault(
        found=f"the band {low:g} to {high:g} is {size}",
        expected=f"at most {expected}",
        action="narrow the band",
    )


def _find_change_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    most = _MOST_CHANGE.get(metric.unit)
    for key in ("max_drop", "max_rise"):
        if key not in bounds:
            continue
        if most is None:
            share = "min_fraction" if key == "max_drop" else "max_fraction"
            return Fault(
                found=f"{key} = {bounds[key]:g} on a {metric.unit} metric, which has no natural scale",
                expected=f"{share}: a share of the reference",
                action=f"write {share}, or an absolute floor",
            )
        if not 0 <= float(bounds[key]) <= most:
            return Fault(
                found=f"{key} = {bounds[key]:g} on a {metric.unit} metric",
                expected=f"between 0 and {most:g} {metric.unit}",
                action=f"write a tolerance, or an absolute floor{_meant(metric, key, bounds[key], most)}",
            )
    return None


def _find_slack_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    is_band = all(key in bounds for key in ABSOLUTE)
    better_way = "min" if metric.higher_is_better else "max"
    ratchets = better_way in bounds and not is_band and metric.unit not in ("ratio", "seconds")
    if "slack" not in bounds:
        if ratchets:
            return Fault(
                found="has no slack",
                expected=f"how much better than {better_way} is still unremarkable, in {metric.unit}",
                action="add slack",
            )
        return None
    if is_band or not (better_way in bounds or any(key in bounds for key in RELATIVE)):
        return Fault(
            found="slack where no bound can be beaten",
            expected=f"slack only beside {better_way} or a relative bound",
            action="remove slack",
        )
    slack, most = float(bounds["slack"]), _most_slack(metric, bounds)
    if not 0 < slack <= most:
        return Fault(
            found=f"slack = {slack:g} on a {metric.unit} metric",
            expected=f"above 0 and at most {most:g} {metric.unit}",
            action=f"write a tolerance that can notice a change{_meant(metric, 'slack', slack, most)}",
        )
    return None


def _find_downward(metric: Metric, bounds: Mapping[str, Any]) -> bool:
    """Return whether a relative floor, if it is one, bounds the way in which the metric gets worse."""
    relative = [key for key in RELATIVE if key in bounds]
    return not relative or any(key in relative for key in _WORSE_WAY[metric.higher_is_better])


def _meant(metric: Metric, key: str, value: float, most: float) -> str:
    """Return what a tolerance says when it was written in percentage points."""
    points = metric.unit == "fraction" and 0 < value / 100 <= most
    return f"; if {value:g} percentage points are meant, {key} = {value / 100:g}" if points else ""


def _most_slack(metric: Metric, bounds: Mapping[str, Any]) -> float:
    if metric.unit in _MOST_SLACK:
        return _MOST_SLACK[metric.unit]
    bound = max((abs(float(bounds[key])) for key in ABSOLUTE if key in bounds), default=math.inf)
    least = _LEAST_COUNT_SLACK if metric.unit == "count" else 0.0
    return max(least, _MOST_SHARE * bound)
