"""Accuracy as plots: by IoU threshold and by pruning level."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from slimgate.report.accuracy import list_thresholds
from slimgate.report.charts import NARROW, WIDE, Series, draw_lines
from slimgate.report.rows import Row, baseline_row

_FEW_LOUD = 8
_SCOPES = ("global", "layer")
"""Pruning series of the plain model: they start at the unpruned one."""


def iou_plots(rows: Sequence[Row]) -> list[Markup]:
    """Return the plot of AP by IoU threshold, wide and narrow; of the baseline's runtime alone where that is known."""
    evaluated = [row for row in rows if row.record.get("accuracy", {}).get("ap_by_iou")]
    reference = baseline_row(rows)
    if reference is not None and reference in evaluated:
        evaluated = [row for row in evaluated if row.case.runtime == reference.case.runtime]
    if not evaluated:
        return []
    thresholds = list_thresholds(evaluated)
    if len(thresholds) < 2:
        return []
    loud = [row for row in evaluated if not row.is_sparse][:_FEW_LOUD]
    ordered = loud + [row for row in evaluated if row not in loud]
    series = [
        Series(
            name=row.case.variant,
            points=[(float(name), value) for name, value in row.record["accuracy"]["ap_by_iou"].items()],
            quiet=row not in loud,
        )
        for row in ordered
    ]
    runtimes = ", ".join(dict.fromkeys(row.case.runtime for row in evaluated))
    return [
        draw_lines(
            series,
            x_title="IoU threshold",
            y_title=f"AP ({runtimes})",
            x_ticks=[float(name) for name in thresholds],
            percent=False,
            size=size,
            title=f"AP by IoU threshold on {runtimes}; the table has the numbers",
        )
        for size in (WIDE, NARROW)
    ]


def pruning_plots(rows: Sequence[Row]) -> list[Markup]:
    """Return the plot of AP by share of weights set to zero, wide and narrow; nothing without pruned cases."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        level, accuracy = _pruning_level(row), row.number("accuracy", "coco", "AP")
        if level is not None and accuracy is not None:
            found.setdefault(level[0], {})[level[1]] = accuracy
    if not any(len(levels) > 1 for levels in found.values()):
        return []
    reference = baseline_row(rows)
    unpruned = reference.number("accuracy", "coco", "AP") if reference is not None else None
    first = {} if unpruned is None else {0.0: unpruned}
    series = [
        Series(name=name, points=sorted(((first if name in _SCOPES else {}) | levels).items()))
        for name, levels in found.items()
    ]
    ticks = sorted({ratio for one in series for ratio, _ in one.points})
    return [
        draw_lines(
            series,
            x_title="share of the weights set to zero",
            y_title="mAP50-95",
            x_ticks=ticks,
            percent=True,
            size=size,
            title="mAP50-95 by pruning ratio, global and per layer; the table above has the numbers",
        )
        for size in (WIDE, NARROW)
    ]


def _pruning_level(row: Row) -> tuple[str, float] | None:
    """Return scope and ratio of a case whose only operation is ``prune``."""
    steps = [step for step in row.record.get("lineage", []) if step.get("operation") == "prune"]
    if len(steps) != 1 or len(row.record.get("operations", [])) != 1:
        return None
    settings = steps[0].get("settings", {})
    if not isinstance(settings.get("ratio"), int | float):
        return None
    name = str(settings.get("scope", "prune"))
    name += "" if row.precision == "fp32" else f", {row.precision}"
    return name, float(settings["ratio"])
