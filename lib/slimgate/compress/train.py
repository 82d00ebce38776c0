"""Training a detector, resumable, with a record of what it was trained on and how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.compress.recipe import Recipe
from slimgate.compress.training_data import TrainingData, refuse_other_classes
from slimgate.compress.training_run import BEST, BEST_F1, LAST, Trained, TrainingRun, lock_run, open_run
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import build_module

if TYPE_CHECKING:
    import torch

__all__ = ["BEST", "BEST_F1", "LAST", "TrainSettings", "Trained", "train_detector"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Attributes:
        epochs: passes over the training pictures.
        batch: pictures a step.
        learning_rate: at its highest; it falls along a cosine to ``final_rate`` of that.
        final_rate: share of the learning rate at the end.
        warmup: epochs in which the learning rate rises from 0.
        optimizer: ultralytics' name of it.
        seed: of the order and the augmentation of the pictures.
        half: run the network in bfloat16 while training; the loss stays in float32.
        mosaic: share of the pictures shown four in one, until the last ``plain_epochs``.
        plain_epochs: epochs at the end without mosaic.
        average: highest decay per step of the averaged weights, which are what is kept.
        statistics: training pictures that batch norms' statistics are computed from after every epoch; 0: averages
            over the last steps, which weights that move quickly outrun.
        workers: processes that prepare batches.
        threads: threads of the arithmetic; 0: as many as cores that may be used.
    """

    epochs: int = 12
    batch: int = 16
    learning_rate: float = 0.001
    final_rate: float = 0.02
    warmup: float = 0.5
    optimizer: str = "AdamW"
    seed: int = 0
    half: bool = True
    mosaic: float = 0.25
    plain_epochs: int = 3
    average: float = 0.9999
    statistics: int = 0
    workers: int = 1
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a training is called, in the record and in the lineage.

    Attributes:
        operation: ``train``, or the operation it is part of.
        settings: the operation's settings; None: it is not a step of the lineage.
        notes: what the record of the start says beyond the detector: inherited tensors, a teacher.
    """

    operation: str = "train"
    settings: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] | None = None


def train_detector(
    detector: Detector,
    data: TrainingData,
    run: Path,
    *,
    settings: TrainSettings,
    stage: Stage | None = None,
    recipes: Sequence[Recipe] = (),
    resume: bool = False,
    progress: Callable[[Mapping[str, float]], None] | None = None,
    step: Callable[[int, int, int], None] | None = None,
) -> Trained:
    """Return the detector, trained from its own weights: the last epoch, and the best ones on ``data.val``.

    After every epoch ``last.safetensors`` and, when it was the best so far by mAP50-95 or by F1,
    ``best.safetensors`` or ``best-f1.safetensors`` (each with its JSON) lie in ``run``, together with the state to
    resume from. A run that was killed and resumed gives the same weights as one that was not.

    Args:
        detector: of the ultralytics family; see ``fresh_detector`` for one with random weights.
        data: with the detector's classes.
        run: folder of this run.
        settings: how to train.
        stage: what to call it in the record and in the lineage.
        recipes: what is added to plain training.
        resume: continue the run in the folder, if there is one; hand over what it gave when it is finished.
        progress: called after every epoch with its row of the curve.
        step: called after every step with (epoch from 1, steps done, steps an epoch has).

    Raises:
        UsageError: a run is in the folder and ``resume`` is not set, or it is another run.
        InputError: the detector is of the legacy family, the data has other classes, or training diverged.
    """
    stage = stage or Stage()
    refuse_anchors(detector, stage.operation)
    refuse_other_classes(data, detector.class_names, detector.name)
    with lock_run(run):
        opened = open_run(run, detector, data, settings, stage, resume=resume)
        if not opened.is_finished():
            _train(opened, detector, settings, recipes, progress, step)
        return opened.trained()


def refuse_anchors(detector: Detector, operation: str) -> None:
    """Refuse a legacy detector, whose anchor loss is not here.

    Raises:
        InputError: the detector has anchors.
    """
    if detector.family is not Family.ULTRALYTICS:
        raise InputError(
            f"operation '{operation}' on {detector.name}",
            found=f"a detector of the family {detector.family.value}, which cannot be trained here",
            expected="an anchor-free detector",
            action="apply transfer-head first: it moves backbone and neck under an anchor-free head, to be trained",
        )


def _train(
    run: TrainingRun,
    detector: Detector,
    settings: TrainSettings,
    recipes: Sequence[Recipe],
    progress: Callable[[Mapping[str, float]], None] | None,
    step: Callable[[int, int, int], None] | None,
) -> None:
    from slimgate.compress.trainer import Trainer, trainable_module

    module = build_module(
        detector.architecture, family=detector.family, class_count=len(detector.class_names)
    )
    module.load_state_dict(detector.module.state_dict())

    def keep(
        weights: Mapping[str, torch.Tensor], curve: list[dict[str, float]], state: Mapping[str, Any]
    ) -> None:
        run.keep(weights, curve, state, notes=lambda kept: _notes(recipes, kept))
        if progress is not None:
            progress(curve[-1])

    trainer: Any = Trainer(overrides=_overrides(run, detector, settings))
    trainer.model = trainable_module(module, half=settings.half)
    trainer.state, trainer.after_epoch, trainer.after_step = run.state(), keep, step or (lambda *_: None)
    trainer.recipes, trainer.loader_workers = recipes, settings.workers
    trainer.statistics = settings.statistics
    trainer.image_size = detector.image_size
    trainer.threads = settings.threads
    trainer.plain_epochs, trainer.highest_average = settings.plain_epochs, settings.average
    trainer.listen()
    trainer.train()


def _notes(recipes: Sequence[Recipe], module: torch.nn.Module) -> dict[str, Any]:
    return {key: value for recipe in recipes for key, value in recipe.notes(module).items()}


def _overrides(run: TrainingRun, detector: Detector, settings: TrainSettings) -> dict[str, Any]:
    return {
        # Never looked for: the network is set on the trainer.
        "model": "slimgate.yaml",
        "data": str(run.write_data_config()),
        "imgsz": detector.image_size,
        "epochs": settings.epochs,
        "batch": settings.batch,
        "nbs": settings.batch,
        "optimizer": settings.optimizer,
        "lr0": settings.learning_rate,
        "lrf": settings.final_rate,
        "cos_lr": True,
        "warmup_epochs": settings.warmup,
        "warmup_bias_lr": 0.0,
        "patience": 0,
        "seed": settings.seed,
        "deterministic": False,
        "amp": False,
        "device": "cpu",
        "workers": settings.workers,
        "cache": "ram",
        "mosaic": settings.mosaic,
        # Ours closes it: ultralytics' way depends on where a run was resumed.
        "close_mosaic": 0,
        "scale": 0.25,
        "translate": 0.08,
        "fliplr": 0.5,
        "flipud": 0.5,
        "erasing": 0.0,
        "hsv_h": 0.02,
        "hsv_s": 0.4,
        "hsv_v": 0.25,
        "plots": False,
        "verbose": False,
        "project": str(run.folder.resolve()),
        "name": "ultralytics",
        "exist_ok": True,
        "resume": False,
    }
