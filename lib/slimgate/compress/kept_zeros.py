"""Training that leaves pruned weights at zero."""

from __future__ import annotations

from typing import Any

import torch

from slimgate.compress.recipe import Recipe
from slimgate.flow import Detector

_PRUNING = ("prune", "prune24")


class KeptZeros(Recipe):
    """Sets weights that unstructured or 2:4 pruning zeroed back to zero after every step of the optimizer.

    Only in layers that a pruning step of the lineage names: a zero elsewhere (in a transposed convolution made from
    nearest-neighbour upsampling, in a padded channel) is free to move.

    Args:
        detector: what the training starts from.
    """

    def __init__(self, detector: Detector) -> None:
        pruned = {
            name
            for step in detector.lineage
            if step.operation in _PRUNING
            for name in step.notes.get("layers", {})
        }
        self._masks = {
            name: layer.weight.detach() != 0
            for name, layer in detector.module.named_modules()
            if name in pruned
        }

    def begin(self, trainer: Any) -> None:
        """Mask after each step, before the weights enter the average."""
        layers = dict(trainer.model.named_modules())
        pairs = [(layers[name].weight, mask) for name, mask in self._masks.items()]

        def mask_weights(*_: Any) -> None:
            with torch.no_grad():
                for weight, mask in pairs:
                    weight.mul_(mask)

        trainer.optimizer.register_step_post_hook(mask_weights)
