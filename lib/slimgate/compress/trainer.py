"""ultralytics' trainer with our start weights, bfloat16 on the CPU, and plain files after every epoch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from slimgate.model import ultralytics_env  # noqa: F401 - sets the environment before ultralytics loads
from slimgate.model.ultralytics_env import DetectionModel

from ultralytics.models.yolo.detect import DetectionTrainer  # isort: skip

CURVE_NAME = "curve.json"


class Bfloat16Model(DetectionModel):  # type: ignore[misc]
    """A detection model that trains its network in bfloat16; loss and box arithmetic stay in float32.

    ultralytics' own ``amp="bf16"`` refuses the CPU, and its autocast would cover the box loss as well, where
    eight bits of mantissa are too few.
    """

    def predict(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the network's outputs, as float32."""
        if not self.training:
            return super().predict(x, *args, **kwargs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = super().predict(x, *args, **kwargs)
        return _as_float(outputs)


def _as_float(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _as_float(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_as_float(item) for item in value)
    return value


class Trainer(DetectionTrainer):  # type: ignore[misc]
    """Trains one architecture and hands over the averaged weights after every epoch.

    Attributes:
        architecture: the YOLO yaml as a mapping.
        start: tensors to start from; those that match by name and shape are used.
        after_epoch: called with (averaged weights, curve so far, whether this epoch is the best).
        after_step: called with (epoch from 1, steps done, steps an epoch has).
        half: train in bfloat16.
        loader_workers: processes that prepare batches; ultralytics would use none on a CPU.
    """

    architecture: Mapping[str, Any]
    start: Mapping[str, torch.Tensor]
    after_epoch: Callable[[Mapping[str, torch.Tensor], list[dict[str, float]], bool], None]
    after_step: Callable[[int, int, int], None]
    half: bool
    loader_workers: int
    matched = 0
    _started = 0.0
    _steps = 0

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Return the network, from the start tensors or (resuming) from ``weights``."""
        kind = Bfloat16Model if self.half else DetectionModel
        model = kind(dict(self.architecture), nc=self.data["nc"], ch=self.data["channels"], verbose=False)
        if weights is not None:
            model.load(weights, verbose=False)
            return model
        state = model.state_dict()
        fitting = {k: v for k, v in self.start.items() if k in state and state[k].shape == v.shape}
        self.matched = len(fitting)
        model.load_state_dict({**state, **fitting})
        return model

    def get_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return the loader, with workers even on a CPU."""
        self.args.workers = self.loader_workers
        return super().get_dataloader(*args, **kwargs)

    def hand_over(self) -> None:
        """Record the epoch in the curve and pass the averaged weights on."""
        path = Path(self.save_dir) / CURVE_NAME
        curve: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        if self.epoch >= self.epochs:
            return  # the validation after the last epoch calls back once more
        curve = [row for row in curve if row["epoch"] <= self.epoch]
        losses = [float(v) for v in (self.tloss.values() if isinstance(self.tloss, Mapping) else self.tloss)]
        row = {
            "epoch": float(self.epoch + 1),
            "seconds": time.monotonic() - self._started,
            "box_loss": losses[0],
            "class_loss": losses[1],
            "dfl_loss": losses[2],
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "precision": float(self.metrics["metrics/precision(B)"]),
            "recall": float(self.metrics["metrics/recall(B)"]),
            "map50": float(self.metrics["metrics/mAP50(B)"]),
            "map50_95": float(self.metrics["metrics/mAP50-95(B)"]),
        }
        best = all(row["map50_95"] >= other["map50_95"] for other in curve)
        curve.append({key: round(value, 6) for key, value in row.items()})
        self.after_epoch(self.ema.ema.state_dict(), curve, best)
        path.write_text(json.dumps(curve, indent=1), encoding="utf-8")

    def lay_out(self) -> None:
        """Use every core, and channels-last convolutions: a third faster on a CPU, where ultralytics has neither."""
        torch.set_num_threads(os.cpu_count() or 1)
        self.model.to(memory_format=torch.channels_last)

    def mark_epoch_start(self) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()
        self._steps = 0

    def count_step(self) -> None:
        """Report how far the epoch is."""
        self._steps += 1
        self.after_step(self.epoch + 1, self._steps, len(self.train_loader))
