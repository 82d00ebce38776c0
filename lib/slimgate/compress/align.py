"""Repairing widths that are not a multiple: channels of exact zeros are added, and the outputs stay.

Kernels compute in lanes of 4 to 32 channels, so an odd width costs what the next multiple costs, or is refused by
an NPU. Structured pruning here never makes one; networks from elsewhere come with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_count
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Json, Step
from slimgate.model.build import build_module
from slimgate.model.channels import ChannelGraph, trace_channels
from slimgate.model.load import replace_module
from slimgate.model.slice import architecture_with_widths

Slots = list[int | None]
"""What stands at each position after padding: where it was before, or None for a channel of zeros."""


def align(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with every free width padded up to the multiple; its outputs do not change.

    An added channel is zero from end to end: its filters, its batch norm's scale and shift and what its consumers
    multiply it by. Every activation here maps 0 to 0.

    Args:
        detector: what to align; it stays as it is.
        settings: ``multiple``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: the network does something unknown to channels, or scatters coupled channels among others.
    """
    multiple = settings["multiple"]
    graph = trace_channels(detector.module, subject=detector.name)
    padding = {
        group.channels[0]: (frozenset(group.channels), -len(group.channels) % multiple)
        for group in graph.free
    }
    slots = {name: _padded(layer.outputs, padding) for name, layer in graph.layers.items()}
    _refuse_scattered(detector, graph, padding, slots)
    before = graph.widths(graph.all_channels())
    padded = {
        name: f"{before[name]} to {len(row)}" for name, row in slots.items() if len(row) != before[name]
    }
    architecture = architecture_with_widths(
        detector.architecture, {name: len(row) for name, row in slots.items() if name in graph.choosable}
    )
    with torch.random.fork_rng(devices=[]):
        module = build_module(
            architecture,
            family=detector.family,
            class_count=len(detector.class_names),
            subject=f"{detector.name}, aligned",
        )
    module.load_state_dict(_padded_tensors(detector.module, graph, padding))
    notes: dict[str, Json] = {"padded": padded, "exempt": graph.exempt}
    step = Step(operation="align", settings=dict(settings), notes=notes)
    return dataclasses.replace(replace_module(detector, module, step), architecture=architecture)


def _padded(channels: Sequence[int], padding: Mapping[int, tuple[frozenset[int], int]]) -> Slots:
    """Return the positions of a row of channels, with the zeros of each group after each of its runs."""
    slots: Slots = []
    members, extra, left = frozenset[int](), 0, set[int]()
    for position, channel in enumerate(channels):
        if channel not in left:
            slots.extend([None] * extra)
            members, extra = padding.get(channel, (frozenset({channel}), 0))
            left = set(members)
        left.discard(channel)
        slots.append(position)
    slots.extend([None] * extra)
    return slots


def _refuse_scattered(
    detector: Detector,
    graph: ChannelGraph,
    padding: Mapping[int, tuple[frozenset[int], int]],
    slots: Mapping[str, Slots],
) -> None:
    extras = {channel: extra for members, extra in padding.values() for channel in members}
    sizes = {channel: len(members) for members, _ in padding.values() for channel in members}
    bad = []
    for name, layer in graph.layers.items():
        expected = sum(extras[c] / sizes[c] for c in layer.outputs if c in extras)
        if abs(len(slots[name]) - len(layer.outputs) - expected) > 1e-6:
            bad.append(name)
    if bad:
        raise InputError(
            f"alignment of {detector.name}",
            found=f"coupled channels lie scattered among others in {name_offenders(bad)}",
            expected="the channels of each coupled group side by side",
            action="retrain with widths that are multiples, or leave align out",
        )


def _padded_tensors(
    module: nn.Module, graph: ChannelGraph, padding: Mapping[int, tuple[frozenset[int], int]]
) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def spread(name: str, channels: Sequence[int] | None, dim: int | None, fill: float = 0.0) -> None:
        tensor = tensors.get(name)
        if tensor is None or channels is None or dim is None:
            return
        slots = _padded(channels, padding)
        shape = [*tensor.shape]
        shape[dim] = len(slots)
        wide = torch.full(shape, fill, dtype=tensor.dtype)
        places = torch.tensor([place for place, slot in enumerate(slots) if slot is not None])
        tensors[name] = wide.index_copy(dim, places, tensor)

    for name, layer in graph.layers.items():
        spread(f"{name}.weight", layer.outputs, layer.outputs_at)
        spread(f"{name}.weight", layer.inputs, layer.inputs_at)
        spread(f"{name}.bias", layer.outputs, 0)
    for name, channels in graph.norms.items():
        for part in ("weight", "bias", "running_mean"):
            spread(f"{name}.{part}", channels, 0)
        spread(f"{name}.running_var", channels, 0, fill=1.0)
    return tensors


OPERATION = Operation(
    name="align",
    summary="pad widths up to a multiple with channels of zeros; outputs stay the same",
    example="align:8",
    positional="multiple",
    settings={
        "multiple": Setting(
            read=read_count(1, 1024), default=8, meaning="widths become multiples of it: 8, 4, 16, 32"
        )
    },
    successors=frozenset(
        {"align", "finetune", "prune", "prune24", "recalibrate", "rederive", "swap-activation"}
    ),
    apply=align,
)
