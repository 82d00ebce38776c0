"""The settings that every operation that trains has, and the training they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.compress.operation import (
    REQUIRED,
    Setting,
    Workspace,
    read_choice,
    read_count,
    read_number,
    read_ratio,
    read_text,
)
from slimgate.compress.recipe import Recipe
from slimgate.compress.train import Stage, TrainSettings, refuse_anchors, train_detector
from slimgate.compress.training_data import CODES, fingerprint_data, read_training_data
from slimgate.compress.training_run import POLICIES
from slimgate.flow import Detector, Json


def training_settings(
    *,
    epochs: Json = REQUIRED,
    learning_rate: float,
    final_rate: float,
    average: float,
    statistics: int,
    keep: str,
) -> dict[str, Setting]:
    """Return the settings, with the defaults that differ between operations."""
    return {
        "epochs": Setting(
            read=read_count(1, 100_000), default=epochs, meaning="passes over the training pictures"
        ),
        "learning_rate": Setting(
            read=read_number(1e-7, 1), default=learning_rate, meaning="AdamW's, at its highest"
        ),
        "final_rate": Setting(
            read=read_ratio, default=final_rate, meaning="share of the learning rate at the end of its cosine"
        ),
        "warmup": Setting(
            read=read_number(0, 100), default=0.5, meaning="epochs in which the learning rate rises from 0"
        ),
        "batch": Setting(read=read_count(1, 4096), default=16, meaning="pictures a step"),
        "mosaic": Setting(read=read_ratio, default=0.25, meaning="share of the pictures shown four in one"),
        "plain_epochs": Setting(read=read_count(0), default=3, meaning="epochs without mosaic at the end"),
        "average": Setting(
            read=read_ratio, default=average, meaning="highest decay per step of the averaged weights"
        ),
        "statistics": Setting(
            read=read_count(0),
            default=statistics,
            meaning="pictures that batch norms' statistics are computed from after every epoch; 0: the last steps'",
        ),
        "data": Setting(
            read=read_text,
            default=CODES,
            fingerprint=fingerprint_data,
            meaning="codes, or a YOLO data.yaml with train and val",
        ),
        "images": Setting(
            read=read_count(0), default=0, meaning="the first so many training pictures only; 0: all"
        ),
        "val_images": Setting(
            read=read_count(0), default=0, meaning="the first so many validation pictures only; 0: all"
        ),
        "seed": Setting(
            read=read_count(0, 2**31 - 1), default=0, meaning="of the pictures' order and changes"
        ),
        "precision": Setting(
            read=read_choice("bf16", "fp32"), default="bf16", meaning="arithmetic of the network in training"
        ),
        "workers": Setting(read=read_count(0, 64), default=1, meaning="processes that prepare batches"),
        "threads": Setting(
            read=read_count(0, 1024),
            default=0,
            meaning="threads of the arithmetic; 0: every core that may be used",
        ),
        "keep": Setting(
            read=read_choice(*POLICIES),
            default=keep,
            meaning="which epoch goes on: best mAP50-95, best F1, or the last",
        ),
    }


def apply_training(
    operation: str,
    detector: Detector,
    settings: Mapping[str, Json],
    workspace: Workspace,
    recipes: Sequence[Recipe],
    notes: Mapping[str, Json] | None = None,
) -> Detector:
    """Return the detector after training in the workspace's folder; the epoch that ``keep`` names.

    Args:
        operation: its name.
        detector: what to train; it stays as it is.
        settings: those of ``training_settings``, checked, and the operation's own.
        workspace: the operation's own.
        recipes: what is added to plain training.
        notes: what the record and the lineage say of the start beyond the detector, such as the teacher.

    Raises:
        InputError: the detector is of the legacy family, or the data does not fit it.
        UsageError: there is no folder to train in, or it belongs to another run.
    """
    refuse_anchors(detector, operation)
    folder = workspace.folder(operation)
    data = read_training_data(settings["data"], count=settings["images"], val_count=settings["val_images"])
    trained = train_detector(
        detector,
        data,
        folder,
        settings=_train_settings(settings),
        stage=Stage(operation=operation, settings=settings, notes=notes),
        recipes=recipes,
        resume=workspace.resume,
        progress=lambda row: workspace.progress(folder.name, row),
        step=lambda epoch, done, total: workspace.step(folder.name, epoch, done, total),
    )
    return trained.by_policy[settings["keep"]]


def _train_settings(settings: Mapping[str, Any]) -> TrainSettings:
    same = ("epochs", "batch", "learning_rate", "final_rate", "warmup", "seed", "mosaic", "plain_epochs")
    return TrainSettings(
        **{key: settings[key] for key in (*same, "average", "statistics", "workers", "threads")},
        half=settings["precision"] == "bf16",
    )
