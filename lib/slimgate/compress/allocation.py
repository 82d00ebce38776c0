"""Which channels stay: pure arithmetic on importances, no network and no framework.

A width is never rounded down: the kept channels of every group are rounded *up* to the multiple, never above what
there was and never to none. (Torch-Pruning's ``round_to`` floors the count and can reach 0.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.model.channels import ChannelGraph, ChannelGroup


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What every group keeps, whatever its importance.

    Attributes:
        multiple: kept widths are rounded up to it.
        floor: smallest kept share of a group, 0..1.
        head_floor: the same for the layers of the detection head, which starve first: their gammas are small.
        head: names of the head's convolutions.
    """

    multiple: int = 8
    floor: float = 0.125
    head_floor: float = 0.25
    head: frozenset[str] = frozenset()

    def least(self, group: ChannelGroup) -> int:
        """Return the smallest number of channels that the group keeps, before rounding."""
        share = self.head_floor if self.head.intersection(group.layers) else self.floor
        return math.ceil(share * len(group.channels) - 1e-9)


def aligned_up(count: int, multiple: int, most: int) -> int:
    """Return ``count`` rounded up to the multiple, but never above ``most`` and never 0."""
    return min(max(math.ceil(count / multiple), 1) * multiple, most)


def choose_channels(
    graph: ChannelGraph, scores: Mapping[int, float], ratio: float, *, scope: str, limits: Limits
) -> frozenset[int]:
    """Return the channels that stay.

    Args:
        graph: the network's channels.
        scores: importance of every channel that may be removed.
        ratio: share of the removable channels to remove, 0..1: of each group (scope ``layer``) or of all together
            (``global``). Floors and rounding up keep more.
        scope: ``layer`` or ``global``.
        limits: what each group keeps.

    Raises:
        UsageError: a group would keep nothing and no floor says otherwise.
    """
    return _keep(graph, scores, _wanted(graph.free, scores, ratio, scope), limits)


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """What went by a ratio, and how many groups kept more than it asked of them.

    Attributes:
        removable: channels there are in groups that may be made narrower.
        reached: channels that went.
        floor: groups that keep more than was asked because of their floor.
        multiple: further groups whose width was rounded up.
        groups: how many groups may be made narrower.
    """

    removable: int
    reached: int
    floor: int
    multiple: int
    groups: int


def held_back(
    graph: ChannelGraph, scores: Mapping[int, float], ratio: float, *, scope: str, limits: Limits
) -> HeldBack:
    """Return what ``choose_channels`` with these arguments does not remove, and why."""
    wanted = _wanted(graph.free, scores, ratio, scope)
    widths = {group: _width(group, count, limits) for group, count in wanted.items()}
    at_floor = {group for group, count in wanted.items() if count < limits.least(group)}
    rounded = {group for group in wanted if widths[group] > max(wanted[group], limits.least(group))}
    return HeldBack(
        removable=sum(len(group.channels) for group in wanted),
        reached=sum(len(group.channels) - width for group, width in widths.items()),
        floor=len(at_floor),
        multiple=len(rounded - at_floor),
        groups=len(wanted),
    )


def refuse_unreachable(graph: ChannelGraph, ratio: float, limits: Limits) -> None:
    """Refuse a ratio that floors and multiple do not allow, whatever the importances are.

    Raises:
        UsageError: more channels would have to go than may; the message says how many may.
    """
    total = sum(len(group.channels) for group in graph.free)
    most = total - sum(_width(group, 0, limits) for group in graph.free)
    if math.floor(ratio * total + 1e-9) > most:
        share = math.floor(1e4 * most / total) / 1e4
        raise UsageError(
            f"ratio {ratio:g}",
            found=f"floors and the multiple of {limits.multiple} let at most {share:g} of the channels go",
            expected=f"a ratio of {share:g} or less",
            action="lower the ratio, lower floor and head_floor, use a smaller multiple, or say capped=accept to take "
            "off as much as they allow",
        )


def choose_by_target(
    graph: ChannelGraph,
    scores: Mapping[int, float],
    *,
    scope: str,
    limits: Limits,
    cost: Callable[[frozenset[int]], float],
    target: float,
    steps: int,
    name: str,
) -> tuple[frozenset[int], float]:
    """Return the channels that stay, and the ratio, when as few are removed as bring the cost to the target.

    Args:
        graph: the network's channels.
        scores: importance of every channel that may be removed.
        scope: ``layer`` or ``global``.
        limits: what each group keeps.
        cost: of the network with these channels; falls as channels go.
        target: largest cost that is good enough.
        steps: resolution: ratios are multiples of ``1 / steps``.
        name: of the cost, with its unit, for messages.

    Raises:
        UsageError: even the smallest network that the limits allow costs more.
    """
    # Every layer keeps a channel here: how many go is this function's choice, not the caller's.
    least_one = dataclasses.replace(
        limits, floor=max(limits.floor, 1e-6), head_floor=max(limits.head_floor, 1e-6)
    )

    def at(step: int) -> frozenset[int]:
        return choose_channels(graph, scores, step / steps, scope=scope, limits=least_one)

    low, high = 0, steps
    if cost(at(0)) <= target:
        return at(0), 0.0
    least = cost(at(high))
    if least > target:
        raise UsageError(
            f"target of {target:.4g} {name}",
            found=f"the smallest network that the floors and the multiple of {limits.multiple} allow has {least:.4g}",
            expected=f"a target of {least:.4g} or more",
            action="raise the target, lower floor and head_floor, or use a smaller multiple",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(at(middle)) <= target else (middle, high)
    return at(high), high / steps


def refuse_narrow(groups: Sequence[ChannelGroup], multiple: int) -> None:
    """Refuse a multiple that some layers are narrower than: they could only be left whole.

    Raises:
        InputError: a group has fewer channels than the multiple.
    """
    narrow = [
        f"{group.layers[0]} ({len(group.channels)})" for group in groups if len(group.channels) < multiple
    ]
    if narrow:
        widest = max(2 ** int(math.log2(min(len(group.channels) for group in groups))), 1)
        raise InputError(
            f"multiple {multiple}",
            found=f"larger than the width of {name_offenders(narrow)}",
            expected=f"a multiple that every layer reaches: {widest} here",
            action=f"use multiple={widest}, or narrow=keep to leave these layers as they are and list them",
        )


def _wanted(
    groups: Sequence[ChannelGroup], scores: Mapping[int, float], ratio: float, scope: str
) -> dict[ChannelGroup, int]:
    """Return how many channels of each group a ratio leaves, before floors and rounding."""
    if scope == "layer":
        return {
            group: len(group.channels) - math.floor(ratio * len(group.channels) + 1e-9) for group in groups
        }
    total = sum(len(group.channels) for group in groups)
    return _global_counts(groups, scores, math.floor(ratio * total + 1e-9))


def _width(group: ChannelGroup, count: int, limits: Limits) -> int:
    """Return the width of a group of which so many channels would stay, after floors and rounding."""
    return aligned_up(max(count, limits.least(group)), limits.multiple, len(group.channels))


def _global_counts(
    groups: Sequence[ChannelGroup], scores: Mapping[int, float], removed: int
) -> dict[ChannelGroup, int]:
    ranked = sorted((scores[channel], channel) for group in groups for channel in group.channels)
    gone = {channel for _, channel in ranked[:removed]}
    return {group: sum(channel not in gone for channel in group.channels) for group in groups}


def _keep(
    graph: ChannelGraph, scores: Mapping[int, float], wanted: Mapping[ChannelGroup, int], limits: Limits
) -> frozenset[int]:
    empty = [group.layers[0] for group, count in wanted.items() if max(count, limits.least(group)) < 1]
    if empty:
        raise UsageError(
            f"{len(empty)} layers",
            found=f"nothing would be left of {name_offenders(empty)}",
            expected="at least one channel in every layer",
            action="lower the ratio, or set a floor such as floor=0.125",
        )
    kept = {channel for group in graph.groups if group.fixed for channel in group.channels}
    for group, count in wanted.items():
        width = _width(group, count, limits)
        best = sorted(group.channels, key=lambda channel: (-scores[channel], channel))
        kept.update(best[:width])
    return frozenset(kept)
