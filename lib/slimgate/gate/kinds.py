"""Which suite a metric belongs to, and whether it is only comparable on the device it was measured on."""

from __future__ import annotations

from typing import Literal

from slimgate.measure import metric_for

Kind = Literal["accuracy", "size", "latency"]

KINDS: tuple[Kind, ...] = ("accuracy", "size", "latency")

UNITS = ("fraction", "bytes", "seconds", "ratio", "count", "flops")

WHOLE_CASE = "case"
"""Metric of a verdict about a case as a whole (its export failed, it vanished); no measurement has it."""

PAYS = "pays/"
"""First part of the metric of a verdict on whether a variant pays, which has no floor and no measurement."""

_SIZES = ("parameters", "nonzero_parameters", "size_ratio_same", "int8_share", "fp16_share", "bf16_share")

_EXECUTED = ("bf16_share",)
"""What only a run can tell: bfloat16 is a runtime's arithmetic and in no file."""


def kind_of(metric: str) -> Kind:
    """Return the suite that asserts a metric; every metric has one.

    Raises:
        UsageError: there is no such metric.
    """
    if metric.startswith(PAYS):
        return "latency" if "_b" in metric else "size"
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


def is_read_from_file(metric: str) -> bool:
    """Return whether a metric is known of a file that nothing here can run.

    Raises:
        UsageError: there is no such metric.
    """
    return kind_of(metric) == "size" and metric not in _EXECUTED
