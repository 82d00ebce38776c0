"""Unstructured magnitude pruning: the smallest weights become zero.

Zeros neither shrink a dense file nor speed it up; they show in the non-zero count and in the compressed size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_choice, read_ratio
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Json, Step
from slimgate.model.count import WEIGHTED_LAYERS
from slimgate.model.head import fixed_convolutions
from slimgate.model.load import replace_module


def prunable_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that pruning may zero, by module name: of Conv2d, ConvTranspose2d and Linear.

    The head's output convolutions are among them, as in YOLOv5's ``prune(model, amount)``. Left out are

    - biases and batch norms: few parameters, and each scales or shifts a whole channel;
    - the DFL's convolution: the constants 0, 1, 2, ..., whose loss moves every box.
    """
    fixed = fixed_convolutions(module)
    return {
        name: layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, WEIGHTED_LAYERS) and name not in fixed
    }


def kept_mask(weight: torch.Tensor, ratio: float) -> torch.Tensor:
    """Return a boolean mask, shaped like the weight, that is false for its smallest magnitudes.

    Exactly ``round(ratio · n)`` entries are false, as in ``torch.nn.utils.prune`` (which rounds halves to even).
    Among equal magnitudes the first in memory order go first, so equal input gives equal output everywhere.

    Args:
        weight: finite, any shape.
        ratio: share to drop, 0..1.
    """
    count = round(ratio * weight.numel())
    order = weight.detach().abs().flatten().argsort(stable=True)
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[order[:count]] = False
    return mask.view(weight.shape)


def prune(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with its smallest weights set to zero; the one given stays as it is.

    Magnitude pruning as in Han et al. 2015 (arXiv:1506.02626), without retraining. Scope ``layer`` takes the
    ratio of each layer's weight, exactly as YOLOv5's ``prune(model, amount)`` does with
    ``torch.nn.utils.prune.l1_unstructured``; ``global`` takes it of all weights together.

    Args:
        detector: what to prune.
        settings: ``ratio`` 0..1 and ``scope``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: a weight is not finite.
    """
    ratio, scope = settings["ratio"], settings["scope"]
    module = copy.deepcopy(detector.module)
    weights = prunable_weights(module)
    refuse_not_finite(detector.name, weights)
    with torch.no_grad():
        if scope == "layer":
            masks = {name: kept_mask(weight, ratio) for name, weight in weights.items()}
        else:
            together = kept_mask(torch.cat([weight.flatten() for weight in weights.values()]), ratio)
            parts = torch.split(together, [weight.numel() for weight in weights.values()])
            masks = {
                name: part.view(weight.shape)
                for (name, weight), part in zip(weights.items(), parts, strict=True)
            }
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name], 0.0)
    notes = _notes(weights, fixed_convolutions(module))
    return replace_module(detector, module, Step(operation="prune", settings=dict(settings), notes=notes))


def refuse_not_finite(name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Check that every weight has a magnitude to rank by.

    Raises:
        InputError: some are NaN or infinite; the message names the layers.
    """
    bad = [
        f"{layer}.weight ({int((~torch.isfinite(weight)).sum())} of {weight.numel()})"
        for layer, weight in weights.items()
        if not torch.isfinite(weight).all()
    ]
    if bad:
        raise InputError(
            f"weights of {name}",
            found=f"NaN or infinite values in {name_offenders(bad)}",
            expected="finite weights: others have no magnitude to rank by",
            action="use a checkpoint from before the training diverged",
        )


def _notes(weights: Mapping[str, torch.Tensor], excluded: frozenset[str]) -> dict[str, Json]:
    kept = {name: int(torch.count_nonzero(weight)) for name, weight in weights.items()}
    total, nonzero = sum(weight.numel() for weight in weights.values()), sum(kept.values())
    return {
        "weights": total,
        "nonzero": nonzero,
        "sparsity": 1 - nonzero / total,
        "excluded": sorted(excluded),
        "layers": {
            name: {
                "weights": weight.numel(),
                "nonzero": kept[name],
                "sparsity": 1 - kept[name] / weight.numel(),
            }
            for name, weight in weights.items()
        },
    }


OPERATION = Operation(
    name="prune",
    summary="set the smallest weights to zero (unstructured magnitude pruning)",
    example="prune:0.3",
    positional="ratio",
    settings={
        "ratio": Setting(read=read_ratio, meaning="share of the weights to zero, 0 to 1"),
        "scope": Setting(
            read=read_choice("global", "layer"),
            default="global",
            meaning="rank all weights together (global), or each layer's own (layer)",
        ),
    },
    successors=frozenset({"finetune", "prune", "prune24"}),
    apply=prune,
)
