"""What a slimming gained over its controls; without a comparable control, no gain is claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.differences import find_interval
from slimgate.report.numbers import NONE, show_change, show_change_interval, show_count, show_fraction
from slimgate.report.rows import Row, baseline_row
from slimgate.report.sets import FIRST_SET, list_sets, part_of
from slimgate.report.table import Cell, Column, Table, number_cell, text_cell
from slimgate.report.training import Stage, stages_of

KINDS = {"dense": "dense, trained as long", "scratch": "as slim, from random weights, trained as long since"}
"""The controls a variant may name, and what each is.

``scratch`` is trained as long as the variant in all, or as long as the variant since it left the original: what the
original had learnt before is what the variant inherits. The table says which, and how long that was.
"""

UNATTRIBUTED = "gain unattributed"
_RANDOM = "random weights"


def attribution_table(run: Mapping[str, Any], rows: Sequence[Row]) -> Table | None:
    """Return each slim or retrained variant against its controls, or None when there is none."""
    listed = _listed(rows)
    if not listed:
        return None
    sets = list_sets(rows)
    lines = []
    for row in listed:
        named: Mapping[str, str] = row.record.get("controls", {})
        lines += [_line(run, rows, row, kind, sets) for kind in (KINDS if named else (None,))]
    return Table(
        caption="Gains over controls",
        columns=[
            Column(title="Variant", numeric=False),
            Column(title="Against", numeric=False),
            Column(title="Epochs", hint="of the variant, and of the control, in all stages", numeric=False),
            *(
                column
                for name in sets
                for column in (
                    Column(title=_of("mAP50-95", name), hint="of the variant, and of the control"),
                    Column(
                        title=_of("Gain", name), hint="of the variant over the control; below: its interval"
                    ),
                )
            ),
            Column(title="Why", numeric=False),
        ],
        rows=lines,
        sortable=False,
    )


def why_unattributed(run: Mapping[str, Any], rows: Sequence[Row], row: Row, kind: str) -> str:
    """Return why a variant's gain over a control is not known, or nothing when it is.

    A gain is known when the control was measured in the same runtime and precision, was trained on the same
    pictures for as many epochs, and is what it is called. Against ``scratch``, epochs may count from the original on.
    """
    name = row.record.get("controls", {}).get(kind)
    if name is None:
        return f"no {kind} control is named"
    control = find_control(rows, row, kind)
    if _accuracy(row, FIRST_SET) is None:
        return "the variant was not measured"
    if control is None or _accuracy(control, FIRST_SET) is None:
        return f"{name} was not measured on {row.case.runtime}"
    if control.precision != row.precision:
        return f"{name} is {control.precision}, the variant {row.precision}"
    inherited = _inherited(run, rows, row) if kind == "scratch" else []
    return _why_another_network(rows, row, control, kind) or _why_another_training(
        run, row, control, kind, inherited
    )


def find_control(rows: Sequence[Row], row: Row, kind: str) -> Row | None:
    """Return the case of a variant's control on the same runtime, or None."""
    name = row.record.get("controls", {}).get(kind)
    return next(
        (one for one in rows if one.case.variant == name and one.case.runtime == row.case.runtime), None
    )


def _listed(rows: Sequence[Row]) -> list[Row]:
    """Return one case of each variant that claims to be more than the original; controls claim nothing."""
    reference = baseline_row(rows)
    controls = {name for row in rows for name in row.record.get("controls", {}).values()}
    chosen: dict[str, Row] = {}
    for row in rows:
        record = row.record
        retrained = reference is not None and record.get("training") != reference.record.get("training")
        claims = record.get("controls") or (
            row.case.variant not in controls
            and record.get("accuracy")
            and (record.get("widths") or (retrained and not row.is_baseline))
        )
        if not claims or (reference is not None and row.case.variant == reference.case.variant):
            continue
        there = chosen.get(row.case.variant)
        on_reference = reference is not None and row.case.runtime == reference.case.runtime
        if there is None or (on_reference and there.case.runtime != row.case.runtime):
            chosen[row.case.variant] = row
    return list(chosen.values())


def _line(
    run: Mapping[str, Any], rows: Sequence[Row], row: Row, kind: str | None, sets: Sequence[str]
) -> list[Cell]:
    control = None if kind is None else find_control(rows, row, kind)
    why = "no control is named" if kind is None else why_unattributed(run, rows, row, kind)
    named = "" if kind is None else str(row.record["controls"].get(kind, ""))
    mine, theirs = _epochs(run, row), None if control is None else _epochs(run, control)
    cells = [
        text_cell(row.name),
        text_cell(named or NONE, below="" if kind is None else KINDS[kind]),
        text_cell(f"{_count(mine)} / {_count(theirs)}"),
    ]
    for name in sets:
        value = _accuracy(row, name)
        other = None if control is None else _accuracy(control, name)
        known = not why and value is not None and other is not None
        gain = value - other if known and value is not None and other is not None else None
        interval = None if control is None else find_interval(row, str(control.case), "map50_95", name)
        shown = "" if interval is None else show_change_interval(interval)
        cells += [
            number_cell(value, show_fraction, below="" if other is None else show_fraction(other)),
            number_cell(gain, show_change, below=shown) if known else Cell(text=UNATTRIBUTED, tone="amber"),
        ]
    if why:
        return [*cells, text_cell(why)]
    before = (
        sum(stage.epochs for stage in _inherited(run, rows, row))
        if kind == "scratch" and mine != theirs
        else 0
    )
    since = f" since the original, which had {before} epochs before" if before else ""
    return [*cells, text_cell(f"as many epochs, the same pictures, runtime and precision{since}")]


def _why_another_network(rows: Sequence[Row], row: Row, control: Row, kind: str) -> str:
    name = control.case.variant
    if kind == "scratch":
        like, what = row, "the variant"
    else:
        reference = baseline_row(rows)
        if reference is None:
            return "the run names no original"
        like, what = reference, "the original"
    here, there = control.number("model", "parameters"), like.number("model", "parameters")
    if here != there:
        return f"{name} has {show_count(here)} parameters, {what} {show_count(there)}"
    return ""


def _is_from_scratch(control: Row, stages: Sequence[Stage]) -> bool:
    steps = [step for step in control.record.get("lineage", []) if step.get("operation") == "rederive"]
    if steps:
        return bool(steps[-1].get("notes", {}).get("inherited") == 0)
    return stages[0].start.startswith(_RANDOM)


def _inherited(run: Mapping[str, Any], rows: Sequence[Row], row: Row) -> list[Stage]:
    """Return the stages that a variant's weights share with the original's, which came first."""
    reference = baseline_row(rows)
    original = [] if reference is None else stages_of(run, reference)
    return original if stages_of(run, row)[: len(original)] == original else []


def _why_another_training(
    run: Mapping[str, Any], row: Row, control: Row, kind: str, inherited: Sequence[Stage]
) -> str:
    mine, theirs = stages_of(run, row), stages_of(run, control)
    for name, stages in ((row.case.variant, mine), (control.case.variant, theirs)):
        if not stages:
            return f"no training record of {name}"
        unknown = [stage.unknown for stage in stages if stage.unknown]
        if unknown:
            return f"the record of {name} does not reach back: it {unknown[0]}"
        if any(not stage.digest for stage in stages):
            return f"the training record of {name} does not say what it was trained on"
    if kind == "scratch" and not _is_from_scratch(control, theirs):
        return f"the record of {control.case.variant} does not say that it started from {_RANDOM}"
    own, other = _epochs_by_data(mine), _epochs_by_data(theirs)
    if own != other:
        mine = mine[len(inherited) :]
        own = _epochs_by_data(mine)
    if set(own) != set(other):
        return f"trained on other pictures: {_show_data(mine)}, the control on {_show_data(theirs)}"
    if own != other:
        return f"{sum(own.values())} epochs, the control {sum(other.values())}"
    return ""


def _epochs_by_data(stages: Sequence[Stage]) -> Counter[tuple[str, int | None]]:
    counts: Counter[tuple[str, int | None]] = Counter()
    for stage in stages:
        counts[stage.digest, stage.images] += stage.epochs
    return counts


def _show_data(stages: Sequence[Stage]) -> str:
    return ", ".join(
        dict.fromkeys(f"{stage.data} {stage.digest[:8]} ({stage.images} pictures)" for stage in stages)
    )


def _epochs(run: Mapping[str, Any], row: Row) -> int | None:
    stages = stages_of(run, row)
    return sum(stage.epochs for stage in stages) if stages else None


def _accuracy(row: Row, name: str) -> float | None:
    value = part_of(row, name).get("accuracy", {}).get("coco", {}).get("AP")
    return None if value is None else float(value)


def _count(value: int | None) -> str:
    return NONE if value is None else str(value)


def _of(title: str, name: str) -> str:
    return title if name == FIRST_SET else f"{title}, {name}"
