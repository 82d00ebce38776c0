"""Our INT8 beside other tools' INT8: one table, for the page and for documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.numbers import (
    NONE,
    show_bytes,
    show_change,
    show_fraction,
    show_interval,
    show_percent,
    show_ratio,
)
from slimgate.report.overview import latency_cell
from slimgate.report.rows import Row, why_not_judged
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell
from slimgate.report.times import batches_of

OURS = "slimgate"


def peers_table(rows: Sequence[Row]) -> Table | None:
    """Return FP32, BF16 and every tool's INT8 by runtime: accuracy, size, speed; None without another tool's INT8."""
    runtimes = dict.fromkeys(row.case.runtime for row in rows if peer_of(row))
    if not runtimes:
        return None
    listed = [row for runtime in runtimes for row in _of_runtime(rows, runtime)]
    batches = batches_of(listed)
    columns = [
        Column(title="Case", numeric=False),
        Column(title="INT8 by", numeric=False),
        Column(title="mAP50-95"),
        Column(title="against FP32", hint="difference of mAP50-95 to FP32 in the same runtime"),
        Column(title="Conv MACs in it", hint="share of the convolution arithmetic in the row's precision"),
        Column(title="File", hint="bytes on disk"),
    ]
    for batch in batches:
        columns += [
            Column(title=f"Time, batch {batch}", hint="ratio to FP32 in the same runtime; below 1 is faster"),
            Column(
                title="beside ours", hint="time over that of slimgate's INT8, in turns; above 1 is slower"
            ),
        ]
    return Table(
        caption="INT8 beside other tools",
        columns=columns,
        rows=[_line(row, listed, batches) for row in listed],
    )


def peer_of(row: Row) -> str:
    """Return the other tool that quantised a case's file, or nothing."""
    steps = [step for step in row.record.get("lineage", []) if step.get("operation") == "quantize"]
    return str(steps[-1].get("settings", {}).get("peer", "")) if steps else ""


def _of_runtime(rows: Sequence[Row], runtime: str) -> list[Row]:
    """Return the first FP32 row of a runtime, its bfloat16 and its INT8, in the run's order."""
    own = [row for row in rows if row.case.runtime in (runtime, f"{runtime}-bf16")]
    plain = next((row for row in own if row.precision == "fp32"), None)
    return [row for row in own if row is plain or row.precision in ("bf16", "int8")]


def _line(row: Row, listed: Sequence[Row], batches: Sequence[int]) -> list[Cell]:
    precision = row.precision
    tool = (peer_of(row) or OURS) if precision == "int8" else ""
    cells = [
        text_cell(row.name, hint=row.about),
        text_cell(tool),
        number_cell(row.number("accuracy", "coco", "AP"), show_fraction),
        _change_cell(row, listed),
        number_cell(row.number("artifact", "shares", precision), show_percent),
        number_cell(row.number("artifact", "size_bytes"), show_bytes),
    ]
    for batch in batches:
        cells += [latency_cell(row, batch), _ours_cell(row.latency(batch) or {})]
    return cells


def _change_cell(row: Row, listed: Sequence[Row]) -> Cell:
    runtime = row.case.runtime.removesuffix("-bf16")
    plain = next((one for one in listed if one.precision == "fp32" and one.case.runtime == runtime), None)
    value, reference = (one.number("accuracy", "coco", "AP") if one else None for one in (row, plain))
    if plain is row or value is None or reference is None:
        return Cell(text=NONE)
    return number_cell(value - reference, show_change)


def _ours_cell(entry: Mapping[str, Any]) -> Cell:
    ours = entry.get("ours")
    if not ours:
        return Cell(text=NONE)
    if why_not_judged(ours):
        return Cell(text="cannot be judged")
    text = f"{show_ratio(ours['ratio'])} ({show_interval(ours['interval'])})"
    return Cell(text=text, sort=float(ours["ratio"]))
