"""What must hold of structured pruning for any network, ratio, importance and multiple."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slimgate.compress import apply_operations
from slimgate.compress.importance import IMPORTANCES
from slimgate.compress.masked import masked
from slimgate.errors import UsageError
from slimgate.flow import Detector, Step
from slimgate.model import count_flops, count_parameters, hash_weights
from slimgate.model.channels import ChannelGraph, trace_channels
from slimgate.model.slice import positions_from_text, slice_detector

from fixtures.specs import NetworkSpec, build_from_spec, specs

torch.set_num_threads(1)
# Each example builds several networks.
_fewer = settings(max_examples=max(settings.default.max_examples // 4, 10))
_few = settings(max_examples=max(settings.default.max_examples // 6, 8))
RATIOS = st.floats(0, 1)
MEASURES = st.sampled_from(IMPORTANCES)
SETTINGS = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["global", "layer"]),
        "importance": MEASURES,
        "multiple": st.sampled_from([1, 2, 3, 4, 8, 16, 32]),
        "floor": st.sampled_from([0.01, 0.125, 0.5]),
        "head_floor": st.sampled_from([0.01, 0.25, 1]),
        "seed": st.integers(0, 9),
        "narrow": st.just("keep"),
        "dense_gammas": st.just("accept"),
        "capped": st.just("accept"),
    }
)

# A convolution of 8 groups with 3 outputs each: its weight does not run over its inputs.
GROUPED = NetworkSpec(widths=(8, 8, 24), down="DWConv")
PLAIN = {
    "scope": "layer",
    "importance": "gamma",
    "multiple": 1,
    "floor": 0.01,
    "head_floor": 0.01,
    "seed": 0,
    "narrow": "keep",
    "dense_gammas": "accept",
    "capped": "accept",
}


def slimmed(detector: Detector, given: dict[str, Any], **more: Any) -> Detector:
    return apply_operations(detector, [Step(operation="slim", settings={**given, **more})])


def kept_channels(graph: ChannelGraph, notes: Any) -> frozenset[int]:
    """Return the channels that a step says it kept; every layer must say the same of each."""
    said: dict[int, set[bool]] = {channel: set() for channel in graph.all_channels()}
    for name, layer in graph.layers.items():
        text = notes["kept"].get(name)
        stay = range(len(layer.outputs)) if text is None else positions_from_text(text)
        for position, channel in enumerate(layer.outputs):
            said[channel].add(position in stay)
    assert all(len(words) <= 1 for words in said.values())
    return frozenset(channel for channel, words in said.items() if words != {False})


def predictions(module: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        return copy.deepcopy(module).double()(images)


@_fewer
@given(specs(), RATIOS, SETTINGS)
@example(spec=GROUPED, ratio=0.25, given=PLAIN)
def test_widths_are_multiples_and_never_more_nor_none(
    spec: NetworkSpec, ratio: float, given: dict[str, Any]
) -> None:
    detector = build_from_spec(spec)
    graph = trace_channels(detector.module)
    after = slimmed(detector, given, ratio=ratio)
    notes, multiple = after.lineage[-1].notes, given["multiple"]
    kept = kept_channels(graph, notes)
    for group in graph.groups:
        left = sum(channel in kept for channel in group.channels)
        if group.fixed:
            assert left == len(group.channels)
        else:
            assert min(multiple, len(group.channels)) <= left <= len(group.channels)
            assert left % multiple == 0 or left == len(group.channels)
    # Rounded up, never down: no more goes than was asked for.
    parts = [graph.free] if given["scope"] == "global" else [(group,) for group in graph.free]
    for part in parts:
        channels = [channel for group in part for channel in group.channels]
        assert sum(channel not in kept for channel in channels) <= ratio * len(channels) + 1e-6
    # Channels that stay are the ones that the weights come from, and what is odd or exempt is said by name.
    widths = {
        name: layer.out_channels
        for name, layer in after.module.named_modules()
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)) and name in graph.layers
    }
    assert widths == graph.widths(kept)
    assert notes["exempt"] == graph.exempt
    odd = {name: width for name, width in widths.items() if width % multiple and name not in graph.exempt}
    assert notes["unaligned"] == odd
    assert notes["widths"] == {name: width for name, width in widths.items() if name not in graph.exempt}


@_fewer
@given(specs(), RATIOS, SETTINGS)
def test_producers_equal_consumers_and_the_shares_are_those_of_the_network(
    spec: NetworkSpec, ratio: float, given: dict[str, Any]
) -> None:
    detector = build_from_spec(spec)
    after = slimmed(detector, given, ratio=ratio)
    graph = trace_channels(after.module)
    for name, layer in graph.layers.items():
        built: Any = after.module.get_submodule(name)
        assert layer.inputs is not None
        assert (built.in_channels, built.out_channels) == (len(layer.inputs), len(layer.outputs))
    for name, channels in graph.norms.items():
        assert after.module.get_submodule(name).num_features == len(channels)
    assert predictions(after.module).shape == predictions(detector.module).shape
    notes = after.lineage[-1].notes
    assert notes["flops_share"] == pytest.approx(count_flops(after) / count_flops(detector), rel=1e-12)
    totals = [count_parameters(one.module).total for one in (after, detector)]
    assert notes["parameters_share"] == pytest.approx(totals[0] / totals[1], rel=1e-12)
    assert after.weights_sha256 == hash_weights(after.module)


@_fewer
@given(specs(), RATIOS, SETTINGS)
@example(spec=GROUPED, ratio=1.0, given=PLAIN)
def test_removing_channels_is_silencing_them(spec: NetworkSpec, ratio: float, given: dict[str, Any]) -> None:
    detector = build_from_spec(spec)
    graph = trace_channels(detector.module)
    after = slimmed(detector, given, ratio=ratio)
    silent = masked(detector, graph, kept_channels(graph, after.lineage[-1].notes))
    torch.testing.assert_close(predictions(after.module), predictions(silent.module), rtol=1e-9, atol=1e-9)


@_fewer
@given(specs(), st.data())
def test_removing_what_contributes_nothing_changes_nothing(spec: NetworkSpec, data: st.DataObject) -> None:
    """Channels that live, but that every consumer multiplies by zero; a depthwise one passes them on."""
    detector = build_from_spec(spec)
    graph = trace_channels(detector.module)
    gone: set[int] = set()
    for group in graph.free:
        gone |= data.draw(st.sets(st.sampled_from(group.channels), max_size=len(group.channels) - 1))
    with torch.no_grad():
        for name, layer in graph.layers.items():
            weight: Any = detector.module.get_submodule(name).weight
            for position, channel in enumerate(layer.inputs or ()):
                if channel in gone and layer.inputs_at is not None:
                    weight.select(layer.inputs_at, position).zero_()
    _, module = slice_detector(detector, graph, graph.all_channels() - gone)
    torch.testing.assert_close(predictions(module), predictions(detector.module), rtol=1e-9, atol=1e-9)


@_fewer
@given(specs(), SETTINGS)
@example(spec=GROUPED, given=PLAIN)
def test_removing_nothing_is_the_identity(spec: NetworkSpec, given: dict[str, Any]) -> None:
    detector = build_from_spec(spec)
    after = slimmed(detector, given, ratio=0)
    assert after.weights_sha256 == detector.weights_sha256
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(after.module(image), detector.module(image))


@_few
@given(specs(), RATIOS, RATIOS, SETTINGS)
def test_a_higher_ratio_leaves_no_more(
    spec: NetworkSpec, first: float, second: float, given: dict[str, Any]
) -> None:
    detector = build_from_spec(spec)
    graph = trace_channels(detector.module)
    low, high = (slimmed(detector, given, ratio=ratio) for ratio in sorted((first, second)))
    assert count_parameters(high.module).total <= count_parameters(low.module).total
    assert count_flops(high) <= count_flops(low)
    kept = [kept_channels(graph, one.lineage[-1].notes) for one in (low, high)]
    assert kept[1] <= kept[0]


@_few
@given(specs(), st.sampled_from(["flops", "parameters"]), st.floats(0.05, 1), SETTINGS)
def test_a_target_is_met_with_as_little_as_that_takes(
    spec: NetworkSpec, key: str, target: float, given: dict[str, Any]
) -> None:
    detector = build_from_spec(spec)
    smallest = slimmed(detector, given, ratio=1)
    if smallest.lineage[-1].notes[f"{key}_share"] > target:
        with pytest.raises(UsageError, match="the smallest network that the floors and the multiple of"):
            slimmed(detector, given, **{key: target})
        return
    after = slimmed(detector, given, **{key: target})
    notes = after.lineage[-1].notes
    assert notes[f"{key}_share"] <= target
    if notes["ratio"] > 0:
        before = slimmed(detector, given, ratio=notes["ratio"] - 1 / 2000)
        assert before.lineage[-1].notes[f"{key}_share"] > target
    assert slimmed(detector, given, ratio=notes["ratio"]).weights_sha256 == after.weights_sha256


@_few
@given(specs(), RATIOS, SETTINGS, st.integers(0, 2**31))
def test_the_same_again_is_the_same(
    spec: NetworkSpec, ratio: float, given: dict[str, Any], noise: int
) -> None:
    detector = build_from_spec(spec)
    before = detector.weights_sha256
    once = slimmed(detector, given, ratio=ratio)
    torch.manual_seed(noise)
    state = torch.get_rng_state()
    again = slimmed(build_from_spec(spec), given, ratio=ratio)
    assert torch.equal(torch.get_rng_state(), state)
    assert once.weights_sha256 == again.weights_sha256
    assert once.lineage == again.lineage
    assert once.architecture == again.architecture
    assert hash_weights(detector.module) == before
