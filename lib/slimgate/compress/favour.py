"""Parts of a network that should keep more of their channels, or fewer, than their importance alone would give."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from slimgate.errors import UsageError, name_offenders
from slimgate.flow import Detector, Json
from slimgate.model.channels import ChannelGraph
from slimgate.model.head import head_of

HEAD = "head"
"""The detection head, at whatever stride."""


def read_favour(subject: str, value: Json) -> str | None:
    """Return factors by part as text such as ``4:0.5/16:2/head:1.5``, or None where there are none.

    Raises:
        UsageError: it is not such a text.
    """
    if value is None:
        return None
    try:
        factors = factors_from_text(str(value))
    except ValueError:
        factors = {}
    if not factors or not all(1e-6 <= factor <= 1e6 for factor in factors.values()):
        raise UsageError(
            f"{subject} '{value}'",
            found="not factors by part",
            expected="parts (a stride, or head) with a positive factor each, separated by /",
            action="write them like 4:0.5/16:2/head:1.5",
        )
    return text_from_factors(factors)


def factors_from_text(text: str) -> dict[str, float]:
    """Return the factor of each part.

    Raises:
        ValueError: it is not written as ``text_from_factors`` writes it, or a part is there twice.
    """
    factors: dict[str, float] = {}
    for pair in text.split("/"):
        part, _, factor = pair.strip().partition(":")
        if part in factors or not (part == HEAD or part.isdigit()):
            raise ValueError(pair)
        factors[part] = float(factor)
    return factors


def text_from_factors(factors: Mapping[str, float]) -> str:
    """Return factors by part as text."""
    return "/".join(f"{part}:{factor:.6g}" for part, factor in factors.items())


def channel_parts(detector: Detector, graph: ChannelGraph) -> dict[int, str]:
    """Return the part of every channel that may be removed: ``head``, or the stride of a layer that makes it."""
    strides = _layer_strides(detector, graph)
    head = {id(layer) for layer in head_of(detector.module).modules()}
    layers = dict(detector.module.named_modules())
    parts = {}
    for group in graph.free:
        in_head = any(id(layers[name]) in head for name in group.layers)
        part = HEAD if in_head else str(strides[group.layers[0]])
        parts.update(dict.fromkeys(group.channels, part))
    return parts


def favoured(
    scores: Mapping[int, float], detector: Detector, graph: ChannelGraph, text: str
) -> dict[int, float]:
    """Return the scores times the factors of their parts.

    Raises:
        UsageError: the network has no such part.
    """
    factors, parts = factors_from_text(text), channel_parts(detector, graph)
    known = sorted(set(parts.values()), key=lambda part: (part == HEAD, len(part), part))
    strange = [part for part in factors if part not in known]
    if strange:
        raise UsageError(
            f"favour of {detector.name}",
            found=f"no part {name_offenders(strange)}",
            expected=f"parts among {', '.join(known)}",
            action="name strides that the network has, or head",
        )
    return {channel: score * factors.get(parts[channel], 1.0) for channel, score in scores.items()}


def _layer_strides(detector: Detector, graph: ChannelGraph) -> dict[str, int]:
    """Return pixels per cell of what each convolution makes."""
    side = 2 * detector.stride
    strides: dict[str, int] = {}
    handles = [
        detector.module.get_submodule(name).register_forward_hook(
            lambda _layer, _given, made, name=name: strides.__setitem__(name, side // int(made.shape[-1]))
        )
        for name in graph.layers
    ]
    try:
        with torch.no_grad():
            detector.module(next(detector.module.parameters()).new_zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return strides
