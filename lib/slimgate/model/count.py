"""How many parameters and how much arithmetic a detector has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from slimgate.flow import Detector

WEIGHTED_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""The layers whose multiply-accumulates are counted."""


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Parameters of a network; buffers (batch-norm statistics, anchors) are not parameters.

    Attributes:
        total: all of them.
        nonzero: those that are not exactly zero.
    """

    total: int
    nonzero: int


def count_parameters(module: nn.Module) -> ParameterCount:
    """Return how many parameters a module has, and how many are not exactly zero."""
    parameters = list(module.parameters())
    return ParameterCount(
        total=sum(p.numel() for p in parameters),
        nonzero=sum(int(torch.count_nonzero(p)) for p in parameters),
    )


def count_flops(detector: Detector) -> int:
    """Return the FLOPs of one image: twice the multiply-accumulates of all convolutions and linear layers.

    Counted by running the network once at the detector's image size with batch 1. Zeroed weights count: dense
    runtimes multiply by them. Batch norms, activations and the decode do not count.
    """
    return 2 * sum(count_macs(detector).values())


def count_macs(detector: Detector) -> dict[str, int]:
    """Return the multiply-accumulates of one image per weighted layer, by module name, in order of execution.

    A transposed convolution multiplies each input position by its whole kernel, so its input positions count:
    counting output positions would be stride² too many.
    """
    module, size = detector.module, detector.image_size
    macs: dict[str, int] = {}
    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, WEIGHTED_LAYERS):

            def record(
                layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor, name: str = name
            ) -> None:
                macs[name] = macs.get(name, 0) + _layer_macs(layer, inputs[0], output)

            handles.append(layer.register_forward_hook(record))
    parameter = next(module.parameters())
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    return macs


def _layer_macs(layer: nn.Module, taken: torch.Tensor, given: torch.Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return given.numel() * layer.in_features
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    kernel = math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):
        return taken.numel() * layer.out_channels // layer.groups * kernel
    return given.numel() * layer.in_channels // layer.groups * kernel
