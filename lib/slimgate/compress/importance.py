"""How much each channel of a network matters: one number per channel, from several measures.

A channel belongs to every layer that produces it (a shortcut makes several layers produce the same one); its
importance is the mean over them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from slimgate.errors import InputError
from slimgate.model.channels import ChannelGraph, LayerChannels

Scores = dict[int, float]
"""Importance by channel id; higher stays longer."""

IMPORTANCES = ("gamma", "l1", "l2", "fpgm", "random")


def channel_importance(module: nn.Module, graph: ChannelGraph, measure: str, *, seed: int = 0) -> Scores:
    """Return the importance of every channel that may be removed, from the weights alone.

    - ``gamma``: |γ| of the batch norms on the channel (Liu et al. 2017, network slimming, arXiv:1708.06519, section
      3). Channels without a batch norm (a transposed convolution's) take the place that the norm of their consumers'
      weights gives them among the network's gammas.
    - ``l1``, ``l2``: norm of the filters (Li et al. 2017, arXiv:1608.08710), relative to the layer's mean.
    - ``fpgm``: sum of distances to the layer's other filters (He et al. 2019, arXiv:1811.00250, equation 4), relative
      to the layer's mean.
    - ``random``: uniform numbers, as a control.

    Args:
        module: the network that ``graph`` was traced from.
        graph: its channels.
        measure: one of ``IMPORTANCES``.
        seed: of ``random``.

    Raises:
        InputError: a weight is not finite.
    """
    layers = dict(module.named_modules())
    wanted = {channel for group in graph.free for channel in group.channels}
    if measure == "random":
        generator = torch.Generator().manual_seed(seed)
        order = sorted(wanted)
        scores = dict(zip(order, torch.rand(len(order), generator=generator).tolist(), strict=True))
    elif measure == "gamma":
        scores = _gamma_scores(layers, graph, wanted)
    else:
        rows = {
            name: _filter_scores(layers[name], measure)
            for name, layer in graph.layers.items()
            if layer.kind in ("conv", "deconv")
        }
        scores = _mean_scores([(graph.layers[name].outputs, row) for name, row in rows.items()], wanted)
    bad = sum(1 for value in scores.values() if not math.isfinite(value))
    if bad:
        raise InputError(
            f"importance {measure}",
            found=f"NaN or infinite for {bad} of {len(scores)} channels",
            expected="finite weights",
            action="use a checkpoint from before the training diverged",
        )
    return scores


def _gamma_scores(layers: Mapping[str, Any], graph: ChannelGraph, wanted: set[int]) -> Scores:
    rows = [(channels, layers[name].weight.detach().abs().double()) for name, channels in graph.norms.items()]
    scores = _mean_scores(rows, wanted)
    missing = wanted - set(scores)
    if not missing:
        return scores
    # Quantile for quantile: the weakest tenth of these channels is as weak as the weakest tenth of the gammas.
    consumers = _mean_scores([_consumed(layers[n], layer) for n, layer in graph.layers.items()], missing)
    if not scores:
        return consumers
    gammas = torch.tensor(sorted(scores.values()), dtype=torch.float64)
    ranked = sorted(missing, key=lambda channel: (consumers.get(channel, 0.0), channel))
    places = (torch.arange(len(ranked), dtype=torch.float64) + 0.5) / len(ranked)
    for channel, value in zip(ranked, torch.quantile(gammas, places).tolist(), strict=True):
        scores[channel] = value
    return scores


def _consumed(layer: Any, channels: LayerChannels) -> tuple[tuple[int, ...], torch.Tensor]:
    """Return a layer's input channels and the L1 norm of what it multiplies each by, relative to their mean."""
    if channels.inputs is None or channels.inputs_at is None:
        return (), torch.empty(0)
    weight = layer.weight.detach().double()
    return channels.inputs, _relative(weight.abs().movedim(channels.inputs_at, 0).flatten(1).sum(1))


def _filter_scores(layer: Any, measure: str) -> torch.Tensor:
    """Return one number per output channel of a convolution."""
    weight = layer.weight.detach().double()
    turned = isinstance(layer, nn.ConvTranspose2d)
    # A transposed convolution has its outputs in dimension 1.
    filters = (weight.transpose(0, 1) if turned else weight).flatten(1)
    return _relative(_NORMS[measure](filters))


_NORMS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "l1": lambda filters: filters.abs().sum(1),
    "l2": lambda filters: filters.square().sum(1).sqrt(),
    "fpgm": lambda filters: torch.cdist(filters, filters).sum(1),
}


def _relative(values: torch.Tensor) -> torch.Tensor:
    """Return values over their mean: filters of different size compare only inside their layer."""
    return values / values.mean().clamp_min(1e-300)


def _mean_scores(rows: list[tuple[tuple[int, ...], torch.Tensor]], wanted: set[int]) -> Scores:
    found: dict[int, list[float]] = {}
    for channels, values in rows:
        for channel, value in zip(channels, values.tolist(), strict=True):
            if channel in wanted:
                found.setdefault(channel, []).append(value)
    return {channel: sum(values) / len(values) for channel, values in found.items()}
