"""Fine-tuning, with or without a teacher."""

from __future__ import annotations

from collections.abc import Mapping

from slimgate.compress.operation import Operation, Workspace
from slimgate.compress.recipe import Recipe
from slimgate.compress.training_settings import apply_training, training_settings
from slimgate.flow import Detector, Json


def finetune(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector after more training from its own weights.

    Args:
        detector: of the ultralytics family; it stays as it is.
        settings: those of every training, checked.
        workspace: the operation's own.

    Raises:
        InputError: the detector is of the legacy family, or the data does not fit it.
        UsageError: there is no folder to train in, or it belongs to another run.
    """
    recipes: list[Recipe] = []
    return apply_training("finetune", detector, settings, workspace, recipes)


OPERATION = Operation(
    name="finetune",
    summary="train on from the weights as they are",
    example="finetune:12",
    positional="epochs",
    settings={
        **training_settings(learning_rate=0.001, final_rate=0.02, average=0.9999, keep="map"),
    },
    successors=frozenset({"align", "deconv", "finetune", "prune", "prune24", "rederive", "slim", "sparsify"}),
    apply=finetune,
)
