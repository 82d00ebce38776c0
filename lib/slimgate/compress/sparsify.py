"""Sparsity training: batch norms' scales are pulled to zero, so that what is not needed shows (network slimming).

Liu et al. 2017 (arXiv:1708.06519) add strength · Σ|γ| to the loss. AdamW divides every gradient by its own recent
size, which would turn the constant pull of the L1 term into one that differs from scale to scale and never reaches
zero. So the pull is a step of its own, the proximal operator of the L1 term after every step of the optimizer:

    γ ← sign(γ) · max(|γ| - learning rate · strength, 0)

(Parikh and Boyd 2014, section 4.2, proximal gradient), as AdamW itself does with weight decay. An AdamW step moves
a scale by at most about the learning rate, so strength 1 is as strong as the strongest possible pull of the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slimgate.compress.gammas import gamma_sparsity, measure_gammas, prunable_norms
from slimgate.compress.operation import Operation, Setting, Workspace, read_number, read_ratio
from slimgate.compress.recipe import Recipe
from slimgate.compress.training_settings import apply_training, training_settings
from slimgate.flow import Detector, Json


def shrink(values: torch.Tensor, amount: float) -> torch.Tensor:
    """Return the values moved towards zero by an amount, and no further: sign(v) · max(|v| - amount, 0)."""
    return values.sign() * (values.abs() - amount).clamp_min(0.0)


class Sparsity(Recipe):
    """Shrinks the scales of prunable batch norms after every step of the optimizer.

    The strength rises linearly over the first part of the run and is constant after it.

    The averaged weights, which are what is handed over, would hold no zero: an average decays, it does not arrive.
    So where the live scale is exactly zero, the averaged one is shrunk by the same amount; where it is not, the
    average is left alone, as it already follows shrunk values.

    Args:
        strength: of the pull, relative to the learning rate.
        ramp: share of the run over which it rises.
    """

    def __init__(self, *, strength: float, ramp: float) -> None:
        self._strength = strength
        self._ramp = ramp
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._group: Mapping[str, Any] = {}
        self._amount = 0.0

    def begin(self, trainer: Any) -> None:
        """Find the scales, and shrink them after each step, before they enter the average."""
        live, averaged = prunable_norms(trainer.model), prunable_norms(trainer.ema.ema)
        self._pairs = [(live[name].weight, averaged[name].weight) for name in live]
        # The scales share one group: ultralytics puts every norm's weight there.
        wanted = {id(scale) for scale, _ in self._pairs}
        (self._group,) = (
            group
            for group in trainer.optimizer.param_groups
            if wanted & {id(parameter) for parameter in group["params"]}
        )

        def pull(*_: Any) -> None:
            self._amount = self._group["lr"] * self.strength_at(trainer.share_done)
            with torch.no_grad():
                for scale, _average in self._pairs:
                    scale.copy_(shrink(scale, self._amount))

        trainer.optimizer.register_step_post_hook(pull)

    def strength_at(self, share_done: float) -> float:
        """Return the strength after a share of the run, 0..1."""
        return self._strength * (min(share_done / self._ramp, 1.0) if self._ramp else 1.0)

    def after_update(self, trainer: Any) -> None:
        """Let the averaged scales arrive at zero where the live ones have."""
        with torch.no_grad():
            for scale, average in self._pairs:
                average.copy_(torch.where(scale == 0, shrink(average, self._amount), average))

    def row(self, module: nn.Module) -> dict[str, float]:
        """Return the shares of small scales and three quantiles."""
        found = measure_gammas(module)
        return {
            "gamma_share_under_0.001_max": found.share_under_thousandth,
            "gamma_share_under_0.01": found.share_under_hundredth,
            "gamma_share_zero": found.share_zero,
            **{f"gamma_{name}": value for name, value in found.quantiles.items()},
        }

    def notes(self, module: nn.Module) -> dict[str, Json]:
        """Return the histogram after the training."""
        return {"gammas_after": measure_gammas(module).to_json()}


def sparsify(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector after sparsity training.

    Args:
        detector: of the ultralytics family; it stays as it is.
        settings: ``strength``, ``ramp`` and those of every training, checked.
        workspace: the operation's own.

    Raises:
        InputError: the detector is of the legacy family, or the data does not fit it.
        UsageError: there is no folder to train in, or it belongs to another run.
    """
    recipe = Sparsity(strength=settings["strength"], ramp=settings["ramp"])
    before = gamma_sparsity(detector).to_json()
    return apply_training(
        "sparsify", detector, settings, workspace, [recipe], notes={"gammas_before": before}
    )


OPERATION = Operation(
    name="sparsify",
    summary="train with a pull of batch norms' scales to zero, so that slim finds what is not needed",
    example="sparsify:0.5",
    positional="strength",
    settings={
        "strength": Setting(
            read=read_number(1e-6, 10), meaning="pull per step, relative to the learning rate: 0.1 to 1"
        ),
        "ramp": Setting(
            read=read_ratio, default=0.3, meaning="share of the run over which the pull rises from 0"
        ),
        # The last epoch: the best ones by accuracy are those that are not sparse yet.
        **training_settings(
            epochs=10, learning_rate=0.001, final_rate=0.1, average=0.999, statistics=640, keep="last"
        ),
    },
    successors=frozenset(
        {"drop-levels", "shallow", "finetune", "recalibrate", "slim", "sparsify", "swap-activation"}
    ),
    apply=sparsify,
)
