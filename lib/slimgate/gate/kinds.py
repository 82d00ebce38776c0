"""Which suite a metric belongs to, and whether it is only comparable on the device it was measured on."""

from __future__ import annotations

from typing import Literal

from slimgate.measure import metric_for

Kind = Literal["accuracy", "size", "latency"]

KINDS: tuple[Kind, ...] = ("accuracy", "size", "latency")

UNITS = ("fraction", "bytes", "seconds", "ratio", "count", "flops")

WHOLE_CASE = "case"
"""Metric of a verdict about a case as a whole (its export failed, it vanished); no measurement has it."""

_SIZES = ("parameters", "nonzero_parameters", "int8_share", "fp16_share")


def kind_of(metric: str) -> Kind:
    """Return the suite that asserts a metric; every metric has one.

    Raises:
        UsageError: there is no such metric.
    """
    known = metric_for(metric)
    if known.unit == "seconds" or metric.startswith("latency_ratio"):
        return "latency"
    if known.unit in ("bytes", "flops") or metric in _SIZES:
        return "size"
    return "accuracy"


def is_timed(metric: str) -> bool:
    """Return whether a metric is a time, or a ratio of times, and so is keyed by the device.

    Raises:
        UsageError: there is no such metric.
    """
    return kind_of(metric) == "latency"
