"""Folding batch norms into the convolutions before them."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from slimgate.model.ultralytics_env import Conv, ConvTranspose


def fuse_batchnorm(module: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose Conv+BN pairs are one convolution with a bias each.

    The folded batch norm leaves an ``Identity``, so every module keeps its name. Batch norms that do not follow
    one convolution alone (BottleneckCSP, RepConv) stay. Weights become ``w · γ / √(σ² + ε)`` per output channel,
    which is dimension 1 of a transposed convolution's weight.
    """
    fused = copy.deepcopy(module).eval()
    layers: list[Any] = list(fused.modules())
    for layer in layers:
        if isinstance(layer, Conv) and isinstance(getattr(layer, "bn", None), nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.bn)
            layer.bn = nn.Identity()
        elif isinstance(layer, ConvTranspose) and isinstance(getattr(layer, "bn", None), nn.BatchNorm2d):
            layer.conv_transpose = fuse_conv_bn_eval(layer.conv_transpose, layer.bn, transpose=True)
            layer.bn = nn.Identity()
    return fused
