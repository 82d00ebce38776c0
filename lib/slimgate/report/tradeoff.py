"""Accuracy against latency, one plot for each FP32 case that others were timed against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from slimgate.report.charts import NARROW, WIDE, Point, draw_scatter
from slimgate.report.numbers import show_interval, show_ratio
from slimgate.report.rows import Row


def tradeoff_plots(rows: Sequence[Row]) -> list[tuple[str, list[Markup]]]:
    """Return the baseline's runtime and the plot, wide and narrow, for every baseline with two points or more.

    A ratio is only comparable with ratios to the same baseline. The baseline itself stands at its A/A control.
    FP32 on another runtime is not among the points: it is its own plot's baseline, and the latency table
    compares the two.
    """
    groups = {
        baseline: points
        for baseline in dict.fromkeys(_baseline_of(row) for row in rows if _is_timed(row))
        if len(points := _points_against(baseline, rows)) > 1
    }
    return [
        (
            baseline.rpartition("@")[2],
            [
                draw_scatter(
                    points,
                    size=size,
                    title=f"mAP50-95 against latency ratio to {baseline.rpartition('/')[2]}; "
                    "the main table has the numbers",
                )
                for size in (WIDE, NARROW)
            ],
        )
        for baseline, points in groups.items()
    ]


def _points_against(baseline: str, rows: Sequence[Row]) -> list[Point]:
    timed = [row for row in rows if _is_timed(row)]
    baselines = {_baseline_of(row) for row in timed}
    reference = next((row for row in rows if str(row.case) == baseline), None)
    points = []
    for row in timed:
        if _baseline_of(row) != baseline or str(row.case) == baseline:
            continue
        elsewhere = (
            reference is not None
            and row.case.variant == reference.case.variant
            and (str(row.case) in baselines or row.case.runtime != reference.case.runtime)
        )
        if not elsewhere:
            entry = row.latency()
            assert entry is not None
            points.append(_point(row, entry, named=row.case.runtime != baseline.rpartition("@")[2]))
    control = _control_of(baseline, timed)
    if (
        reference is not None
        and control is not None
        and reference.number("accuracy", "coco", "AP") is not None
    ):
        points.insert(0, _point(reference, control, named=False))
    return points


def _point(row: Row, entry: Mapping[str, Any], *, named: bool) -> Point:
    accuracy = row.number("accuracy", "coco", "AP")
    assert accuracy is not None
    return Point(
        label=row.name if named else row.case.variant,
        ratio=float(entry["ratio"]),
        interval=(float(entry["interval"][0]), float(entry["interval"][1])),
        accuracy=accuracy,
        precision=row.precision,
        sparse=row.is_sparse,
        about=f"{row.name}: mAP50-95 {accuracy:.4f}, latency ratio {show_ratio(entry['ratio'])}"
        f" ({show_interval(entry['interval'])})",
    )


def _control_of(baseline: str, timed: Sequence[Row]) -> Mapping[str, Any] | None:
    for row in timed:
        entry = row.latency() or {}
        control: Mapping[str, Any] = entry.get("control", {})
        if entry.get("baseline") == baseline and "ratio" in control and "interval" in control:
            return control
    return None


def _is_timed(row: Row) -> bool:
    entry = row.latency()
    return bool(entry and "interval" in entry and "ratio" in entry) and (
        row.number("accuracy", "coco", "AP") is not None
    )


def _baseline_of(row: Row) -> str:
    entry = row.latency() or {}
    return str(entry.get("baseline", row.case))
