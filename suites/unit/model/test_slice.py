"""Fewer channels of the same network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from slimgate.flow import Detector, Family
from slimgate.model.channels import trace_channels
from slimgate.model.slice import (
    architecture_with_widths,
    kept_positions,
    positions_from_text,
    slice_detector,
    slice_tensors,
    text_from_positions,
)

from fixtures.detectors import build_detector
from fixtures.specs import NetworkSpec, build_from_spec


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([], ""),
        ([0], "0"),
        ([7], "7"),
        ([0, 1], "0-1"),
        ([0, 2], "0,2"),
        ([0, 1, 2, 3, 7, 9, 10, 11, 12], "0-3,7,9-12"),
    ],
)
def test_positions_as_text_by_hand(positions: list[int], text: str) -> None:
    assert text_from_positions(positions) == text
    assert positions_from_text(text) == positions


def test_widths_are_added_to_those_that_are_there() -> None:
    before = {"nc": 3, "widths": {"a": 1, "b": 2}}
    assert architecture_with_widths(before, {"b": 5, "c": 6}) == {
        "nc": 3,
        "widths": {"a": 1, "b": 5, "c": 6},
    }
    assert before["widths"] == {"a": 1, "b": 2}
    assert architecture_with_widths({"nc": 3}, {"c": 6}) == {"nc": 3, "widths": {"c": 6}}


def _channel(detector: Detector, layer: str, position: int) -> int:
    return trace_channels(detector.module).layers[layer].outputs[position]


def test_each_tensor_keeps_the_right_entries_by_hand(tiny_detector: Detector) -> None:
    """Position 3 of model.1 goes: its filter, its norm, and what both consumers (a C3's two branches) multiply."""
    graph = trace_channels(tiny_detector.module)
    before = tiny_detector.module.state_dict()
    gone = _channel(tiny_detector, "model.1.conv", 3)
    after = slice_tensors(before, graph, graph.all_channels() - {gone})
    stay = [0, 1, 2, 4, 5, 6, 7]
    expected = {f"model.1.bn.{part}": 0 for part in ("weight", "bias", "running_mean", "running_var")}
    expected |= {"model.1.conv.weight": 0, "model.2.cv1.conv.weight": 1, "model.2.cv2.conv.weight": 1}
    for name, tensor in before.items():
        wanted = tensor.index_select(expected[name], torch.tensor(stay)) if name in expected else tensor
        assert torch.equal(after[name], wanted), name
    assert kept_positions(graph, graph.all_channels() - {gone}) == {"model.1.conv": "0-2,4-7"}


def test_a_transposed_convolution_loses_dimension_one_and_its_bias() -> None:
    detector = build_from_spec(NetworkSpec(up="deconv4"))
    graph = trace_channels(detector.module)
    before = detector.module.state_dict()
    made = _channel(detector, "model.5", 2)
    read = _channel(detector, "model.4.cv2.conv", 0)
    after = slice_tensors(before, graph, graph.all_channels() - {made, read})
    stay = [n for n in range(16) if n != 2]
    assert torch.equal(after["model.5.weight"], before["model.5.weight"][1:][:, stay])
    assert torch.equal(after["model.5.bias"], before["model.5.bias"][stay])
    # The concatenation has the deconvolution's channels first.
    assert torch.equal(
        after["model.7.cv1.conv.weight"],
        before["model.7.cv1.conv.weight"][:, [n for n in range(32) if n != 2]],
    )


def test_a_depthwise_convolution_loses_what_it_reads() -> None:
    detector = build_from_spec(NetworkSpec(down="DWConv"))
    graph = trace_channels(detector.module)
    assert graph.layers["model.3.conv"].kind == "depthwise"
    gone = _channel(detector, "model.2.cv3.conv", 5)
    architecture, module = slice_detector(detector, graph, graph.all_channels() - {gone})
    layer: Any = module.get_submodule("model.3.conv")
    assert (layer.groups, tuple(layer.weight.shape)) == (15, (15, 1, 3, 3))
    before = detector.module.get_submodule("model.3.conv").weight
    assert torch.equal(layer.weight, before[[n for n in range(16) if n != 5]])
    # Its width is not the architecture's to choose.
    assert "model.3.conv" not in architecture["widths"]
    assert architecture["widths"]["model.2.cv3.conv"] == 15


@pytest.mark.parametrize("family", Family)
def test_the_detector_and_the_generator_stay_as_they_were(family: Family) -> None:
    detector = build_detector(family)
    graph = trace_channels(detector.module)
    before = {name: tensor.clone() for name, tensor in detector.module.state_dict().items()}
    state = torch.get_rng_state()
    gone = _channel(detector, "model.0.conv", 0)
    architecture, module = slice_detector(detector, graph, graph.all_channels() - {gone})
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.module.state_dict().items())
    assert "widths" not in detector.architecture
    assert architecture["widths"]["model.0.conv"] == 7
    assert not module.training
    # Nothing is shared: changing one changes the other not.
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.module.state_dict().items())


def test_a_grouped_convolution_stays_whole() -> None:
    """Eight groups of 3 outputs: its weight sees one input each, so nothing in it runs over the inputs."""
    detector = build_from_spec(NetworkSpec(widths=(8, 8, 24), down="DWConv"))
    graph = trace_channels(detector.module)
    layer = graph.layers["model.3.conv"]
    assert (layer.kind, layer.outputs_at, layer.inputs_at) == ("grouped", None, None)
    gone = _channel(detector, "model.4.cv2.conv", 5)
    _, module = slice_detector(detector, graph, graph.all_channels() - {gone})
    weights = [one.get_submodule("model.3.conv").weight for one in (module, detector.module)]
    assert torch.equal(*weights)
