"""Factors by part of the network on what channels are worth."""

from __future__ import annotations

import pytest
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.favour import channel_parts, factors_from_text, favoured, text_from_factors
from slimgate.errors import UsageError
from slimgate.flow import Detector, Family
from slimgate.model.channels import trace_channels

from fixtures.specs import NetworkSpec, build_from_spec


@pytest.fixture
def detector() -> Detector:
    return build_from_spec(NetworkSpec(widths=(16, 16, 24)))


def _widths(detector: Detector, favour: str) -> dict[str, int]:
    text = f"slim:flops=0.5,importance=l2,multiple=1,favour={favour}"
    return apply_operations(detector, [parse_operation(text)]).architecture["widths"]


@pytest.mark.parametrize("family", Family)
def test_every_free_channel_has_a_part(family: Family) -> None:
    detector = build_from_spec(NetworkSpec(family=family, up="deconv2"))
    graph = trace_channels(detector.module)
    parts = channel_parts(detector, graph)
    assert set(parts) == {channel for group in graph.free for channel in group.channels}
    by_layer = {
        name: parts[graph.layers[name].outputs[0]] for name in ("model.0.conv", "model.1.conv", "model.5")
    }
    assert by_layer == {"model.0.conv": "2", "model.1.conv": "4", "model.5": "4"}


def test_a_favoured_part_keeps_more(detector: Detector) -> None:
    plain, favoured_stem = _widths(detector, "2:1"), _widths(detector, "2:100")
    assert favoured_stem["model.0.conv"] == 16 > plain["model.0.conv"]
    assert _widths(detector, "2:0.01")["model.0.conv"] < plain["model.0.conv"]


def test_scores_are_multiplied(detector: Detector) -> None:
    graph = trace_channels(detector.module)
    parts = channel_parts(detector, graph)
    found = favoured(dict.fromkeys(parts, 3.0), detector, graph, "4:0.5/head:2")
    assert {parts[channel]: score for channel, score in found.items()} == {
        "2": 3.0,
        "4": 1.5,
        "8": 3.0,
        "head": 6.0,
    }


def test_the_text_reads_back() -> None:
    factors = {"2": 0.125, "16": 3.5, "head": 1.0}
    assert factors_from_text(text_from_factors(factors)) == factors


@pytest.mark.parametrize("text", ["", "2", "2:x", "neck:2", "2:0", "2:-1", "2:1/2:3", "2:nan"])
def test_other_texts_are_refused(detector: Detector, text: str) -> None:
    with pytest.raises(UsageError, match=r"not factors by part"):
        parse_operation(f"slim:flops=0.5,favour={text}")


def test_a_part_that_is_not_there_is_named(detector: Detector) -> None:
    with pytest.raises(UsageError) as caught:
        _widths(detector, "64:2")
    assert str(caught.value) == (
        "favour of drawn: no part 64\n"
        "  expected: parts among 2, 4, 8, head\n"
        "  what to do: name strides that the network has, or head"
    )
