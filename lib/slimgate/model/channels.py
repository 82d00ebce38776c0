"""Which channels of a network live and die together, found by running it once with labelled channels.

Every convolution gives its output channels new labels. Concatenation, slicing by channel, pooling, upsampling,
batch norm, activations and depthwise convolutions carry labels on; an addition makes the labels of its two sides
one (a union-find over channels, not over layers). What is left are sets of channels that can only be removed
together, whatever blocks the network is made of. Nothing is matched by a layer's name.

Grouping follows DepGraph (Fang et al. 2023, arXiv:2301.12900), at the level of single channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from slimgate.model.trace import Trace
from slimgate.model.tracer import run_labelled

Kind = Literal["conv", "deconv", "depthwise", "grouped"]


@dataclass(frozen=True, kw_only=True)
class LayerChannels:
    """The channels of one convolution.

    Attributes:
        name: module name.
        kind: ``conv``, ``deconv`` (transposed), ``depthwise`` (outputs are its inputs) or ``grouped`` (each output
            sees a part of the inputs; all of its channels are fixed).
        inputs: channel ids, or None where what arrives has lost its channels' identity.
        outputs: channel ids; an id stands twice where two outputs can only be removed together.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...] | None
    outputs: tuple[int, ...]

    @property
    def outputs_at(self) -> int | None:
        """Dimension of its weight that runs over ``outputs``, or None when none does."""
        return {"conv": 0, "deconv": 1, "depthwise": 0, "grouped": None}[self.kind]

    @property
    def inputs_at(self) -> int | None:
        """Dimension of its weight that runs over ``inputs``, or None when none does or they are not known."""
        return None if self.inputs is None else {"conv": 1, "deconv": 0}.get(self.kind)


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels that the same layers produce: one width to choose, for all of those layers at once.

    Attributes:
        layers: names of the convolutions whose outputs these channels are.
        channels: ids, in the order of the first of those layers.
        fixed: why none of them may be removed; empty when they may.
    """

    layers: tuple[str, ...]
    channels: tuple[int, ...]
    fixed: str = ""


@dataclass(frozen=True, kw_only=True)
class ChannelGraph:
    """The channels of a whole network.

    Attributes:
        layers: every convolution that runs, by module name, in order of execution.
        norms: channel ids of every batch norm, by module name.
        groups: every channel is in exactly one; those that no convolution makes (the image's) are in one without
            layers.
    """

    layers: Mapping[str, LayerChannels]
    norms: Mapping[str, tuple[int, ...]]
    groups: tuple[ChannelGroup, ...]

    @property
    def free(self) -> tuple[ChannelGroup, ...]:
        """The groups from which channels may be removed."""
        return tuple(group for group in self.groups if not group.fixed)

    @property
    def choosable(self) -> frozenset[str]:
        """Convolutions whose width an architecture may choose: some of their outputs are free, and made by them."""
        return frozenset(
            name for group in self.free for name in group.layers if self.layers[name].kind != "depthwise"
        )

    @property
    def exempt(self) -> dict[str, str]:
        """Convolutions all of whose outputs are fixed, with the reason."""
        reasons: dict[str, str] = {}
        loose = {layer for group in self.free for layer in group.layers}
        for group in self.groups:
            for layer in group.layers:
                if group.fixed and layer not in loose:
                    reasons.setdefault(layer, group.fixed)
        return reasons

    def widths(self, kept: frozenset[int]) -> dict[str, int]:
        """Return the output channels of every convolution when only the channels in ``kept`` stay."""
        return {
            name: sum(channel in kept for channel in layer.outputs) for name, layer in self.layers.items()
        }

    def all_channels(self) -> frozenset[int]:
        """Return every channel id there is."""
        return frozenset(channel for group in self.groups for channel in group.channels)


def trace_channels(module: nn.Module, *, subject: str = "network") -> ChannelGraph:
    """Return the channel graph of a detector's network; the network itself is left as it was.

    Args:
        module: maps ``(n, 3, s, s)`` to predictions.
        subject: what error messages are about.

    Raises:
        InputError: the network does something to channels that is not known here; the message names the
            module and the function.
    """
    return graph_from_trace(run_labelled(module, subject=subject))


def graph_from_trace(trace: Trace) -> ChannelGraph:
    """Return the channel graph that a finished run left behind."""
    layers = {
        call.name: LayerChannels(
            name=call.name,
            kind=call.kind,
            inputs=None if call.inputs is None else trace.canonical(call.inputs),
            outputs=trace.canonical(call.outputs),
        )
        for call in trace.calls.values()
    }
    norms = {name: trace.canonical(labels) for name, labels in trace.norms.items()}
    return ChannelGraph(layers=layers, norms=norms, groups=_groups(list(layers.values()), trace.fixed()))


def _groups(layers: Sequence[LayerChannels], fixed: Mapping[int, str]) -> tuple[ChannelGroup, ...]:
    producers: dict[int, dict[str, None]] = {}
    for layer in layers:
        # A depthwise convolution passes on what it gets: it has that width, but does not choose it.
        for channel in layer.outputs:
            producers.setdefault(channel, {})[layer.name] = None
        for channel in layer.inputs or ():
            producers.setdefault(channel, {})
    sets: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for channel, names in producers.items():
        sets.setdefault((tuple(names), fixed.get(channel, "")), []).append(channel)
    return tuple(
        ChannelGroup(layers=names, channels=tuple(channels), fixed=reason)
        for (names, reason), channels in sets.items()
    )
