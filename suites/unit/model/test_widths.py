"""Architectures with widths of their own."""

from __future__ import annotations

import pytest
import torch
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import build_module
from slimgate.model.channels import trace_channels
from slimgate.model.widths import apply_widths
from torch import nn

from fixtures.detectors import build_detector, tiny_architecture


def _built(widths: object, family: Family = Family.ULTRALYTICS) -> nn.Module:
    architecture = tiny_architecture(family) | {"widths": widths}
    return build_module(architecture, family=family, class_count=3, subject="nas.yaml")


@pytest.mark.parametrize("family", Family)
def test_outputs_are_as_written_and_inputs_follow(family: Family) -> None:
    module = _built({"model.0.conv": 5, "model.2.cv3.conv": 3, "model.4.cv1.conv": 2}, family)
    layers = dict(module.named_modules())
    shapes = {
        name: (layer.in_channels, layer.out_channels)
        for name, layer in layers.items()
        if isinstance(layer, nn.Conv2d)
    }
    sides = (16, 8)
    candidates = sum(side * side for side in sides) * (2 if family is Family.YOLOV5_ANCHOR else 1)
    assert shapes["model.0.conv"] == (3, 5)
    assert shapes["model.1.conv"] == (5, 8)
    assert shapes["model.4.cv2.conv"] == (8, 8)
    assert shapes["model.7.cv1.conv"][0] == 8 + 3
    assert layers["model.0.bn"].num_features == 5
    assert module(torch.rand(2, 3, 64, 64)).shape == (2, 7, candidates)


def test_layers_whose_shape_stays_keep_their_weights() -> None:
    detector = build_detector(Family.ULTRALYTICS)
    before = {name: tensor.clone() for name, tensor in detector.module.state_dict().items()}
    apply_widths(detector.module, {"model.0.conv": 4}, subject="x")
    changed = {
        name
        for name, tensor in detector.module.state_dict().items()
        if tensor.shape != before[name].shape or not torch.equal(tensor, before[name])
    }
    assert {name.rsplit(".", 1)[0] for name in changed} == {"model.0.conv", "model.0.bn", "model.1.conv"}


def test_a_norm_keeps_its_epsilon() -> None:
    norm = _built({"model.0.conv": 4}, Family.YOLOV5_ANCHOR).get_submodule("model.0.bn")
    assert (norm.eps, norm.momentum) == (1e-3, 0.03)


def test_the_head_keeps_its_bias_when_what_it_reads_changes(tiny_detector: Detector) -> None:
    layer = tiny_detector.module.get_submodule("model.8.cv3.0.2")
    bias = layer.bias.clone()
    apply_widths(tiny_detector.module, {"model.8.cv3.0.1.conv": 4}, subject="x")
    assert layer.weight.shape[1] == 4
    assert torch.equal(layer.bias, bias)


def test_a_depthwise_convolution_follows() -> None:
    architecture = tiny_architecture(Family.ULTRALYTICS)
    backbone = [list(row) for row in architecture["backbone"]]  # type: ignore[attr-defined]
    backbone[3] = [-1, 1, "DWConv", [8, 3, 2]]
    layout = architecture | {"backbone": backbone, "widths": {"model.2.cv3.conv": 6}}
    layer = build_module(layout, family=Family.ULTRALYTICS, class_count=3).get_submodule("model.3.conv")
    assert (layer.groups, layer.in_channels, layer.out_channels, layer.weight.shape) == (
        6,
        6,
        6,
        (6, 1, 3, 3),
    )


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        (
            {"model.2.cv1.conv": 3},
            r"nas\.yaml: model\.2\.m\.0 \(Bottleneck\): it adds 3 channels of model\.2\.cv1\.conv to 4 of "
            r"model\.2\.m\.0\.cv2\.conv",
        ),
        ({"model.2.cv9.conv": 3}, r"no convolution model\.2\.cv9\.conv; did you mean 'model\.2\.cv"),
        ({"model.8.cv3.0.2": 4}, r"model\.8\.cv3\.0\.2: 4 in place of 3 \(output of the head"),
        ({"model.0.conv": 0}, r"model\.0\.conv: 0\n  expected: output channels, 1 or more"),
        ({"model.0.conv": 4.0}, r"model\.0\.conv: 4\.0"),
        ({"model.0.conv": True}, r"model\.0\.conv: True"),
        ([8], r"widths: a list"),
    ],
)
def test_inconsistent_widths_are_refused_by_name(widths: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _built(widths)


def test_a_grouped_convolution_cannot_follow() -> None:
    architecture = tiny_architecture(Family.ULTRALYTICS)
    backbone = [list(row) for row in architecture["backbone"]]  # type: ignore[attr-defined]
    backbone[1] = [-1, 1, "Conv", [8, 3, 2, None, 2]]
    layout = architecture | {"backbone": backbone, "widths": {"model.0.conv": 6}}
    with pytest.raises(InputError, match=r"model\.0\.conv: 6 in place of 8 \(part of a grouped"):
        build_module(layout, family=Family.ULTRALYTICS, class_count=3)


def test_a_block_that_splits_by_its_own_width_says_so() -> None:
    architecture = tiny_architecture(Family.ULTRALYTICS)
    backbone = [list(row) for row in architecture["backbone"]]  # type: ignore[attr-defined]
    backbone[1], backbone[2] = [-1, 1, "Conv", [128, 3, 2]], [-1, 1, "C2PSA", [128]]
    layout = architecture | {"backbone": backbone, "widths": {"model.2.cv1.conv": 96}}
    with pytest.raises(InputError, match=r"model\.2\.cv1\.conv: 96 in place of 128 \(split at positions"):
        build_module(layout, family=Family.ULTRALYTICS, class_count=3)


def test_a_depthwise_convolution_of_one_channel_still_follows() -> None:
    """By its shape it could be any convolution of one channel; its width is still not the architecture's to choose."""
    architecture = tiny_architecture(Family.ULTRALYTICS)
    backbone = [list(row) for row in architecture["backbone"]]  # type: ignore[attr-defined]
    backbone[3] = [-1, 1, "DWConv", [8, 3, 2]]
    layout = architecture | {"backbone": backbone, "widths": {"model.2.cv3.conv": 1}}
    module = build_module(layout, family=Family.ULTRALYTICS, class_count=3)
    graph = trace_channels(module)
    assert graph.layers["model.3.conv"].kind == "depthwise"
    assert graph.layers["model.3.conv"].outputs == graph.layers["model.2.cv3.conv"].outputs
    assert "model.3.conv" not in graph.choosable
