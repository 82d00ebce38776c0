"""Training a detector, resumable, with a record of what it was trained on and how it went."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family, Json
from slimgate.model import (
    architecture_from_name,
    build_module,
    hash_weights,
    load_detector,
    save_checkpoint,
    strides_of,
)

if TYPE_CHECKING:
    import torch

_RUN_FILE = "run.json"
BEST, LAST = "best.safetensors", "last.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Attributes:
        architecture: name of a yaml that ultralytics ships.
        image_size: side of the square input, pixels.
        epochs: passes over the training pictures.
        batch: pictures a step.
        learning_rate: at its highest; it falls along a cosine to ``final_rate`` of that.
        final_rate: share of the learning rate at the end.
        optimizer: ultralytics' name of it.
        seed: of the weights' start and the order of the pictures.
        half: run the network in bfloat16 while training; the loss stays in float32.
        mosaic: share of the pictures shown four in one, until the last ``plain_epochs``.
        plain_epochs: epochs at the end without mosaic.
        workers: processes that prepare batches.
    """

    architecture: str = "yolov5n"
    image_size: int = 320
    epochs: int = 12
    batch: int = 16
    learning_rate: float = 0.001
    final_rate: float = 0.02
    optimizer: str = "AdamW"
    seed: int = 0
    half: bool = True
    mosaic: float = 0.25
    plain_epochs: int = 3
    workers: int = 1


def train_detector(
    train: Path,
    val: Path,
    run: Path,
    *,
    class_names: Sequence[str],
    settings: TrainSettings,
    name: str,
    init: Path | None = None,
    data: Mapping[str, Json] | None = None,
    resume: bool = False,
    progress: Callable[[Mapping[str, float]], None] | None = None,
    step: Callable[[int, int, int], None] | None = None,
) -> Detector:
    """Return the detector of the epoch that was best on ``val`` (mAP50-95), trained on ``train``.

    After every epoch ``last.safetensors`` and, when it was the best so far, ``best.safetensors`` (each with
    its JSON) lie in ``run``. The curve's numbers are ultralytics' own validation.

    Args:
        train: folder with ``images/`` and ``labels/`` (YOLO text).
        val: the same, for validation.
        run: folder of this run.
        class_names: one per class index.
        settings: how to train; when resuming, the run's own are used.
        name: the detector's name.
        init: a detector file to take matching tensors from, or None to start at random.
        data: what the record says about the pictures (digests, counts).
        resume: continue the run from its last whole epoch.
        progress: called after every epoch with its row of the curve.
        step: called after every step with (epoch from 1, steps done, steps an epoch has).

    Raises:
        UsageError: the run exists and ``resume`` is not set, or the other way round.
        InputError: the run is finished.
    """
    record, settings = _open_run(run, settings, init=init, data=data, resume=resume)
    architecture = architecture_from_name(settings.architecture, class_count=len(class_names))
    start: Mapping[str, torch.Tensor] = {}
    if init is not None and not resume:
        first = load_detector(init)
        start = first.module.state_dict()
        if first.training:
            record = _write_record(run, {**record, "init_training": dict(first.training)})

    def keep(weights: Mapping[str, torch.Tensor], curve: list[dict[str, float]], best: bool) -> None:
        module = build_module(architecture, family=Family.ULTRALYTICS, class_count=len(class_names))
        module.load_state_dict(
            {
                key: value.detach().float() if value.is_floating_point() else value.detach()
                for key, value in weights.items()
            }
        )
        training: dict[str, Json] = {
            **record,
            "epochs_done": len(curve),
            "wall_s": round(sum(row["seconds"] for row in curve), 1),
            "curve": curve,
        }
        detector = Detector(
            name=name,
            family=Family.ULTRALYTICS,
            class_names=tuple(class_names),
            image_size=settings.image_size,
            stride=max(strides_of(module)),
            architecture=architecture,
            module=module,
            weights_sha256=hash_weights(module),
            source="slimgate train",
            training=training,
        )
        save_checkpoint(detector, run / LAST)
        if best:
            save_checkpoint(detector, run / BEST)
        if progress is not None:
            progress(curve[-1])

    trainer = _make_trainer(run, train, val, class_names, settings, resume=resume)
    trainer.architecture, trainer.start, trainer.after_epoch = architecture, start, keep
    trainer.after_step = step or (lambda *_: None)
    trainer.half, trainer.loader_workers = settings.half, settings.workers
    trainer.train()
    return load_detector(run / BEST)


def check_init(path: Path, sha256: str | None) -> Path:
    """Return ``path`` after checking its sha256, or the beginning of it.

    Raises:
        InputError: the file is missing, or it is another one.
    """
    if not path.is_file():
        raise InputError(
            str(path), found="no such file", expected="a detector file to start from", action="check the path"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is not None and not found.startswith(sha256.lower().rstrip(".…")):
        raise InputError(
            str(path),
            found=f"sha256 {found[:16]}…",
            expected=f"{sha256[:16]}…",
            action="fetch the file again from its official release",
        )
    return path


def _open_run(
    run: Path,
    settings: TrainSettings,
    *,
    init: Path | None,
    data: Mapping[str, Json] | None,
    resume: bool,
) -> tuple[dict[str, Json], TrainSettings]:
    """Return the run's record and settings; a fresh run writes them, a resumed one reads them."""
    path = run / _RUN_FILE
    if resume:
        if not path.exists() or not _state_path(run).exists():
            raise UsageError(
                str(run),
                found="no whole epoch to resume from",
                expected="the folder of a run that finished at least one epoch",
                action="start without --resume",
            )
        record: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
        kept = TrainSettings(**record["settings"])
        curve_path = run / "ultralytics" / "curve.json"
        done = len(json.loads(curve_path.read_text(encoding="utf-8"))) if curve_path.exists() else 0
        if done >= kept.epochs:
            raise InputError(
                str(run),
                found=f"a finished run of {kept.epochs} epochs",
                expected="a run with epochs left",
                action=f"use its {BEST}, or start another run",
            )
        return record, kept
    if path.exists():
        raise UsageError(
            str(run),
            found="a run is already there",
            expected="a new folder",
            action="resume it with --resume, or name another folder",
        )
    run.mkdir(parents=True, exist_ok=True)
    record = {
        "settings": dataclasses.asdict(settings),
        "data": dict(data or {}),
        "init_sha256": None if init is None else hashlib.sha256(init.read_bytes()).hexdigest(),
        "init": None if init is None else init.name,
        "evaluator": "ultralytics validation; best epoch chosen by val mAP50-95",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return _write_record(run, record), settings


def _write_record(run: Path, record: dict[str, Json]) -> dict[str, Json]:
    (run / _RUN_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def _state_path(run: Path) -> Path:
    # ultralytics pickles its optimizer state here; only this run reads it back.
    return run / "ultralytics" / "weights" / "last.pt"


def _make_trainer(
    run: Path, train: Path, val: Path, class_names: Sequence[str], settings: TrainSettings, *, resume: bool
) -> Any:
    from slimgate.compress.trainer import Trainer

    config = run / "data.yaml"
    names = "".join(f"  {index}: {class_name}\n" for index, class_name in enumerate(class_names))
    config.write_text(
        f"train: {(train / 'images').resolve()}\nval: {(val / 'images').resolve()}\nnames:\n{names}",
        encoding="utf-8",
    )
    trainer = Trainer(
        overrides={
            "model": f"{settings.architecture}.yaml",
            "data": str(config),
            "imgsz": settings.image_size,
            "epochs": settings.epochs,
            "batch": settings.batch,
            "nbs": settings.batch,
            "optimizer": settings.optimizer,
            "lr0": settings.learning_rate,
            "lrf": settings.final_rate,
            "cos_lr": True,
            "warmup_epochs": 0.5,
            "warmup_bias_lr": 0.0,
            "seed": settings.seed,
            "deterministic": False,
            "amp": False,
            "device": "cpu",
            "workers": settings.workers,
            "cache": "ram",
            "mosaic": settings.mosaic,
            "close_mosaic": settings.plain_epochs,
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
            "project": str(run.resolve()),
            "name": "ultralytics",
            "exist_ok": True,
            "resume": str(_state_path(run)) if resume else False,
        }
    )
    trainer.add_callback("on_pretrain_routine_end", Trainer.lay_out)
    trainer.add_callback("on_train_epoch_start", Trainer.mark_epoch_start)
    trainer.add_callback("on_train_batch_end", Trainer.count_step)
    trainer.add_callback("on_fit_epoch_end", Trainer.hand_over)
    return trainer
