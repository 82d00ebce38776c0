"""Importances against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from slimgate.compress.importance import IMPORTANCES, channel_importance
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model.channels import ChannelGraph, ChannelGroup, LayerChannels, trace_channels
from torch import nn

from fixtures.detectors import build_detector
from fixtures.specs import NetworkSpec, build_from_spec


def _conv(rows: list[list[float]]) -> nn.Conv2d:
    """Return a 1 x 1 convolution with these weights, one row an output channel."""
    weight = torch.tensor(rows)
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    layer.weight.data = weight[..., None, None]
    return layer


def _deconv(columns: list[list[float]]) -> nn.ConvTranspose2d:
    """Return a 1 x 1 transposed convolution, one list an output channel."""
    weight = torch.tensor(columns).T
    layer = nn.ConvTranspose2d(weight.shape[0], weight.shape[1], 1, bias=False)
    layer.weight.data = weight[..., None, None].clone()
    return layer


def _layer(name: str, kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> LayerChannels:
    return LayerChannels(name=name, kind=kind, inputs=inputs, outputs=outputs)  # type: ignore[arg-type]


def _chain() -> tuple[nn.Module, ChannelGraph]:
    """Return image -> a (2 channels) -> b (transposed, 3) -> c (2), in which a and c are added: coupled."""
    module = nn.ModuleDict(
        {
            "a": _conv([[3.0, -4.0], [0.0, 1.0]]),
            "b": _deconv([[1.0, 1.0], [2.0, -2.0], [0.0, 3.0]]),
            "c": _conv([[2.0, 0.0, 0.0], [0.0, -6.0, 0.0]]),
            "na": nn.BatchNorm2d(2),
            "nc": nn.BatchNorm2d(2),
        }
    )
    module["na"].weight.data = torch.tensor([0.5, -2.0])
    module["nc"].weight.data = torch.tensor([1.5, 1.0])
    graph = ChannelGraph(
        layers={
            "a": _layer("a", "conv", (0, 1), (10, 11)),
            "b": _layer("b", "deconv", (10, 11), (20, 21, 22)),
            "c": _layer("c", "conv", (20, 21, 22), (10, 11)),
        },
        norms={"na": (10, 11), "nc": (10, 11)},
        groups=(
            ChannelGroup(layers=(), channels=(0, 1), fixed="channels of the image"),
            ChannelGroup(layers=("a", "c"), channels=(10, 11)),
            ChannelGroup(layers=("b",), channels=(20, 21, 22)),
        ),
    )
    return module, graph


def test_l1_by_hand() -> None:
    # a: 7 and 1, mean 4; c: 2 and 6, mean 4; b: 2, 4 and 3, mean 3.
    assert channel_importance(*_chain(), "l1") == pytest.approx(
        {10: (7 / 4 + 2 / 4) / 2, 11: (1 / 4 + 6 / 4) / 2, 20: 2 / 3, 21: 4 / 3, 22: 1.0}
    )


def test_l2_by_hand() -> None:
    # a: 5 and 1, mean 3; c: 2 and 6, mean 4; b: √2, √8 and 3.
    mean = (math.sqrt(2) + math.sqrt(8) + 3) / 3
    assert channel_importance(*_chain(), "l2") == pytest.approx(
        {
            10: (5 / 3 + 2 / 4) / 2,
            11: (1 / 3 + 6 / 4) / 2,
            20: math.sqrt(2) / mean,
            21: math.sqrt(8) / mean,
            22: 3 / mean,
        }
    )


def test_fpgm_by_hand() -> None:
    # Two filters are as far from each other as the other from the one. b's three: (1, 1), (2, -2) and (0, 3).
    first, second, third = math.sqrt(1 + 9), math.sqrt(1 + 4), math.sqrt(4 + 25)
    sums = [first + second, first + third, second + third]
    mean = sum(sums) / 3
    found = channel_importance(*_chain(), "fpgm")
    assert found == pytest.approx(
        {10: 1.0, 11: 1.0, **{20 + n: value / mean for n, value in enumerate(sums)}}
    )


def test_gamma_by_hand() -> None:
    """The transposed b has no norm: what c multiplies it by gives it a place among the gammas."""
    # 10: (0.5 + 1.5) / 2, 11: (2 + 1) / 2. c's columns: 2, 6, 0; weakest first: 22, 20, 21.
    # Their places are 1/6, 3/6, 5/6 between 1.0 and 1.5.
    assert channel_importance(*_chain(), "gamma") == pytest.approx(
        {10: 1.0, 11: 1.5, 22: 1 + 0.5 / 6, 20: 1 + 1.5 / 6, 21: 1 + 2.5 / 6}
    )


def test_random_is_uniform_by_seed() -> None:
    one, same, other = (channel_importance(*_chain(), "random", seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert all(0 <= value < 1 for value in one.values())


@pytest.mark.parametrize("measure", IMPORTANCES)
@pytest.mark.parametrize("family", Family)
def test_every_free_channel_is_scored_and_no_other(measure: str, family: Family) -> None:
    spec = NetworkSpec(family=family, up="deconv2", down="DWConv", widths=(8, 8, 24))
    module = build_from_spec(spec).module
    graph = trace_channels(module)
    state = torch.get_rng_state()
    scores = channel_importance(module, graph, measure)
    assert torch.equal(torch.get_rng_state(), state)
    assert set(scores) == {channel for group in graph.free for channel in group.channels}


def test_a_filter_of_zeros_is_worth_nothing_even_among_zeros() -> None:
    module, graph = _chain()
    module["b"].weight.data.zero_()
    found = channel_importance(module, graph, "l1")
    assert [found[channel] for channel in (20, 21, 22)] == [0, 0, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("measure", ["gamma", "l1", "l2", "fpgm"])
def test_weights_that_are_not_finite_are_refused(measure: str, value: float) -> None:
    detector: Detector = build_detector(Family.ULTRALYTICS)
    with torch.no_grad():
        for name in ("model.1.conv.weight", "model.1.bn.weight"):
            detector.module.state_dict()[name].view(-1)[0] = value
    with pytest.raises(InputError, match=rf"importance {measure}: NaN or infinite for \d+ of \d+ channels"):
        channel_importance(detector.module, trace_channels(detector.module), measure)
