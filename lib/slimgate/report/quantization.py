"""INT8 as tables: what each file was decided from, what stayed in float, and what it costs where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.numbers import show_count, show_fraction, show_percent
from slimgate.report.rows import Row
from slimgate.report.table import Column, Table, number_cell, text_cell

_FEW = 3
_DROP = "on labelled training pictures, with this group alone in INT8; below 0 it gains"


def quantization_table(rows: Sequence[Row]) -> Table | None:
    """Return one line per INT8 case: observer, images, share, what stayed in float, where the noise is highest."""
    listed = [(row, step) for row in rows if (step := _step(row)) is not None]
    if not listed:
        return None
    return Table(
        caption="How each INT8 file was quantised",
        columns=[
            Column(title="Case", numeric=False),
            Column(title="Target", numeric=False),
            Column(title="Observer", numeric=False, hint="how ranges were taken from calibration images"),
            Column(title="Images", hint="calibration images"),
            Column(title="INT8", hint="share of the convolutions' multiply-accumulates"),
            Column(title="In float", numeric=False, hint="convolutions that stay in float, by reason"),
            Column(
                title="Noisiest",
                numeric=False,
                hint="signal to quantisation noise at a convolution's output, dB",
            ),
        ],
        rows=[
            [
                text_cell(row.name),
                text_cell(str(step.get("settings", {}).get("target", ""))),
                text_cell(_observer(step)),
                number_cell(step.get("notes", {}).get("calibration_count"), show_count),
                number_cell(row.number("artifact", "shares", "int8"), show_percent),
                text_cell(_floats(_facts(row).get("float_convolutions", {}))),
                text_cell(_noisiest(_facts(row).get("sqnr_db", {}))),
            ]
            for row, step in listed
        ],
    )


def sensitivity_tables(rows: Sequence[Row]) -> list[Table]:
    """Return what INT8 costs each group of layers, one table per case that measured it, costliest first."""
    tables = []
    for row in rows:
        found = _facts(row).get("sensitivity")
        if not found:
            continue
        returned = set(found["returned"])
        scored = any(group.get("drop") is not None for group in found["groups"])
        tables.append(
            Table(
                caption=f"{row.name}: {_summary(found)}",
                columns=[
                    Column(title="Layers", numeric=False),
                    Column(title="SQNR, dB", hint="at the head's outputs, with this group alone in INT8"),
                    *([Column(title="mAP50-95 lost", hint=_DROP)] if scored else []),
                    Column(title="MACs", hint="what its return to float costs"),
                    Column(title="Runs in", numeric=False),
                ],
                rows=[
                    [
                        text_cell(group["name"], below=f"{len(group['nodes'])} convolutions"),
                        number_cell(group.get("sqnr_db"), _show_db),
                        *([number_cell(group.get("drop"), show_fraction)] if scored else []),
                        number_cell(group["macs"], show_count),
                        text_cell("float" if group["name"] in returned else "INT8"),
                    ]
                    for group in found["groups"]
                ],
            )
        )
    return tables


def _step(row: Row) -> Mapping[str, Any] | None:
    steps = [step for step in row.record.get("lineage", []) if step["operation"] == "quantize"]
    return steps[-1] if steps else None


def _facts(row: Row) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = row.record.get("artifact", {}).get("facts", {})
    return facts


def _observer(step: Mapping[str, Any]) -> str:
    settings = step.get("settings", {})
    budget = settings.get("budget")
    return f"{settings.get('observer', '')}{f', budget {budget:g}' if budget is not None else ''}"


def _floats(reasons: Mapping[str, str]) -> str:
    counts = Counter(reason.split(":")[0] for reason in reasons.values())
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _noisiest(sqnr_db: Mapping[str, float]) -> str:
    worst = sorted(sqnr_db.items(), key=lambda item: item[1])[:_FEW]
    return ", ".join(
        f"{name.removeprefix('/').removesuffix('/Conv')} {_show_db(value)}" for name, value in worst
    )


def _summary(found: Mapping[str, Any]) -> str:
    if found.get("budget") is None:
        return "what INT8 costs each group of layers"
    steps, returned = found["steps"], found["returned"]
    went = f"{', '.join(returned)} went back to float" if returned else "nothing had to go back to float"
    return (
        f"mAP50-95 on labelled training pictures fell by {steps[0]:.4f} in INT8 and by {steps[-1]:.4f} at the end, "
        f"with a budget of {found['budget']:g}: {went}"
    )


def _show_db(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
