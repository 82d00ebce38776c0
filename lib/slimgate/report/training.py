"""How each variant was trained: stages, epochs, pictures, and the curves of all stages one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slimgate.report.charts import Band, Curve, draw_curves
from slimgate.report.numbers import NONE, show_count, show_fraction
from slimgate.report.rows import Row
from slimgate.report.table import Column, Table, number_cell, text_cell

_ACCURACY = (("map50_95", "mAP50-95"), ("map50", "mAP50"), ("f1", "F1"))
_GAMMAS = (
    ("gamma_share_under_0.01", "under 0.01"),
    ("gamma_share_under_0.001_max", "under 0.001 of the largest"),
    ("gamma_share_zero", "zero"),
)
_LOSS = "_loss"
_VAL = "val_"
_POLICIES = {"map": "best mAP50-95", "f1": "best F1", "last": "the last"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of a variant, from a record of any version.

    Attributes:
        operation: ``train``, ``sparsify``, ``finetune``, ...
        epochs: how many were done.
        images: pictures an epoch, or None where the record does not say.
        data: the set's name, or nothing.
        digest: of the set, or nothing.
        start: what it started from, or nothing.
        kept: which epoch goes on: ``policy``, ``epoch`` and more; empty where the record does not say.
        curve: a row of numbers per epoch.
        unknown: why there is no record of it, or nothing.
    """

    operation: str
    epochs: int
    images: int | None
    data: str
    digest: str
    start: str
    kept: Mapping[str, Any]
    curve: Sequence[Mapping[str, float]]
    unknown: str

    @property
    def label(self) -> str:
        """Operation and epochs."""
        return f"{self.operation} {self.epochs}"


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training that one or more variants share.

    Attributes:
        variants: their names.
        stages: oldest first.
        plots: losses, accuracy, learning rate and gammas; empty without curves.
        table: a line per stage.
    """

    variants: Sequence[str]
    stages: Sequence[Stage]
    plots: Sequence[Markup]
    table: Table


def stages_of(run: Mapping[str, Any], row: Row) -> list[Stage]:
    """Return the stages behind a case's weights, oldest first; empty without a record."""
    entry = run.get("trainings", {}).get(row.record.get("training"), {})
    return [_stage_from_record(stage) for stage in entry.get("stages", [])]


def epochs_table(run: Mapping[str, Any], rows: Sequence[Row]) -> Table | None:
    """Return for each training how many epochs and pictures there were in all, or None without any record."""
    groups = _group_by_training(rows)
    if not run.get("trainings"):
        return None
    lines = []
    for variants, row in groups:
        stages = stages_of(run, row)
        epochs = sum(stage.epochs for stage in stages)
        seen = [stage.epochs * stage.images for stage in stages if stage.images is not None]
        sets = dict.fromkeys(
            f"{stage.data or 'unnamed'} ({stage.images})" for stage in stages if stage.images is not None
        )
        unknown = "; ".join(stage.unknown for stage in stages if stage.unknown)
        lines.append(
            [
                text_cell(variants[0], below=", ".join(variants[1:])),
                number_cell(epochs if stages else None, show_count, below=unknown and "known of"),
                text_cell(" + ".join(stage.label for stage in stages if not stage.unknown), below=unknown),
                number_cell(sum(seen) if len(seen) == len(stages) and stages else None, show_count),
                text_cell(", ".join(sets)),
                text_cell(
                    next((stage.start for stage in stages if stage.start), "") if stages else "no record"
                ),
            ]
        )
    return Table(
        caption="Epochs of each variant",
        columns=[
            Column(title="Variant", hint="and those that share its training", numeric=False),
            Column(title="Epochs", hint="in all stages together"),
            Column(title="Stages", hint="operation and epochs, oldest first", numeric=False),
            Column(title="Pictures seen", hint="epochs times pictures an epoch, over all stages"),
            Column(title="Trained on", hint="the sets, and the pictures of an epoch", numeric=False),
            Column(title="Started from", numeric=False),
        ],
        rows=lines,
    )


def list_trainings(run: Mapping[str, Any], rows: Sequence[Row]) -> list[Training]:
    """Return every training that has a record, in the order of its first variant."""
    return [
        Training(
            variants=variants,
            stages=stages,
            plots=_plots(stages, variants[0]),
            table=_stages_table(stages, variants[0]),
        )
        for variants, row in _group_by_training(rows)
        if (stages := stages_of(run, row))
    ]


def _group_by_training(rows: Sequence[Row]) -> list[tuple[list[str], Row]]:
    """Return the variants that share a training, with one of their cases; unpruned ones without any are alone."""
    groups: dict[str, tuple[list[str], Row]] = {}
    for row in rows:
        if row.record.get("model"):
            key = str(row.record.get("training", f"none of {row.case.variant}"))
            variants, _ = groups.setdefault(key, ([], row))
            if row.case.variant not in variants:
                variants.append(row.case.variant)
    return list(groups.values())


def _stage_from_record(record: Mapping[str, Any]) -> Stage:
    curve = [row for row in record.get("curve", []) if isinstance(row, Mapping)]
    train = record.get("data", {}).get("train", {})
    done = record.get("epochs_done", len(curve))
    return Stage(
        # Records of the first release do not name the operation: there was only one.
        operation=str(record.get("operation", "train")),
        epochs=int(done),
        images=int(train["images"]) if train.get("images") is not None else None,
        data=str(train.get("set", "")),
        digest=str(train.get("digest", "")),
        start=str(record.get("init", "")),
        kept=record.get("kept", {}),
        curve=curve,
        unknown=str(record.get("unknown", "")),
    )


def _stages_table(stages: Sequence[Stage], variant: str) -> Table:
    lines = []
    for number, stage in enumerate(stages, start=1):
        rows = {int(row.get("epoch", 0)): row for row in stage.curve}
        kept = stage.kept.get("epoch")
        row = rows.get(int(kept), {}) if kept is not None else {}
        rate = max((row["learning_rate"] for row in stage.curve if "learning_rate" in row), default=None)
        policy = _POLICIES.get(str(stage.kept.get("policy")), str(stage.kept.get("policy", "")))
        lines.append(
            [
                text_cell(f"{number} {stage.operation}", below=stage.unknown),
                number_cell(stage.epochs or None, show_count),
                number_cell(stage.images, show_count),
                number_cell(rate, lambda value: NONE if value is None else f"{value:g}"),
                text_cell(stage.start),
                text_cell(f"epoch {kept}, {policy}" if kept is not None else ""),
                *(number_cell(row.get(key), lambda value: show_fraction(value, 3)) for key, _ in _ACCURACY),
            ]
        )
    return Table(
        caption=f"Stages of {variant}",
        columns=[
            Column(title="Stage", numeric=False),
            Column(title="Epochs"),
            Column(title="Pictures", hint="an epoch"),
            Column(title="Learning rate", hint="at its highest"),
            Column(title="Started from", numeric=False),
            Column(
                title="Went on", hint="which epoch's weights, chosen on the validation set", numeric=False
            ),
            *(Column(title=title, hint="of that epoch, on the validation set") for _, title in _ACCURACY),
        ],
        rows=lines,
        sortable=False,
    )


def _plots(stages: Sequence[Stage], variant: str) -> list[Markup]:
    drawn = [stage for stage in stages if stage.curve]
    if not drawn:
        return []
    offsets, total = [], 0
    for stage in drawn:
        offsets.append(total)
        total += len(stage.curve)
    bands = [
        Band(name=stage.operation, low=offset + 0.5, high=offset + len(stage.curve) + 0.5)
        for stage, offset in zip(drawn, offsets, strict=True)
    ]
    keys = list(dict.fromkeys(key for stage in drawn for row in stage.curve for key in row))
    losses = [key for key in keys if key.endswith(_LOSS)]
    panels = [
        ("Losses in training", [(key, _loss_name(key)) for key in losses if not key.startswith(_VAL)], None),
        ("Losses in validation", [(key, _loss_name(key)) for key in losses if key.startswith(_VAL)], None),
        ("Accuracy in validation", [pair for pair in _ACCURACY if pair[0] in keys], (0.0, 1.0)),
        ("Learning rate", [(key, "learning rate") for key in keys if key == "learning_rate"], None),
        ("Share of small gammas", [pair for pair in _GAMMAS if pair[0] in keys], (0.0, 1.0)),
    ]
    return [
        draw_curves(
            [
                Curve(
                    name=name,
                    points=[
                        (float(offset + index), row.get(key))
                        for stage, offset in zip(drawn, offsets, strict=True)
                        for index, row in enumerate(stage.curve, start=1)
                    ],
                )
                for key, name in named
            ],
            x_title="epoch, all stages counted",
            y_title=heading,
            x_range=(0.5, total + 0.5),
            y_range=y_range,
            bands=bands,
            title=f"{heading} of {variant} per epoch: {', '.join(stage.label for stage in drawn)}",
        )
        for heading, named, y_range in panels
        if named
    ]


def _loss_name(key: str) -> str:
    return key.removeprefix(_VAL).removesuffix(_LOSS)
