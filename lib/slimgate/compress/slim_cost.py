"""What a network that keeps given channels would cost: arithmetic, parameters, measured time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from slimgate.compress.operation import Workspace
from slimgate.errors import UsageError
from slimgate.flow import Detector
from slimgate.model.channels import ChannelGraph, LayerChannels
from slimgate.model.count import count_macs
from slimgate.model.slice import slice_detector


def macs_cost(detector: Detector, graph: ChannelGraph) -> Callable[[frozenset[int]], float]:
    """Return the multiply-accumulates of the network that keeps given channels, by proportion of each layer."""
    whole = count_macs(detector)

    def cost(kept: frozenset[int]) -> float:
        total = 0.0
        for name, macs in whole.items():
            layer = graph.layers.get(name)
            if layer is None:
                total += macs
                continue
            share = _kept_share(layer, kept)
            total += macs * share
        return total

    return cost


def parameter_cost(detector: Detector, graph: ChannelGraph) -> Callable[[frozenset[int]], float]:
    """Return the parameters of the network that keeps given channels."""
    layers: dict[str, Any] = dict(detector.module.named_modules())
    counted = {f"{name}.{part}" for name in (*graph.layers, *graph.norms) for part in ("weight", "bias")}
    rest = sum(p.numel() for name, p in detector.module.named_parameters() if name not in counted)

    def cost(kept: frozenset[int]) -> float:
        total = float(rest)
        for name, layer in graph.layers.items():
            total += layers[name].weight.numel() * _kept_share(layer, kept)
            total += 0 if layers[name].bias is None else sum(c in kept for c in layer.outputs)
        return total + sum(2 * sum(c in kept for c in channels) for channels in graph.norms.values())

    return cost


def _kept_share(layer: LayerChannels, kept: frozenset[int]) -> float:
    """Return the share of a layer's weight, and so of its arithmetic, that kept channels leave."""
    share = sum(c in kept for c in layer.outputs) / len(layer.outputs)
    if layer.inputs is not None and layer.inputs_at is not None:
        share *= sum(c in kept for c in layer.inputs) / len(layer.inputs)
    return share


def latency_cost(
    detector: Detector,
    graph: ChannelGraph,
    runtime: str,
    workspace: Workspace,
    measured: dict[str, float],
) -> Callable[[frozenset[int]], float]:
    """Return the latency ratio of the network that keeps given channels; each is measured once."""
    latency = workspace.latency
    if latency is None:
        raise UsageError(
            "slim by latency",
            found="nothing to measure it with",
            expected="a workspace that can time detectors",
            action="use slimgate compress or a study, or pass Workspace(latency=...)",
        )

    def cost(kept: frozenset[int]) -> float:
        key = str(sorted(kept))
        if key not in measured:
            architecture, module = slice_detector(detector, graph, kept)
            other = dataclasses.replace(detector, module=module, architecture=architecture)
            measured[key] = latency(detector, other, runtime)
        return measured[key]

    return cost
