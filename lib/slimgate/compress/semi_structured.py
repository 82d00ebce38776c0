"""2:4 semi-structured pruning: of every four weights along the input channels, two become zero.

Sparse tensor cores skip such zeros (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks",
arXiv:2104.08378, section 3); a file or a dense runtime is neither smaller nor faster for them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_choice
from slimgate.compress.prune import prunable_weights, refuse_not_finite
from slimgate.errors import InputError
from slimgate.flow import Detector, Json, Step
from slimgate.model.head import output_convolutions
from slimgate.model.load import replace_module

GROUP = 4
"""Weights that are looked at together: consecutive input channels of one output channel and kernel position."""

KEPT = 2
"""How many of them may differ from zero."""


def two_of_four_mask(weight: torch.Tensor) -> torch.Tensor:
    """Return a boolean mask, shaped like the weight, that is true for the two largest magnitudes of every four.

    The four are consecutive along dimension 1. Among equal magnitudes the first go first, as in ``kept_mask``.

    Args:
        weight: finite, ``(out, in, ...)`` with ``in`` a multiple of 4.
    """
    last = weight.detach().movedim(1, -1)
    groups = last.abs().reshape(*last.shape[:-1], -1, GROUP)
    smallest = groups.argsort(dim=-1, stable=True)[..., : GROUP - KEPT]
    mask = torch.ones_like(groups, dtype=torch.bool).scatter(-1, smallest, value=False)
    return mask.reshape(last.shape).movedim(-1, 1)


def prune_semi_structured(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with 2:4 sparse weights; the one given stays as it is.

    Layers that sparse kernels do not take are left as they are, each with its reason in the step's notes.

    Args:
        detector: what to prune.
        settings: ``head``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: a weight is not finite, or no layer can be pruned.
    """
    module = copy.deepcopy(detector.module)
    weights = prunable_weights(module)
    refuse_not_finite(detector.name, weights)
    heads = {id(layer) for layer in output_convolutions(module)} if settings["head"] == "dense" else set()
    left: dict[str, Json] = {}
    pruned: dict[str, Json] = {}
    for name, weight in weights.items():
        layer = module.get_submodule(name)
        reason = "an output of the head" if id(layer) in heads else why_not_sparse(layer)
        if reason:
            left[name] = reason
            continue
        with torch.no_grad():
            weight.masked_fill_(~two_of_four_mask(weight), 0.0)
        pruned[name] = {"weights": weight.numel(), "nonzero": int(torch.count_nonzero(weight))}
    if not pruned:
        raise InputError(
            f"2:4 pruning of {detector.name}",
            found="no layer whose input channels are a multiple of 4",
            expected="at least one ungrouped convolution with such inputs",
            action="align the detector to 8 first, or prune it without a pattern (prune:RATIO)",
        )
    notes: dict[str, Json] = {"layers": pruned, "left": left}
    return replace_module(detector, module, Step(operation="prune24", settings=dict(settings), notes=notes))


def why_not_sparse(layer: nn.Module) -> str:
    """Return why sparse kernels do not take a layer, or an empty string when they do.

    TensorRT's are for convolutions and matrix products, not for grouped (NVIDIA/TensorRT issue 4054) or transposed
    convolutions.
    """
    if isinstance(layer, nn.ConvTranspose2d):
        return "a transposed convolution"
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return f"{layer.groups} groups"
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return f"{weight.shape[1]} input channels" if weight.shape[1] % GROUP else ""


OPERATION = Operation(
    name="prune24",
    summary="set two of every four weights along the input channels to zero (2:4 semi-structured pruning)",
    example="prune24:dense",
    positional="head",
    settings={
        "head": Setting(
            read=read_choice("dense", "sparse"),
            default="dense",
            meaning="leave the head's output convolutions as they are (dense), or prune them too (sparse)",
        ),
    },
    successors=frozenset({"finetune", "prune", "prune24"}),
    apply=prune_semi_structured,
)
