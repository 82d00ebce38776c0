"""Where a detector's head begins, found by its structure."""

from __future__ import annotations

from typing import Any

from torch import nn

from slimgate.flow import Detector
from slimgate.model.anchor_head import AnchorHead
from slimgate.model.ultralytics_env import DFL, Detect


def head_of(module: nn.Module) -> nn.Module:
    """Return the one head in a detector's module.

    Raises:
        TypeError: there is none, or more than one.
    """
    heads = [layer for layer in module.modules() if isinstance(layer, (AnchorHead, Detect))]
    if len(heads) != 1:
        raise TypeError(f"{type(module).__name__} has {len(heads)} detection heads, not one")
    return heads[0]


def strides_of(module: nn.Module) -> tuple[int, ...]:
    """Return pixels per cell of each level that the head reads."""
    head = head_of(module)
    head_strides: Any = head.strides if isinstance(head, AnchorHead) else head.stride
    return tuple(int(stride) for stride in head_strides)


def output_convolutions(module: nn.Module) -> tuple[nn.Conv2d, ...]:
    """Return the head's output convolutions that have weights of their own."""
    head = head_of(module)
    if isinstance(head, AnchorHead):
        return tuple(head.m)  # type: ignore[arg-type]
    return tuple(branch[-1] for branches in (head.cv2, head.cv3) for branch in branches)  # type: ignore[union-attr]


def head_convolutions(detector: Detector) -> tuple[str, ...]:
    """Return the module names of the head's last convolutions: boxes, classes, objectness, DFL.

    Legacy heads have one per level; ultralytics heads one for the boxes and one for the classes per level,
    and the fixed convolution of the DFL where there is one.
    """
    module = detector.module
    names = {id(layer): name for name, layer in module.named_modules()}
    outputs = tuple(names[id(layer)] for layer in output_convolutions(module))
    return outputs + tuple(sorted(fixed_convolutions(module)))


def fixed_convolutions(module: nn.Module) -> frozenset[str]:
    """Return the names of convolutions that hold constants, not weights.

    The DFL's is the list 0, 1, 2, ... that turns a distribution into its mean: changing it moves every box.
    """
    return frozenset(
        f"{name}.conv" if name else "conv" for name, layer in module.named_modules() if isinstance(layer, DFL)
    )
