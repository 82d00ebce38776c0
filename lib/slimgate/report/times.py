"""Time as tables: latency ratios, stages of one image, suppression."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.charts import draw_interval, draw_stack
from slimgate.report.numbers import NONE, show_interval, show_ms, show_ratio
from slimgate.report.overview import latency_cell
from slimgate.report.rows import Row, judge_speed, why_not_judged
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

STAGES = (("preprocess_s", "pre-process"), ("inference_s", "inference"), ("nms_s", "NMS"))
_NMS_MEANINGS = {
    "few": "one street, confidence .25, best class only",
    "typical": "the same street, confidence .001, every class",
    "crowded": "four crowded pictures tiled, confidence .001, every class",
}
_WIDEST_SPAN = (0.3, 3.0)
"""Beyond it an interval is drawn as an arrow: one slow case must not flatten all others."""
_LONGEST_BAR = 2.5
"""Times the median: longer bars are cut, for the same reason."""


def batches_of(rows: Sequence[Row]) -> list[int]:
    """Return the batch sizes that were timed, ascending."""
    names = {name for row in rows for name in row.record.get("latency", {})}
    return sorted(int(name.removeprefix("batch")) for name in names if name.removeprefix("batch").isdecimal())


def latency_table(rows: Sequence[Row]) -> Table | None:
    """Return the latency ratios with their intervals, drawn and in words, or None."""
    timed = [row for row in rows if row.record.get("latency")]
    if not timed:
        return None
    batches = batches_of(timed)
    columns = [Column(title="Case", hint="and the case it was timed against", numeric=False)]
    for batch in batches:
        columns += [
            Column(title=f"Batch {batch}", hint="median ratio (interval): below 1 is faster"),
            Column(title="← faster | slower →", hint="the interval; shaded: the A/A control", numeric=False),
            Column(title="ms", hint=f"median per call of {batch} images; only ratios are judged"),
        ]
    span = _span(timed)
    lines = []
    for row in timed:
        against = {
            str(entry.get("baseline", "")).rpartition("/")[2] for entry in row.record["latency"].values()
        } - {""}
        cells = [text_cell(row.name, below=f"against {', '.join(sorted(against))}" if against else "")]
        for batch in batches:
            entry = row.latency(batch) or {}
            cells += [_ratio_cell(row, batch), _interval_cell(entry, span), _ms_cell(entry)]
        lines.append(cells)
    return Table(caption="Latency ratios", columns=columns, rows=lines)


def confidence_of(rows: Sequence[Row]) -> float | None:
    """Return the confidence of the latency intervals, or None."""
    for row in rows:
        for entry in row.record.get("latency", {}).values():
            if isinstance(entry.get("confidence"), int | float):
                return float(entry["confidence"])
    return None


def invalid_times(rows: Sequence[Row]) -> list[str]:
    """Return why latency could not be judged, each reason once."""
    entries = [entry for row in rows for entry in row.record.get("latency", {}).values()]
    parts = [entry.get(part) or {} for entry in entries for part in ("same", "fp16", "ours")]
    reasons = dict.fromkeys(why_not_judged(entry) for entry in (*entries, *parts))
    reasons.pop("", None)
    return list(reasons)


def stages_table(rows: Sequence[Row]) -> Table | None:
    """Return pre-processing, inference and NMS per image, or None."""
    timed = [row for row in rows if row.record.get("stages")]
    if not timed:
        return None
    sums = sorted(sum(row.number("stages", key) or 0.0 for key, _ in STAGES) for row in timed)
    whole = min(sums[-1], _LONGEST_BAR * sums[len(sums) // 2])
    lines = []
    for row in timed:
        values = [(name, row.number("stages", key)) for key, name in STAGES]
        present = [value for _, value in values if value is not None]
        label = f"{row.name}: " + ", ".join(f"{name} {show_ms(value)} ms" for name, value in values)
        parts = [(name.lower().replace("-", ""), value) for name, value in values if value is not None]
        lines.append(
            [
                text_cell(row.name),
                Cell(text=label, sort=sum(present), drawing=draw_stack(parts, whole=whole, label=label)),
                *(number_cell(value, show_ms) for _, value in values),
                number_cell(sum(present) if len(present) == len(STAGES) else None, show_ms),
            ]
        )
    return Table(
        caption="Milliseconds per image, batch 1",
        columns=[
            Column(title="Case", numeric=False),
            Column(title="stages", numeric=False),
            *(Column(title=f"{name} ms", hint="median per image") for _, name in STAGES),
            Column(title="Sum ms"),
        ],
        rows=lines,
    )


def nms_table(rows: Sequence[Row]) -> Table | None:
    """Return the time of suppression on the stored candidate sets, or None."""
    lines = []
    for row in rows:
        for name, entry in row.record.get("nms", {}).items():
            samples = entry.get("samples_s", [])
            lines.append(
                [
                    text_cell(name, below=_NMS_MEANINGS.get(name, "")),
                    number_cell(entry.get("candidates"), _whole),
                    number_cell(entry.get("kept"), _whole),
                    number_cell(entry.get("median_s"), show_ms),
                    number_cell(min(samples, default=None), show_ms),
                    number_cell(max(samples, default=None), show_ms),
                    number_cell(len(samples) or None, _whole),
                ]
            )
    if not lines:
        return None
    return Table(
        caption="Suppression (NMS) of stored candidates",
        columns=[
            Column(title="Set", numeric=False),
            Column(title="Candidates", hint="boxes that go in"),
            Column(title="Kept", hint="boxes that come out"),
            Column(title="Median ms"),
            Column(title="Fastest ms"),
            Column(title="Slowest ms"),
            Column(title="Runs"),
        ],
        rows=lines,
        sortable=False,
    )


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [
        end for row in rows for entry in row.record["latency"].values() for end in entry.get("interval", ())
    ]
    low, high = min([0.9, *ends]) / 1.05, max([1.1, *ends]) * 1.05
    return max(low, _WIDEST_SPAN[0]), min(high, _WIDEST_SPAN[1])


def _ratio_cell(row: Row, batch: int) -> Cell:
    """Return the ratio as in the main table, and how often it was measured if more than once.

    The row already names the case it was timed against.
    """
    said = judge_speed(row, batch)
    others = len((row.latency(batch) or {}).get("others", ()))
    if others:
        said += f"; {others + 1} times measured"
    return dataclasses.replace(latency_cell(row, batch), below=said)


def _interval_cell(entry: Mapping[str, Any], span: tuple[float, float]) -> Cell:
    if "interval" not in entry or "ratio" not in entry:
        return Cell(text=NONE)
    label = f"{show_ratio(entry['ratio'])}, interval {show_interval(entry['interval'])}"
    drawn = draw_interval(
        entry["ratio"],
        entry["interval"],
        span=span,
        control=entry.get("control", {}).get("interval"),
        label=label,
    )
    return Cell(text=label, sort=math.log(entry["ratio"]), drawing=drawn)


def _ms_cell(entry: Mapping[str, Any]) -> Cell:
    base = entry.get("baseline_median_s")
    return number_cell(entry.get("median_s"), show_ms, below="" if base is None else f"FP32 {show_ms(base)}")


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}".replace(",", "\u202f")
