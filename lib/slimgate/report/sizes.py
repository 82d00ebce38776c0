"""Size as tables: files, their contents and precision, and engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimgate.report.charts import draw_stack
from slimgate.report.numbers import NONE, show_bytes, show_count, show_percent, show_ratio, show_seconds
from slimgate.report.rows import Row, baseline_row
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell

PRECISIONS = ("int8", "fp16", "bf16", "fp32")
"""In the order that bars stack them."""

_BUILD = "seconds when it was really built; later runs take it from the store"


def sizes_table(rows: Sequence[Row]) -> Table | None:
    """Return one line per file: bytes, compressed bytes, parameters, and what precision it computes in."""
    groups = _group_by_file(rows)
    if not groups:
        return None
    reference = baseline_row(rows)
    base = reference.number("artifact", "size_bytes") if reference is not None else None
    most = {
        keys: max((row.number(*keys) or 0.0 for row, _ in groups), default=0.0)
        for keys in (
            ("artifact", "size_bytes"),
            ("artifact", "compressed_bytes"),
            ("model", "nonzero_parameters"),
        )
    }

    def bar(row: Row, group: str, name: str) -> float | None:
        value, whole = row.number(group, name), most[group, name]
        return None if value is None or not whole else value / whole

    lines = []
    for row, runtimes in groups:
        size = row.number("artifact", "size_bytes")
        lines.append(
            [
                text_cell(row.case.variant, below=", ".join(runtimes)),
                number_cell(size, show_bytes, share=bar(row, "artifact", "size_bytes")),
                number_cell(size / base if size is not None and base else None, show_ratio),
                number_cell(
                    row.number("artifact", "compressed_bytes"),
                    show_bytes,
                    share=bar(row, "artifact", "compressed_bytes"),
                ),
                number_cell(row.number("model", "parameters"), show_count),
                number_cell(
                    row.number("model", "nonzero_parameters"),
                    show_count,
                    share=bar(row, "model", "nonzero_parameters"),
                ),
                number_cell(row.number("artifact", "build_s"), show_seconds),
                _precision_cell(row.record.get("artifact", {}).get("shares", {})),
            ]
        )
    return Table(
        caption="Files, their contents, and the precision of their convolutions",
        columns=[
            Column(title="Variant", numeric=False),
            Column(title="File", hint="bytes on disk"),
            Column(title="of FP32", hint="file bytes relative to the FP32 baseline's file"),
            Column(
                title="Compressed",
                hint="bytes after zlib: what zeros save in transfer, not in memory or time",
            ),
            Column(title="Parameters"),
            Column(title="Non-zero", hint="parameters that are not zero"),
            Column(title="Build", hint=f"{_BUILD}; INT8: with its calibration"),
            Column(
                title="Conv MACs by precision",
                hint="share of the convolution multiply-accumulates: executed where the runtime tells, else as "
                "the graph says",
                numeric=False,
            ),
        ],
        rows=lines,
    )


def engines_table(rows: Sequence[Row]) -> Table | None:
    """Return the engines: what they were built for, how large they are, and whether they ever ran; or None."""
    engines = [row for row in rows if row.is_engine]
    if not engines:
        return None
    return Table(
        caption="Engines",
        columns=[
            Column(title="Case", numeric=False),
            Column(title="Target", numeric=False),
            Column(title="Compute capability", numeric=False),
            Column(title="File", hint="the engine on disk; in a small network kernels outweigh weights"),
            Column(title="Weight memory", hint="what the builder says the weights take"),
            Column(title="Build", hint=_BUILD),
            Column(title="Conv MACs by precision", numeric=False),
            Column(title="State", numeric=False),
        ],
        rows=[
            [
                text_cell(row.name),
                text_cell(str(row.record.get("artifact", {}).get("target", ""))),
                text_cell(_capability(row)),
                number_cell(row.number("artifact", "size_bytes"), show_bytes),
                number_cell(row.number("artifact", "facts", "weight_memory_bytes"), show_bytes),
                number_cell(row.number("artifact", "build_s"), show_seconds),
                _precision_cell(row.record.get("artifact", {}).get("shares", {})),
                _state_cell(row),
            ]
            for row in engines
        ],
    )


def _group_by_file(rows: Sequence[Row]) -> list[tuple[Row, list[str]]]:
    """Return the first case of every file, with the runtimes that were given it and run it in the same precision."""
    groups: dict[tuple[str, str, tuple[tuple[str, float], ...]], tuple[Row, list[str]]] = {}
    for row in rows:
        artifact = row.record.get("artifact")
        if artifact:
            shares = tuple(sorted(artifact.get("shares", {}).items()))
            key = row.case.variant, str(artifact.get("sha256", row.name)), shares
            groups.setdefault(key, (row, []))[1].append(row.case.runtime)
    return list(groups.values())


def _precision_cell(shares: Mapping[str, float]) -> Cell:
    if not shares:
        return Cell(text=NONE)
    known = [name for name in PRECISIONS if shares.get(name)] + [
        name for name in sorted(shares) if name not in PRECISIONS and shares[name]
    ]
    label = ", ".join(f"{show_percent(shares[name])} {name}" for name in known)
    parts = [(name if name in PRECISIONS else "other", shares[name]) for name in known]
    return Cell(
        text=label,
        sort=shares.get("fp32", 0.0),
        below=label,
        drawing=draw_stack(parts, whole=1.0, label=label),
    )


def _capability(row: Row) -> str:
    fact = row.record.get("artifact", {}).get("facts", {}).get("compute_capability")
    return NONE if fact is None else str(fact)


def _state_cell(row: Row) -> Cell:
    if row.record.get("failed"):
        return text_cell(f"failed: {row.record['failed']}", tone="red")
    if row.why_not_proven:
        return text_cell(row.why_not_proven, tone="grey")
    ran = "ran here" if row.record.get("accuracy") else "built"
    return text_cell(ran, below=str(row.record.get("provider", "")))
