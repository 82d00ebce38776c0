"""Fine-tuning, with or without a teacher; weights that pruning zeroed stay zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slimgate.compress.distill import Distillation, describe_teacher, fingerprint_teacher, load_teacher
from slimgate.compress.kept_zeros import KeptZeros
from slimgate.compress.operation import Operation, Setting, Workspace, read_number, read_text
from slimgate.compress.recipe import Recipe
from slimgate.compress.train import refuse_anchors
from slimgate.compress.training_settings import apply_training, training_settings
from slimgate.flow import Detector, Json
from slimgate.model import strides_of


def finetune(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector after more training from its own weights.

    Args:
        detector: of the ultralytics family; it stays as it is.
        settings: ``teacher``, ``distill`` and those of every training, checked.
        workspace: the operation's own.

    Raises:
        InputError: the detector is of the legacy family, or the data or the teacher does not fit it.
        UsageError: there is no folder to train in, or it belongs to another run.
    """
    refuse_anchors(detector, "finetune")
    recipes: list[Recipe] = [KeptZeros(detector)]
    notes = {}
    if settings["teacher"] is not None:
        teacher = load_teacher(Path(settings["teacher"]), detector)
        half = settings["precision"] == "bf16"
        recipes.append(
            Distillation(teacher, strides=strides_of(detector.module), weight=settings["distill"], half=half)
        )
        notes["teacher"] = describe_teacher(teacher)
    return apply_training("finetune", detector, settings, workspace, recipes, notes)


def _read_teacher(subject: str, value: Json) -> str | None:
    # A recorded step has None where no teacher was named.
    return None if value is None else read_text(subject, value)


OPERATION = Operation(
    name="finetune",
    summary="train on from the weights as they are, with or without a teacher; pruned weights stay zero",
    example="finetune:12",
    positional="epochs",
    settings={
        "teacher": Setting(
            read=_read_teacher,
            default=None,
            fingerprint=fingerprint_teacher,
            meaning="slimgate checkpoint whose outputs to learn as well, such as the detector before slim",
        ),
        "distill": Setting(
            read=read_number(0, 1000),
            default=1.0,
            meaning="weight of what the teacher says, beside the labels",
        ),
        **training_settings(learning_rate=0.001, final_rate=0.02, average=0.9999, statistics=0, keep="map"),
    },
    successors=frozenset(
        {
            "drop-levels",
            "shallow",
            "align",
            "deconv",
            "finetune",
            "prune",
            "prune24",
            "recalibrate",
            "rederive",
            "slim",
            "sparsify",
            "swap-activation",
        }
    ),
    apply=finetune,
)
