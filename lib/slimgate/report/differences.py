"""What the evaluated images can tell: every difference with its interval, and how fine a difference they resolve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from slimgate.gate import RunFiles
from slimgate.report.charts import draw_interval
from slimgate.report.numbers import NONE, show_change, show_change_interval, show_points
from slimgate.report.rows import Row
from slimgate.report.sets import FIRST_SET, part_of
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

_MAP = "map50_95"
_RECALL = "recall"
_PER_CLASS = "recall/"
_MOST_CLASSES = 12
_COUNTS = ("false_detections", "partial")
_TITLES = {
    _MAP: "mAP50-95",
    "map50": "mAP50",
    _RECALL: "Recall",
    "false_detections": "FP",
    "partial": "Partial",
}
_DRAWN = Column(title="← worse | better →", hint="the interval of mAP50-95", numeric=False)
_SMALLEST_SPAN = 0.01
_WIDEST_SPAN = 0.1
"""Beyond it an interval is cut: one detector that sees nothing must not flatten all others."""


def find_interval(row: Row, reference: str, metric: str, name: str = FIRST_SET) -> tuple[float, float] | None:
    """Return the interval of a case's difference to another case in one metric, or None where it is not known."""
    for entry in part_of(row, name).get("differences", ()):
        if entry.get("reference") == reference:
            return _interval(entry, metric)
    return None


def differences_table(rows: Sequence[Row], name: str = FIRST_SET, *, drawn: bool = True) -> Table | None:
    """Return each case's differences to its FP32 reference on one set, with their intervals, or None.

    Args:
        rows: the cases.
        name: the evaluation set.
        drawn: whether the intervals of mAP50-95 are also drawn.
    """
    listed = [(row, entry) for row in rows if (entry := _first(row, name))]
    if not listed:
        return None
    metrics = _metrics([entry for _, entry in listed])
    span = _span([interval for _, entry in listed if (interval := _interval(entry, _MAP))])
    return Table(
        caption="Differences to FP32" if name == FIRST_SET else f"Differences to FP32, {name}",
        columns=[
            Column(title="Case", hint="and the case that it is held against", numeric=False),
            Column(title=_TITLES[_MAP], hint="difference; below: its interval"),
            *([_DRAWN] if drawn else []),
            Column(title="shows", hint="of mAP50-95", numeric=False),
            Column(title="resolved", hint="half the interval of mAP50-95, in points"),
            *(Column(title=_title(metric), hint="difference; below: its interval") for metric in metrics),
        ],
        rows=[
            [
                text_cell(row.name, below=f"against {entry.get('reference', '').rpartition('/')[2]}"),
                _change_cell(entry, _MAP),
                *([_drawn_cell(entry, span)] if drawn else []),
                text_cell(judge_change(_interval(entry, _MAP))),
                number_cell(_half_width(entry, _MAP), show_points),
                *(_change_cell(entry, metric) for metric in metrics),
            ]
            for row, entry in listed
        ],
    )


def judge_change(interval: Sequence[float] | None) -> str:
    """Return what an interval of a difference shows, in words."""
    if interval is None:
        return "too few images"
    low, high = interval
    if low == high == 0:
        return "the same in every image"
    if high < 0:
        return "worse"
    return "better" if low > 0 else "no difference shown"


def describe_resolution(rows: Sequence[Row], name: str = FIRST_SET) -> str:
    """Return how fine a difference of mAP50-95 the images of a set resolve, as a sentence; nothing where unknown."""
    entries = [entry for row in rows if (entry := _first(row, name))]
    # A case whose detections are those of its reference has no noise, and says nothing about that of others.
    widths = sorted(width for entry in entries if (width := _half_width(entry, _MAP)))
    if not widths:
        return ""
    images = next(int(entry["images"]) for entry in entries if _half_width(entry, _MAP))
    confidence = next(float(entry["confidence"]) for entry in entries if _half_width(entry, _MAP))
    spread = f", {show_points(widths[0])} to {show_points(widths[-1])} by case" if len(widths) > 1 else ""
    on = "" if name == FIRST_SET else f" of {name}"
    return (
        f"{images} images{on} resolve a difference of mAP50-95 to {show_points(median(widths))} points "
        f"({confidence:.0%} interval{spread})."
    )


def list_fine_floors(files: RunFiles) -> list[tuple[str, str]]:
    """Return case and metric, and why, of each floor that is finer than the images resolve."""
    return [
        (f"{verdict.case} {verdict.metric}", verdict.note)
        for verdict in files.judgement.verdicts
        if verdict.note
    ]


def describe_fine_floors(files: RunFiles) -> str:
    """Return how many floors are finer than the images resolve, as a sentence; nothing where none is."""
    count = len(list_fine_floors(files))
    if not count:
        return ""
    floors = f"{count} floors are" if count > 1 else "1 floor is"
    return f"{floors} finer than these images resolve; the report says which."


def _first(row: Row, name: str) -> Mapping[str, Any] | None:
    """Return the differences to the study's own reference, where it has an interval to show."""
    entries = part_of(row, name).get("differences", ())
    return entries[0] if entries and entries[0].get("metrics") else None


def _metrics(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    there = dict.fromkeys(metric for entry in entries for metric in entry["metrics"])
    classes = [metric for metric in there if metric.startswith(_PER_CLASS)]
    return [
        *(metric for metric in ("map50", _RECALL) if metric in there),
        *(classes if len(classes) <= _MOST_CLASSES else ()),
        *(metric for metric in _COUNTS if metric in there),
    ]


def _title(metric: str) -> str:
    return _TITLES.get(metric, f"Recall {metric.removeprefix(_PER_CLASS)}")


def _interval(entry: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    found = entry.get("metrics", {}).get(metric, {}).get("interval")
    if found is None or None in found:
        return None
    return float(found[0]), float(found[1])


def _half_width(entry: Mapping[str, Any], metric: str) -> float | None:
    interval = _interval(entry, metric)
    return None if interval is None else (interval[1] - interval[0]) / 2


def _change_cell(entry: Mapping[str, Any], metric: str) -> Cell:
    value = entry["metrics"].get(metric, {}).get("value")
    digits = 0 if metric in _COUNTS else 4
    interval = _interval(entry, metric)
    below = "" if interval is None or interval[0] == interval[1] else show_change_interval(interval, digits)
    return number_cell(value, lambda number: show_change(number, digits), below=below)


def _span(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    widest = max([_SMALLEST_SPAN, *(abs(end) for interval in intervals for end in interval)])
    end = min(widest * 1.05, _WIDEST_SPAN)
    return -end, end


def _drawn_cell(entry: Mapping[str, Any], span: tuple[float, float]) -> Cell:
    value, interval = entry["metrics"].get(_MAP, {}).get("value"), _interval(entry, _MAP)
    if value is None or interval is None:
        return Cell(text=NONE)
    label = f"{show_change(value)}, interval {show_change_interval(interval)}"
    drawn = draw_interval(value, interval, span=span, control=None, label=label, scale="difference")
    return Cell(text=label, sort=float(value), drawing=drawn)
