"""Channels silenced instead of removed: what slimming must agree with."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from slimgate.flow import Detector
from slimgate.model.channels import ChannelGraph


def masked(detector: Detector, graph: ChannelGraph, kept: frozenset[int]) -> Detector:
    """Return the detector with the channels that are not kept silenced instead of removed: the same function.

    Every convolution that produces a removed channel and every batch norm on it gets zeros there.
    """
    module = copy.deepcopy(detector.module)
    layers = dict(module.named_modules())
    for name, layer in graph.layers.items():
        weight: Any = layers[name].weight.data
        bias: Any = layers[name].bias
        for position, channel in enumerate(layer.outputs):
            if channel not in kept:
                (weight[:, position] if layer.kind == "deconv" else weight[position]).zero_()
                if bias is not None:
                    bias.data[position] = 0
    for name, channels in graph.norms.items():
        norm: Any = layers[name]
        for position, channel in enumerate(channels):
            if channel not in kept:
                norm.weight.data[position] = 0
                norm.bias.data[position] = 0
    return dataclasses.replace(detector, module=module)
