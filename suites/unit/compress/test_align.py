"""Padding odd widths with exact zeros."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.align import _padded
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model.channels import ChannelGraph, ChannelGroup, trace_channels

from fixtures.specs import NetworkSpec, build_from_spec


def _applied(detector: Detector, *texts: str) -> Detector:
    return apply_operations(detector, [parse_operation(text) for text in texts])


def test_zeros_go_after_each_run_of_a_group_by_hand() -> None:
    """Two groups of 3 and 2 channels, padded by 1 and 2; 9 is no group's."""
    padding = {0: (frozenset({0, 1, 2}), 1), 5: (frozenset({5, 6}), 2)}
    assert _padded([0, 1, 2], padding) == [0, 1, 2, None]
    assert _padded([9, 0, 1, 2, 5, 6], padding) == [0, 1, 2, 3, None, 4, 5, None, None]
    # Concatenated with itself, as in pyramid pooling.
    assert _padded([5, 6, 5, 6], padding) == [0, 1, None, None, 2, 3, None, None]
    assert _padded([], padding) == []


@pytest.mark.parametrize("family", Family)
def test_every_tensor_is_padded_with_what_is_neutral(family: Family) -> None:
    odd = _applied(
        build_from_spec(NetworkSpec(family=family)), "slim:0.4,importance=random,multiple=1,seed=2"
    )
    aligned = _applied(odd, "align:4")
    before, after = odd.module.state_dict(), aligned.module.state_dict()
    width = len(before["model.0.conv.weight"])
    padded = len(after["model.0.conv.weight"])
    assert padded == -(-width // 4) * 4
    assert aligned.lineage[-1].notes["padded"]["model.0.conv"] == f"{width} to {padded}"
    assert torch.equal(after["model.0.conv.weight"][:width], before["model.0.conv.weight"])
    assert not after["model.0.conv.weight"][width:].any()
    assert not after["model.1.conv.weight"][:, width:].any()
    for part, neutral in (("weight", 0), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
        assert torch.equal(after[f"model.0.bn.{part}"][:width], before[f"model.0.bn.{part}"])
        assert (after[f"model.0.bn.{part}"][width:] == neutral).all()
    assert aligned.architecture["widths"]["model.0.conv"] == padded
    assert set(aligned.lineage[-1].notes["exempt"]) == set(trace_channels(odd.module).exempt)


def test_a_transposed_convolution_is_padded_in_dimension_one() -> None:
    odd = _applied(build_from_spec(NetworkSpec(up="deconv2")), "slim:0.4,importance=random,multiple=1,seed=3")
    aligned = _applied(odd, "align:16")
    one, other = (d.module.get_submodule("model.5") for d in (odd, aligned))
    rows, columns = one.weight.shape[:2]
    assert other.weight.shape[:2] == (16, 16)
    assert torch.equal(other.weight[:rows, :columns], one.weight)
    assert not other.weight[rows:].any()
    assert not other.weight[:, columns:].any()
    assert not other.bias[columns:].any()


def test_nothing_to_do_is_the_identity(tiny_detector: Detector) -> None:
    aligned = _applied(tiny_detector, "align:4")
    assert aligned.weights_sha256 == tiny_detector.weights_sha256
    assert aligned.lineage[-1].notes["padded"] == {}


def test_coupled_channels_among_others_are_refused_by_name(
    tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of three whose first channel comes again among others: it is no run of three there."""
    whole = trace_channels(tiny_detector.module)
    outputs = whole.layers["model.0.conv"].outputs
    torn = outputs[:3]
    scattered = dataclasses.replace(whole.layers["model.0.conv"], outputs=(*torn, outputs[0], *outputs[4:]))
    groups = [
        *(group for group in whole.groups if "model.0.conv" not in group.layers),
        ChannelGroup(layers=("model.0.conv",), channels=torn),
        ChannelGroup(layers=("model.0.conv",), channels=outputs[4:], fixed="for this test"),
    ]
    graph = ChannelGraph(
        layers={**whole.layers, "model.0.conv": scattered}, norms=whole.norms, groups=tuple(groups)
    )
    tracer: Any = lambda module, subject: graph  # noqa: E731
    monkeypatch.setattr("slimgate.compress.align.trace_channels", tracer)
    with pytest.raises(InputError) as caught:
        _applied(tiny_detector, "align:4")
    assert str(caught.value) == (
        "alignment of tiny-ultralytics: coupled channels lie scattered among others in model.0.conv\n"
        "  expected: the channels of each coupled group side by side\n"
        "  what to do: retrain with widths that are multiples, or leave align out"
    )
