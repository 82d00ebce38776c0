"""Accuracy as tables: COCO's 12 numbers, counts, classes, sizes of objects, IoU thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.numbers import (
    NONE,
    show_change,
    show_change_interval,
    show_count,
    show_difference,
    show_fraction,
    show_percent,
)
from slimgate.report.rows import Row
from slimgate.report.sets import FIRST_SET, part_of
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_HINTS = (
    "precision, IoU .50 to .95",
    "precision at IoU .50",
    "precision at IoU .75",
    "precision, small objects (below 32² pixels)",
    "precision, medium objects",
    "precision, large objects (above 96² pixels)",
    "recall, 1 detection per image",
    "recall, 10 detections per image",
    "recall, 100 detections per image",
    "recall, small objects",
    "recall, medium objects",
    "recall, large objects",
)
_COUNTED = (
    Column(title="Objects", hint="in the ground truth, crowd regions not counted"),
    Column(title="TP", hint="detections that match an object"),
    Column(title="FP", hint="detections that match none"),
    Column(title="FN", hint="objects without a detection of their own"),
    Column(title="Precision", hint="TP / (TP + FP)"),
    Column(title="Recall", hint="TP / objects"),
    Column(title="F1", hint="harmonic mean of precision and recall"),
    Column(title="Misses", hint="objects that no detection of their class overlaps by the matching IoU"),
    Column(
        title="Miss rate",
        hint="share of the objects that no detection of their class overlaps by the matching IoU",
    ),
    Column(title="Partial", hint="missed objects that a detection of their class covers only in part"),
)
_COUNTED_KEYS = ("instances", "tp", "fp", "fn", "precision", "recall", "f1", "misses", "miss_rate", "partial")
_WHOLE_KEYS = ("instances", "tp", "fp", "fn", "misses", "partial")


def coco_table(rows: Sequence[Row]) -> Table | None:
    """Return COCO's 12 numbers of every case that was evaluated, or None."""
    evaluated = [row for row in rows if row.record.get("accuracy")]
    if not evaluated:
        return None
    columns = [Column(title=name, hint=hint) for name, hint in zip(COCO_NUMBERS, _HINTS, strict=True)]
    return Table(
        caption="COCO's 12 numbers",
        columns=[Column(title="Case", numeric=False), *columns],
        rows=[
            [
                text_cell(row.name),
                *(number_cell(row.number("accuracy", "coco", name), _three_digits) for name in COCO_NUMBERS),
            ]
            for row in evaluated
        ],
    )


def totals_table(rows: Sequence[Row], name: str = FIRST_SET) -> Table | None:
    """Return the counts over all classes of every case on one set, or None."""
    counted = [row for row in rows if part_of(row, name).get("confusion")]
    if not counted:
        return None
    shift = Column(
        title="Score shift",
        hint="mean score of matched detections minus that of FP32 on the same runtime; below: its interval, and what "
        "5 % and 95 % of the detections moved by less than",
    )
    average = [
        Column(title="mAP50-95", hint="COCO average precision, IoU .50 to .95"),
        Column(title="mAP50", hint="COCO average precision at IoU .50"),
    ]
    first = name == FIRST_SET
    return Table(
        caption=_on_set("All classes together", name),
        columns=[
            Column(title="Case", numeric=False),
            *([] if first else average),
            *_COUNTED,
            *([shift] if first else []),
        ],
        rows=[
            [
                text_cell(row.name),
                *([] if first else _average_cells(part_of(row, name))),
                *_counted_cells(part_of(row, name)["confusion"].get("all", {})),
                *([_shift_cell(row)] if first else []),
            ]
            for row in counted
        ],
    )


def class_tables(rows: Sequence[Row], name: str = FIRST_SET) -> list[tuple[Row, Table]]:
    """Return a table per case on one set, a line per class."""
    return [
        (row, _class_table(row, name))
        for row in rows
        if part_of(row, name).get("confusion", {}).get("per_class")
    ]


def size_table(rows: Sequence[Row]) -> Table | None:
    """Return AP and AR by size of the objects, or None."""
    names = ("APs", "APm", "APl", "ARs", "ARm", "ARl")
    evaluated = [
        row for row in rows if any(row.number("accuracy", "coco", name) is not None for name in names)
    ]
    if not evaluated:
        return None
    return Table(
        caption="Accuracy by size of the object",
        columns=[
            Column(title="Case", numeric=False),
            *(
                Column(title=f"{kind} {size}", hint=hint)
                for kind in ("AP", "AR")
                for size, hint in (
                    ("small", "below 32² pixels"),
                    ("medium", "32² to 96² pixels"),
                    ("large", "above 96² pixels"),
                )
            ),
        ],
        rows=[
            [text_cell(row.name), *(_share_cell(row.number("accuracy", "coco", name)) for name in names)]
            for row in evaluated
        ],
    )


def iou_table(rows: Sequence[Row]) -> Table | None:
    """Return AP at every IoU threshold, or None."""
    evaluated = [row for row in rows if row.record.get("accuracy", {}).get("ap_by_iou")]
    if not evaluated:
        return None
    thresholds = list_thresholds(evaluated)
    return Table(
        caption="AP by IoU threshold",
        columns=[Column(title="Case", numeric=False), *(Column(title=name) for name in thresholds)],
        rows=[
            [
                text_cell(row.name),
                *(
                    number_cell(row.number("accuracy", "ap_by_iou", name), _three_digits)
                    for name in thresholds
                ),
            ]
            for row in evaluated
        ],
    )


def parity_table(rows: Sequence[Row]) -> Table | None:
    """Return how far each case's raw outputs are from its own network in torch, or None."""
    compared = [row for row in rows if row.record.get("parity")]
    if not compared:
        return None
    return Table(
        caption="Raw outputs against the same network in torch, float32",
        columns=[
            Column(title="Case", numeric=False),
            Column(title="Score, largest", hint="largest difference of any class score (parity_max_abs)"),
            Column(title="Score, mean", hint="mean difference of all class scores"),
            Column(title="Box, largest", hint="pixels of the network input, where something is seen"),
            Column(title="of the side", hint="the same as a share of the image side (parity_box_max_abs)"),
            Column(title="Positions", hint="where either side scores above 0.05: boxes are compared there"),
            Column(title="Images"),
        ],
        rows=[
            [
                text_cell(row.name),
                number_cell(row.number("parity", "score_max_abs"), show_difference),
                number_cell(row.number("parity", "score_mean_abs"), show_difference),
                number_cell(row.number("parity", "box_max_px"), show_difference),
                number_cell(row.number("parity", "box_max_share"), show_difference),
                number_cell(row.number("parity", "positions"), show_count),
                number_cell(row.number("parity", "images"), show_count),
            ]
            for row in compared
        ],
    )


def list_thresholds(rows: Sequence[Row]) -> list[str]:
    """Return the IoU thresholds that AP is known at, ascending, as the records name them."""
    names = {name for row in rows for name in row.record["accuracy"]["ap_by_iou"]}
    return sorted(names, key=float)


def _shift_cell(row: Row) -> Cell:
    shift = row.record.get("score_shift", {})
    known = shift.get("difference", {}).get("metrics", {}).get("score_shift", {}).get("interval")
    interval = "" if known is None or None in known else show_change_interval(known)
    low, high = (row.number("score_shift", "quantiles", level) for level in ("0.05", "0.95"))
    spread = "" if low is None or high is None else f"5 % {show_change(low)}, 95 % {show_change(high)}"
    below = "; ".join(text for text in (interval, spread) if text)
    return number_cell(row.number("score_shift", "mean"), show_change, below=below)


def _average_cells(part: Mapping[str, Any]) -> list[Cell]:
    coco = part.get("accuracy", {}).get("coco", {})
    return [number_cell(coco.get(key), show_fraction) for key in ("AP", "AP50")]


def _on_set(caption: str, name: str) -> str:
    return caption if name == FIRST_SET else f"{caption}, {name}"


def _class_table(row: Row, name: str) -> Table:
    part = part_of(row, name)
    confusion = part["confusion"]
    average = part.get("accuracy", {}).get("per_class", {})

    def line(label: str, counts: Mapping[str, Any], ap: float | None, ap50: float | None) -> list[Cell]:
        return [
            text_cell(label),
            number_cell(ap, _three_digits),
            number_cell(ap50, _three_digits),
            *_counted_cells(counts),
        ]

    rows = [
        line(label, counts, average.get(label, {}).get("ap"), average.get(label, {}).get("ap50"))
        for label, counts in confusion["per_class"].items()
    ]
    if confusion.get("all"):
        coco = part.get("accuracy", {}).get("coco", {})
        rows.append(line("all classes", confusion["all"], coco.get("AP"), coco.get("AP50")))
    return Table(
        caption=_on_set(f"{row.name} by class", name),
        columns=[
            Column(title="Class", numeric=False),
            Column(title="AP", hint="IoU .50 to .95"),
            Column(title="AP50", hint="IoU .50"),
            *_COUNTED,
        ],
        rows=rows,
    )


def _counted_cells(counts: Mapping[str, Any]) -> list[Cell]:
    return [
        number_cell(counts.get(key), show_count if key in _WHOLE_KEYS else _rate(key))
        for key in _COUNTED_KEYS
    ]


def _rate(key: str) -> Any:
    return (lambda value: show_percent(value, 2)) if key == "miss_rate" else _three_digits


def _three_digits(value: float | None) -> str:
    return show_fraction(value, 3)


def _share_cell(value: float | None) -> Cell:
    return Cell(text=NONE) if value is None else number_cell(value, _three_digits, share=value)
