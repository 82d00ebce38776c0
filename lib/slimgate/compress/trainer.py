"""ultralytics' trainer for any detector: bfloat16 on the CPU, plain files after every epoch, exact resuming.

What is ours is added by overriding, not by copying:

- the network is built from a detector's architecture, with its own widths and activations;
- every epoch is a function of (state, seed, number of the epoch) alone, so a killed run that resumes gives the
  same weights as one that was not killed. ultralytics resumes from half-precision averages instead: exact zeros,
  live weights and the pictures' order would be lost;
- the state is plain tensors and numbers, read with ``weights_only``; ultralytics pickles the network;
- the pass over the validation pictures after the last epoch, of a file already validated, is left out.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from slimgate.compress.recalibrate import recompute_statistics
from slimgate.compress.recipe import Recipe
from slimgate.errors import InputError
from slimgate.model import ultralytics_env  # noqa: F401 - sets the environment before ultralytics loads
from slimgate.model.ultralytics_env import DetectionModel

from ultralytics.models.yolo.detect import DetectionTrainer  # isort: skip

Curve = list[dict[str, float]]


class TrainedModel(DetectionModel):  # type: ignore[misc]
    """A detection model with room for one more loss, such as distillation.

    Attributes:
        more_loss: given the images and the training outputs (``boxes``, ``scores``, ``feats``), returns a scalar
            loss an image; None: there is no more.
        more_loss_name: its name in the curve.
    """

    more_loss: Callable[[torch.Tensor, Mapping[str, Any]], torch.Tensor] | None = None
    more_loss_name = ""

    def loss(self, batch: dict[str, Any], preds: Any = None) -> Any:
        """Return the losses times the batch size, and each one detached by name."""
        if self.more_loss is None or not self.training:
            return super().loss(batch, preds)
        outputs = self.forward(batch["img"]) if preds is None else preds
        losses, items = super().loss(batch, outputs)
        more = self.more_loss(batch["img"], outputs)
        items[self.more_loss_name] = more.detach()
        return torch.cat([losses, more.view(1) * len(batch["img"])]), items


class Bfloat16Model(TrainedModel):
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


def trainable_module(module: nn.Module, *, half: bool) -> nn.Module:
    """Turn a freshly built detector network into one that ultralytics trains; return it.

    Only its class changes, from the detection model that ``build_module`` makes to a subclass without further
    tensors, so widths and activations are those of the architecture, and every tensor keeps its name.
    """
    if not issubclass(type(module), DetectionModel):
        raise TypeError(f"{type(module).__name__} is not an ultralytics detection model")
    module.__class__ = Bfloat16Model if half else TrainedModel
    network: Any = module
    network.model[-1].export = False
    return module


class Trainer(DetectionTrainer):  # type: ignore[misc]
    """Trains ``model`` (set before ``train``) and hands over the averaged weights after every epoch.

    Attributes:
        state: of the last whole epoch, as handed to ``after_epoch``; None to start.
        after_epoch: called with (averaged weights, curve so far, state to resume from).
        after_step: called with (epoch from 1, steps done, steps an epoch has).
        recipes: what this kind of training adds.
        loader_workers: processes that prepare batches; ultralytics would use none on a CPU.
        threads: threads of the arithmetic; 0: as many as cores that may be used.
        image_size: pixels per side of the pictures; ultralytics would take the next multiple of 32.
        plain_epochs: epochs at the end without mosaic.
        statistics: training pictures that the averaged weights' batch norms take their statistics from before
            every validation; 0: averages over the last steps, as usual.
        highest_average: upper bound of the decay of the averaged weights.
    """

    state: Mapping[str, Any] | None
    after_epoch: Callable[[Mapping[str, torch.Tensor], Curve, Mapping[str, Any]], None]
    after_step: Callable[[int, int, int], None]
    recipes: Sequence[Recipe]
    loader_workers: int
    threads: int
    image_size: int
    plain_epochs: int
    statistics: int
    highest_average: float
    _started = 0.0
    _steps = 0

    def listen(self) -> None:
        """Have ultralytics call the methods below."""
        self.add_callback("on_pretrain_routine_end", Trainer.lay_out)
        self.add_callback("on_train_epoch_start", Trainer.begin_epoch)
        self.add_callback("on_train_batch_end", Trainer.count_step)
        self.add_callback("on_fit_epoch_end", Trainer.hand_over)

    @property
    def share_done(self) -> float:
        """Share of the run's steps that are done, 0..1."""
        return float((self.epoch + self._steps / len(self.train_loader)) / self.epochs)

    def get_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return the loader, with workers even on a CPU, of pictures of the detector's own size."""
        self.args.workers = self.loader_workers
        self.args.imgsz = self.image_size
        return super().get_dataloader(*args, **kwargs)

    def resume_training(self, ckpt: Any) -> None:
        """Take up the state of the last whole epoch; ``ckpt`` is ultralytics' own and never there."""
        self.curve: Curve = []
        decay = self.ema.decay
        self.ema.decay = lambda updates: min(decay(updates), self.highest_average)
        if self.state is None:
            return
        self.curve = [dict(row) for row in self.state["curve"]]
        self.model.load_state_dict(self.state["model"])
        self.ema.ema.load_state_dict(self.state["average"])
        self.ema.updates = self.state["updates"]
        self.optimizer.load_state_dict(self.state["optimizer"])
        self.start_epoch = len(self.curve)

    def lay_out(self) -> None:
        """Use the cores, and channels-last convolutions: a third faster on a CPU, where ultralytics has neither."""
        # More threads than cores that this process may use wait for one another.
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(self.threads or usable or 1)
        self.model.to(memory_format=torch.channels_last)
        self.epoch = self.start_epoch
        for recipe in self.recipes:
            recipe.begin(self)

    def begin_epoch(self) -> None:
        """Start the epoch's clock, and every random generator from the seed and the epoch's number."""
        if self.epoch >= self.epochs - self.plain_epochs:
            self._close_dataloader_mosaic()
        digest = hashlib.sha256(f"{self.args.seed}/{self.epoch}".encode()).digest()
        number = int.from_bytes(digest[:4], "big")
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        self.train_loader.generator.manual_seed(number)
        self.train_loader.reset()
        self._started = time.monotonic()
        self._steps = 0

    def optimizer_step(self) -> None:
        """Step, update the averaged weights, then let the recipes act."""
        super().optimizer_step()
        for recipe in self.recipes:
            recipe.after_update(self)

    def count_step(self) -> None:
        """Report how far the epoch is."""
        self._steps += 1
        self.after_step(self.epoch + 1, self._steps, len(self.train_loader))

    def validate(self) -> Any:
        """Validate the averaged weights, after their statistics were computed anew where that is asked for."""
        if self.statistics:
            batches = -(-self.statistics // self.batch_size)
            pictures = itertools.islice(self.train_loader, batches)
            recompute_statistics(self.ema.ema, (self.preprocess_batch(batch)["img"] for batch in pictures))
        return super().validate()

    def hand_over(self) -> None:
        """Add the epoch to the curve and pass averaged weights, curve and state on."""
        self.curve.append({key: round(float(value), 6) for key, value in self._row().items()})
        state = {
            "model": self.model.state_dict(),
            "average": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
        }
        self.after_epoch(self.ema.ema.state_dict(), self.curve, state)

    def _row(self) -> dict[str, float]:
        losses = {_loss_name(name): float(value) for name, value in self.tloss.items()}
        val_losses = {
            f"val_{_loss_name(name.removeprefix('val/'))}": value
            for name, value in self.metrics.items()
            if name.startswith("val/") and _loss_name(name.removeprefix("val/")) in losses
        }
        f1, threshold = best_f1(self.validator.metrics.box)
        row = {
            "epoch": self.epoch + 1,
            "seconds": time.monotonic() - self._started,
            **losses,
            **val_losses,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "precision": self.metrics["metrics/precision(B)"],
            "recall": self.metrics["metrics/recall(B)"],
            "map50": self.metrics["metrics/mAP50(B)"],
            "map50_95": self.metrics["metrics/mAP50-95(B)"],
            "f1": f1,
            "f1_threshold": threshold,
        }
        for recipe in self.recipes:
            row |= recipe.row(self.ema.ema)
        return row

    def save_model(self) -> bool:
        """Write nothing: ``hand_over`` gives everything to the run, which keeps it without pickled code."""
        return False

    def final_eval(self) -> None:
        """Do nothing: the best epochs were validated when they ended."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        finite = bool(self.loss.isfinite()) and bool(np.isfinite(self.fitness))
        if finite and all(torch.isfinite(tensor).all() for tensor in self.ema.ema.state_dict().values()):
            return False
        raise InputError(
            f"training, epoch {epoch + 1}",
            found="weights or losses that are not finite",
            expected="numbers: the training diverged",
            action="start again with a lower learning rate; the epochs before this one are kept in the run",
        )


def best_f1(box: Any) -> tuple[float, float]:
    """Return the highest F1 (mean over classes, IoU 0.5) and the confidence it is reached at; 0, 0 without any.

    Args:
        box: ultralytics' box metrics: ``f1_curve`` ``(classes, 1000)`` over the confidences ``px`` ``(1000,)``.
    """
    curve = np.asarray(getattr(box, "f1_curve", []), dtype=float)
    if curve.ndim != 2 or curve.size == 0:
        return 0.0, 0.0
    mean = curve.mean(axis=0)
    index = int(mean.argmax())
    return float(mean[index]), float(box.px[index])


def _loss_name(name: str) -> str:
    return name.replace("cls_", "class_")
