"""The unit of a floor: exactly the metric's own, with the conversion where another one was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimgate.errors import nearest_name
from slimgate.gate.bounds import ABSOLUTE, Fault
from slimgate.gate.kinds import UNITS
from slimgate.measure import Metric

_OTHER_UNITS: dict[str, tuple[str, float]] = {
    "percent": ("fraction", 0.01),
    "%": ("fraction", 0.01),
    "pct": ("fraction", 0.01),
    "points": ("fraction", 0.01),
    "s": ("seconds", 1),
    "ms": ("seconds", 1e-3),
    "us": ("seconds", 1e-6),
    "µs": ("seconds", 1e-6),
    "kb": ("bytes", 1e3),
    "mb": ("bytes", 1e6),
    "gb": ("bytes", 1e9),
    "kib": ("bytes", 2**10),
    "mib": ("bytes", 2**20),
    "gib": ("bytes", 2**30),
    "mflops": ("flops", 1e6),
    "gflops": ("flops", 1e9),
}
"""How people write units that the gate does not store, and what one of each is in the unit that it does."""

_IN_THE_UNIT = (*ABSOLUTE, "max_drop", "max_rise", "slack")


def find_unit_fault(metric: Metric, bounds: Mapping[str, Any]) -> Fault | None:
    """Return what is wrong with the unit of one floor, or None; converts the numbers where it can."""
    unit = bounds.get("unit")
    if unit == metric.unit:
        return None
    target, factor = _OTHER_UNITS.get(str(unit).lower(), ("", 1.0))
    if target == metric.unit:
        written = [
            f"{key} = {value * factor:.12g}"
            for key in _IN_THE_UNIT
            if isinstance(value := bounds.get(key), int | float)
        ]
        return Fault(
            found=f"unit is {unit!r}",
            expected=f"'{metric.unit}'",
            action="write " + ", ".join([*written, f'unit = "{metric.unit}"']),
        )
    near = nearest_name(str(unit), UNITS) if unit not in UNITS else ""
    return Fault(
        found=f"unit is {unit!r}{near}", expected=f"'{metric.unit}'", action="write the unit of the metric"
    )
