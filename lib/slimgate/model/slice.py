"""The same network with fewer channels: built again from its architecture, with the weights that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from slimgate.flow import Detector, Json
from slimgate.model.build import build_module
from slimgate.model.channels import ChannelGraph


def architecture_with_widths(architecture: Mapping[str, Json], widths: Mapping[str, int]) -> dict[str, Json]:
    """Return the architecture with these output channels in place of what its rows say."""
    return {**architecture, "widths": {**architecture.get("widths", {}), **widths}}


def slice_detector(
    detector: Detector, graph: ChannelGraph, kept: frozenset[int]
) -> tuple[dict[str, Json], nn.Module]:
    """Return the architecture and the network that are left when only the channels in ``kept`` stay.

    Every tensor keeps the entries of the kept channels, in their order: outputs are dimension 0 of a convolution's
    weight and dimension 1 of a transposed one's. Torch's global generator is left as it was.

    Args:
        detector: what to take channels from; it stays as it is.
        graph: traced from its module.
        kept: ids of the channels that stay; the fixed ones must be among them.
    """
    widths = {name: width for name, width in graph.widths(kept).items() if name in graph.choosable}
    architecture = architecture_with_widths(detector.architecture, widths)
    with torch.random.fork_rng(devices=[]):
        module = build_module(
            architecture,
            family=detector.family,
            class_count=len(detector.class_names),
            subject=f"{detector.name}, slim",
        )
    module.load_state_dict(slice_tensors(detector.module.state_dict(), graph, kept))
    return architecture, module


def slice_tensors(
    tensors: Mapping[str, torch.Tensor], graph: ChannelGraph, kept: frozenset[int]
) -> dict[str, torch.Tensor]:
    """Return a state dict with the entries of the kept channels only."""
    sliced = {name: tensor.clone() for name, tensor in tensors.items()}

    def take(name: str, channels: Sequence[int] | None, dim: int | None) -> None:
        if channels is not None and dim is not None and name in sliced:
            index = [position for position, channel in enumerate(channels) if channel in kept]
            sliced[name] = sliced[name].index_select(dim, torch.tensor(index, dtype=torch.long))

    for name, layer in graph.layers.items():
        take(f"{name}.weight", layer.outputs, layer.outputs_at)
        take(f"{name}.weight", layer.inputs, layer.inputs_at)
        take(f"{name}.bias", layer.outputs, 0)
    for name, channels in graph.norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            take(f"{name}.{part}", channels, 0)
    return sliced


def kept_positions(graph: ChannelGraph, kept: frozenset[int]) -> dict[str, str]:
    """Return the positions that stay of every layer that loses some, as text: ``0-3,7,9-12``."""
    texts = {}
    for name, layer in graph.layers.items():
        positions = [position for position, channel in enumerate(layer.outputs) if channel in kept]
        if len(positions) < len(layer.outputs):
            texts[name] = text_from_positions(positions)
    return texts


def text_from_positions(positions: Sequence[int]) -> str:
    """Return increasing whole numbers as text: ``[0, 1, 2, 5]`` is ``0-2,5``."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def positions_from_text(text: str) -> list[int]:
    """Return the numbers that ``text_from_positions`` wrote."""
    pairs = [part.partition("-") for part in text.split(",") if part]
    return [n for first, _, last in pairs for n in range(int(first), int(last or first) + 1)]
