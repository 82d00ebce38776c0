"""What slimming bought: size, work and time against the FP32 original, and the width of every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.report.numbers import NONE, show_bytes, show_count, show_flops, show_fraction
from slimgate.report.overview import latency_cell
from slimgate.report.rows import Row, baseline_row, judge_speed
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

_DEFAULT_MULTIPLE = 8
_SIZES: tuple[tuple[str, str, Callable[[float | None], str], tuple[str, str]], ...] = (
    ("File", "on disk; below: how many times smaller", show_bytes, ("artifact", "size_bytes")),
    (
        "Parameters",
        "numbers in the weights; below: how many times fewer",
        show_count,
        ("model", "parameters"),
    ),
    ("FLOPs", "2 × multiply-accumulates; below: how many times fewer", show_flops, ("model", "flops")),
)


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The widths of the layers of one network that was slimmed.

    Attributes:
        variants: that have them.
        table: a line per layer.
        unaligned: layers whose width is no multiple, and that are not exempt.
        exempt: layers that need not be aligned.
        multiple: what widths are rounded up to.
    """

    variants: Sequence[str]
    table: Table
    unaligned: Sequence[str]
    exempt: Sequence[str]
    multiple: int


def is_slim(row: Row) -> bool:
    """Whether a case's network has other widths than the original."""
    return bool(row.record.get("widths"))


def slim_table(rows: Sequence[Row]) -> Table | None:
    """Return accuracy, size, work and time of every measured case against the FP32 original in the same runtime.

    In the study's order, runtime by runtime; zeros-only variants are not in it, since they are as large and as
    slow. None where nothing was slimmed.
    """
    measured = [row for row in rows if row.record.get("accuracy") and not row.is_sparse]
    if not any(is_slim(row) for row in measured):
        return None
    reference = baseline_row(rows)
    runtimes = list(dict.fromkeys(row.case.runtime for row in measured))
    ordered = [row for runtime in runtimes for row in measured if row.case.runtime == runtime]
    return Table(
        caption="Against the FP32 original",
        columns=[
            Column(title="Variant", numeric=False),
            Column(title="Runtime", numeric=False),
            Column(title="mAP50"),
            Column(title="mAP50-95"),
            Column(title="F1", hint="over all classes at the deployed confidence"),
            *(Column(title=title, hint=hint) for title, hint, _, _ in _SIZES),
            Column(
                title="Latency ratio",
                hint="to FP32 on the same runtime, batch 1, with its interval; below: how many times faster",
            ),
        ],
        rows=[_line(row, find_original(rows, row, reference)) for row in ordered],
    )


def find_original(rows: Sequence[Row], row: Row, reference: Row | None) -> Row | None:
    """Return the FP32 original on the runtime of a case, or None where it did not run there."""
    if reference is None:
        return None
    # OpenVINO in bfloat16 is the same runtime told to round.
    runtime = row.case.runtime.removesuffix("-bf16")
    return next(
        (
            one
            for one in rows
            if one.case.variant == reference.case.variant and one.case.runtime == runtime and one.record
        ),
        None,
    )


def list_widths(rows: Sequence[Row]) -> list[Widths]:
    """Return the widths of every network that has others than the original, each once."""
    groups: dict[str, tuple[list[str], Row]] = {}
    for row in rows:
        if is_slim(row):
            key = str(row.record.get("model", {}).get("weights_sha256", row.case.variant))
            variants, _ = groups.setdefault(key, ([], row))
            if row.case.variant not in variants:
                variants.append(row.case.variant)
    return [_widths(variants, row) for variants, row in groups.values()]


def _line(row: Row, original: Row | None) -> list[Cell]:
    coco = ("accuracy", "coco")
    return [
        text_cell(row.case.variant, hint=row.about),
        text_cell(row.case.runtime),
        number_cell(row.number(*coco, "AP50"), show_fraction),
        number_cell(row.number(*coco, "AP"), show_fraction),
        number_cell(row.number("confusion", "all", "f1"), show_fraction),
        *(_size_cell(row, original, keys, show) for _, _, show, keys in _SIZES),
        _latency_cell(row, original),
    ]


def _size_cell(
    row: Row, original: Row | None, keys: tuple[str, str], show: Callable[[float | None], str]
) -> Cell:
    value = row.number(*keys)
    base = None if original is None or row is original else original.number(*keys)
    return number_cell(value, show, below=f"÷ {_factor(base / value)}" if value and base else "")


def _latency_cell(row: Row, original: Row | None) -> Cell:
    """Return the ratio; a factor only where it is to the original on the same runtime and the machine could judge."""
    cell = latency_cell(row)
    entry = row.latency()
    if entry is None or "interval" not in entry or original is None or row is original:
        return cell
    if entry.get("baseline") != str(original.case) or judge_speed(row) != "faster":
        return cell
    low, high = entry["interval"]
    below = f"÷ {_factor(1 / entry['ratio'])} ({_factor(1 / high)}–{_factor(1 / low)})"
    return Cell(text=cell.text, sort=cell.sort, below=below)


def _factor(value: float) -> str:
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _widths(variants: Sequence[str], row: Row) -> Widths:
    exempt, multiple = _alignment(row.record.get("lineage", []))
    widths: Mapping[str, Sequence[int | None]] = row.record["widths"]
    unaligned = [
        name for name, (_, after) in widths.items() if after and after % multiple and name not in exempt
    ]
    lines = []
    for name, (before, after) in widths.items():
        share = min(after / before, 1.0) if before and after else None
        if name in exempt:
            note = text_cell(f"exempt: {exempt[name]}", tone="grey")
        elif name in unaligned:
            note = text_cell(f"no multiple of {multiple}", tone="amber")
        else:
            note = text_cell("" if after is None else "yes")
        lines.append(
            [
                text_cell(name),
                number_cell(before, show_count),
                number_cell(after, show_count, share=share),
                number_cell(share, lambda value: NONE if value is None else f"{value * 100:.0f} %"),
                note,
            ]
        )
    return Widths(
        variants=variants,
        table=Table(
            caption=f"Widths of {variants[0]}",
            columns=[
                Column(title="Layer", numeric=False),
                Column(title="Before", hint="output channels of the original's layer of this name"),
                Column(title="After", hint="output channels"),
                Column(title="Kept"),
                Column(title="Aligned", hint=f"whether it is a multiple of {multiple}", numeric=False),
            ],
            rows=lines,
        ),
        unaligned=unaligned,
        exempt=[name for name in widths if name in exempt],
        multiple=multiple,
    )


def _alignment(lineage: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, str], int]:
    """Return the layers that need no alignment, with the reason, and the multiple, as the last slimming says."""
    exempt: Mapping[str, str] = {}
    multiple = _DEFAULT_MULTIPLE
    for step in lineage:
        notes, settings = step.get("notes", {}), step.get("settings", {})
        if isinstance(notes.get("exempt"), Mapping):
            exempt = {str(name): str(reason) for name, reason in notes["exempt"].items()}
        elif isinstance(notes.get("exempt"), list):
            exempt = {str(name): "not chosen" for name in notes["exempt"]}
        if isinstance(settings.get("multiple"), int):
            multiple = settings["multiple"]
    return exempt, multiple
