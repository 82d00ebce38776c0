"""Which channels stay: numbers worked out by hand, on graphs that need no network."""

from __future__ import annotations

import pytest
from slimgate.compress.allocation import (
    HeldBack,
    Limits,
    aligned_up,
    choose_by_target,
    choose_channels,
    held_back,
    refuse_narrow,
    refuse_unreachable,
)
from slimgate.errors import InputError, UsageError
from slimgate.model.channels import ChannelGraph, ChannelGroup

A = ChannelGroup(layers=("a",), channels=(0, 1, 2, 3, 4, 5, 6, 7))
B = ChannelGroup(layers=("b", "b2"), channels=(10, 11, 12, 13))
IMAGE = ChannelGroup(layers=(), channels=(20, 21, 22), fixed="channels of the image")
GRAPH = ChannelGraph(layers={}, norms={}, groups=(IMAGE, A, B))
# b's channels are weaker than most of a's; a's last is the weakest of all.
SCORES = {0: 8.0, 1: 7.0, 2: 6.0, 3: 5.0, 4: 4.0, 5: 3.0, 6: 0.9, 7: 0.1, 10: 1.0, 11: 2.0, 12: 0.5, 13: 0.2}
BARE = Limits(multiple=1, floor=0, head_floor=0)


@pytest.mark.parametrize(
    ("count", "multiple", "most", "expected"),
    [
        (0, 8, 64, 8),
        (1, 8, 64, 8),
        (8, 8, 64, 8),
        (9, 8, 64, 16),
        (57, 8, 60, 60),
        (57, 8, 64, 64),
        (3, 4, 2, 2),
        (5, 1, 9, 5),
        (0, 1, 9, 1),
        (17, 16, 48, 32),
        (33, 32, 48, 48),
    ],
)
def test_widths_are_rounded_up_never_above_nor_to_none(
    count: int, multiple: int, most: int, expected: int
) -> None:
    assert aligned_up(count, multiple, most) == expected


def _chosen(ratio: float, scope: str, limits: Limits = BARE) -> list[int]:
    kept = choose_channels(GRAPH, SCORES, ratio, scope=scope, limits=limits)
    assert kept >= {20, 21, 22}, "fixed channels stay"
    return sorted(kept - {20, 21, 22})


def test_all_together_by_hand() -> None:
    # A quarter of 12 channels is 3: the scores 0.1, 0.2 and 0.5 go.
    assert _chosen(0.25, "global") == [0, 1, 2, 3, 4, 5, 6, 10, 11]
    # 0.24 of 12 is 2.88, and a part of a channel does not go.
    assert _chosen(0.24, "global") == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12]


def test_each_layer_by_hand() -> None:
    assert _chosen(0.25, "layer") == [0, 1, 2, 3, 4, 5, 10, 11, 12]
    # 0.3 of 8 is 2.4 and of 4 is 1.2.
    assert _chosen(0.3, "layer") == [0, 1, 2, 3, 4, 5, 10, 11, 12]


def test_a_ratio_is_not_undone_by_binary_fractions() -> None:
    group = ChannelGroup(layers=("x",), channels=tuple(range(10)))
    graph = ChannelGraph(layers={}, norms={}, groups=(group,))
    scores = {channel: float(channel) for channel in group.channels}
    for tenths in range(10):
        kept = choose_channels(graph, scores, 1 - (10 - tenths) / 10, scope="layer", limits=BARE)
        assert len(kept) == 10 - tenths


def test_rounding_up_keeps_the_best_of_what_would_go() -> None:
    # 7 and 2 stay, rounded up to 8 and 4.
    assert _chosen(0.25, "global", Limits(multiple=4, floor=0, head_floor=0)) == sorted(SCORES)
    # 4 and 2 stay of each, rounded up to 6 (above 4, a multiple of 3) and 3: a's 4 and 5, b's 12.
    limits = Limits(multiple=3, floor=0, head_floor=0)
    assert _chosen(0.5, "layer", limits) == [0, 1, 2, 3, 4, 5, 10, 11, 12]


def test_floors_by_hand() -> None:
    # ceil(0.3 · 8) = 3 and ceil(0.3 · 4) = 2.
    assert _chosen(1, "layer", Limits(multiple=1, floor=0.3)) == [0, 1, 2, 10, 11]
    # b's group reaches into the head: ceil(0.75 · 4) = 3.
    limits = Limits(multiple=1, floor=0.25, head_floor=0.75, head=frozenset({"b2"}))
    assert _chosen(1, "layer", limits) == [0, 1, 10, 11, 12]
    assert (limits.least(A), limits.least(B)) == (2, 3)


def test_equal_scores_keep_the_first() -> None:
    assert sorted(choose_channels(GRAPH, dict.fromkeys(SCORES, 1.0), 0.5, scope="layer", limits=BARE)) == [
        *(0, 1, 2, 3, 10, 11),
        *(20, 21, 22),
    ]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_ratio_that_would_empty_layers_names_them(scope: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_channels(GRAPH, SCORES, 1, scope=scope, limits=BARE)
    assert str(caught.value) == (
        "2 layers: nothing would be left of a, b\n"
        "  expected: at least one channel in every layer\n"
        "  what to do: lower the ratio, or set a floor such as floor=0.125"
    )


def _by_target(target: float, limits: Limits = BARE) -> tuple[list[int], float]:
    kept, ratio = choose_by_target(
        GRAPH,
        SCORES,
        scope="global",
        limits=limits,
        cost=lambda kept: float(len(kept - {20, 21, 22})),
        target=target,
        steps=12,
        name="channels",
    )
    return sorted(kept - {20, 21, 22}), ratio


def test_a_target_takes_as_few_as_reach_it() -> None:
    assert _by_target(12) == (sorted(SCORES), 0.0)
    assert _by_target(9) == ([0, 1, 2, 3, 4, 5, 6, 10, 11], 3 / 12)
    assert _by_target(8.5) == ([0, 1, 2, 3, 4, 5, 10, 11], 4 / 12)
    # b's last channel stays even without a floor.
    assert _by_target(3) == ([0, 1, 11], 10 / 12)


def test_a_target_out_of_reach_says_what_can_be_had() -> None:
    with pytest.raises(UsageError) as caught:
        _by_target(5, Limits(multiple=4, floor=0))
    assert str(caught.value) == (
        "target of 5 channels: the smallest network that the floors and the multiple of 4 allow has 8\n"
        "  expected: a target of 8 or more\n"
        "  what to do: raise the target, lower floor and head_floor, or use a smaller multiple"
    )


def test_a_multiple_larger_than_a_layer_is_refused_by_name() -> None:
    with pytest.raises(InputError) as caught:
        refuse_narrow((A, B), 8)
    assert str(caught.value) == (
        "multiple 8: larger than the width of b (4)\n"
        "  expected: a multiple that every layer reaches: 4 here\n"
        "  what to do: use multiple=4, or narrow=keep to leave these layers as they are and list them"
    )
    refuse_narrow((A, B), 4)
    refuse_narrow((A,), 8)


def test_the_suggested_multiple_is_a_power_of_two() -> None:
    groups = [ChannelGroup(layers=("x",), channels=tuple(range(7)))]
    with pytest.raises(InputError, match="use multiple=4,"):
        refuse_narrow(groups, 16)


def test_at_most_ten_narrow_layers_are_named() -> None:
    groups = [ChannelGroup(layers=(f"x{n}",), channels=(n,)) for n in range(12)]
    with pytest.raises(InputError, match=r"x9 \(1\) and 2 more"):
        refuse_narrow(groups, 2)


def test_what_is_held_back_by_hand() -> None:
    # Each layer is to lose 0.75: a keeps 2 of 8 and b 1 of 4, which are their floors.
    held = held_back(
        GRAPH, SCORES, 0.75, scope="layer", limits=Limits(multiple=1, floor=0.25, head_floor=0.375)
    )
    assert held == HeldBack(removable=12, reached=9, floor=0, multiple=0, groups=2)
    # In the head, a keeps 3.
    limits = Limits(multiple=1, floor=0.25, head_floor=0.375, head=frozenset({"a"}))
    held = held_back(GRAPH, SCORES, 0.75, scope="layer", limits=limits)
    assert held == HeldBack(removable=12, reached=8, floor=1, multiple=0, groups=2)
    # Rounded up to 4: a keeps 4 by its floor and the multiple, b all of its 4 by the multiple alone.
    held = held_back(
        GRAPH,
        SCORES,
        0.75,
        scope="layer",
        limits=Limits(multiple=4, floor=0.25, head_floor=0.375, head=limits.head),
    )
    assert held == HeldBack(removable=12, reached=4, floor=1, multiple=1, groups=2)


def test_a_ratio_beyond_floors_and_multiple_says_what_can_be_had() -> None:
    # a keeps 4 of 8 and b all of its 4: 4 of 12 may go.
    limits = Limits(multiple=4, floor=0.125)
    refuse_unreachable(GRAPH, 0.3333, limits)
    refuse_unreachable(GRAPH, 0.4, limits)  # 4.8 channels, and a part of one does not go
    with pytest.raises(UsageError) as caught:
        refuse_unreachable(GRAPH, 0.5, limits)
    assert str(caught.value) == (
        "ratio 0.5: floors and the multiple of 4 let at most 0.3333 of the channels go\n"
        "  expected: a ratio of 0.3333 or less\n"
        "  what to do: lower the ratio, lower floor and head_floor, use a smaller multiple, or say capped=accept to "
        "take off as much as they allow"
    )
