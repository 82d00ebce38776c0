"""The channel graph: what is coupled, what is fixed, and what is refused."""

from __future__ import annotations

import pytest
import torch
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import build_module
from slimgate.model.channels import ChannelGraph, ChannelGroup, trace_channels
from slimgate.model.trace import GROUPED, HEAD, SPLIT
from torch import nn

from fixtures.detectors import build_detector, tiny_architecture


def _group_of(graph: ChannelGraph, layer: str) -> ChannelGroup:
    (group,) = [group for group in graph.groups if layer in group.layers]
    return group


def _with_rows(**rows: list[object]) -> nn.Module:
    """Return the tiny ultralytics network with one backbone row in place of another."""
    architecture = tiny_architecture(Family.ULTRALYTICS)
    backbone = [list(row) for row in architecture["backbone"]]  # type: ignore[attr-defined]
    for index, row in rows.items():
        backbone[int(index.removeprefix("row"))] = row
    return build_module(architecture | {"backbone": backbone}, family=Family.ULTRALYTICS, class_count=3)


@pytest.mark.parametrize("family", Family)
def test_a_shortcut_couples_what_it_adds(family: Family) -> None:
    graph = trace_channels(build_detector(family).module)
    assert _group_of(graph, "model.2.cv1.conv").layers == ("model.2.cv1.conv", "model.2.m.0.cv2.conv")
    assert _group_of(graph, "model.2.m.0.cv1.conv").layers == ("model.2.m.0.cv1.conv",)
    assert not _group_of(graph, "model.2.cv1.conv").fixed


def test_concatenation_upsampling_and_pooling_keep_the_order_of_channels(tiny_detector: Detector) -> None:
    layers = trace_channels(tiny_detector.module).layers
    pooled = layers["model.4.cv1.conv"].outputs
    assert layers["model.4.cv2.conv"].inputs == pooled * 4
    assert layers["model.7.cv1.conv"].inputs == (
        *layers["model.4.cv2.conv"].outputs,
        *layers["model.2.cv3.conv"].outputs,
    )


def test_every_batch_norm_has_the_channels_of_its_convolution(tiny_detector: Detector) -> None:
    graph = trace_channels(tiny_detector.module)
    assert graph.norms
    for name, channels in graph.norms.items():
        assert channels == graph.layers[name.removesuffix("bn") + "conv"].outputs


@pytest.mark.parametrize("family", Family)
def test_the_outputs_of_the_head_are_exempt_by_name(family: Family) -> None:
    detector = build_detector(family)
    exempt = trace_channels(detector.module).exempt
    expected = (
        {"model.8.m.0", "model.8.m.1"}
        if family is Family.YOLOV5_ANCHOR
        else {f"model.8.cv{branch}.{level}.2" for branch in (2, 3) for level in (0, 1)}
    )
    assert exempt == dict.fromkeys(expected, HEAD)


def test_widths_count_what_is_kept(tiny_detector: Detector) -> None:
    graph = trace_channels(tiny_detector.module)
    whole = graph.widths(graph.all_channels())
    assert whole == {
        name: layer.out_channels
        for name, layer in tiny_detector.module.named_modules()
        if name in graph.layers and isinstance(layer, nn.Conv2d)
    }
    dropped = _group_of(graph, "model.2.cv1.conv").channels[0]
    fewer = graph.widths(graph.all_channels() - {dropped})
    assert {name for name in whole if fewer[name] != whole[name]} == {
        "model.2.cv1.conv",
        "model.2.m.0.cv2.conv",
    }


def test_tracing_leaves_the_network_as_it_was(tiny_detector: Detector) -> None:
    module = tiny_detector.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    image = torch.rand(1, 3, 64, 64)
    expected = module(image)
    module.train()
    trace_channels(module)
    assert module.training
    module.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(module(image), expected)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_chunks_lose_the_same_positions() -> None:
    graph = trace_channels(_with_rows(row2=[-1, 1, "C2f", [8, True]]))
    outputs = graph.layers["model.2.cv1.conv"].outputs
    assert outputs[:4] == outputs[4:] == graph.layers["model.2.m.0.cv2.conv"].outputs


def test_a_depthwise_convolution_has_the_channels_it_reads() -> None:
    graph = trace_channels(_with_rows(row3=[-1, 1, "DWConv", [8, 3, 2]]))
    layer = graph.layers["model.3.conv"]
    assert layer.kind == "depthwise"
    assert layer.inputs == layer.outputs == graph.layers["model.2.cv3.conv"].outputs


def test_a_transposed_convolution_makes_channels_of_its_own() -> None:
    architecture = tiny_architecture(Family.ULTRALYTICS)
    head = [[-1, 1, "nn.ConvTranspose2d", [8, 2, 2]], *architecture["head"][1:]]  # type: ignore[index]
    module = build_module(architecture | {"head": head}, family=Family.ULTRALYTICS, class_count=3)
    graph = trace_channels(module)
    assert graph.layers["model.5"].kind == "deconv"
    assert _group_of(graph, "model.5").layers == ("model.5",)
    assert "model.5.bn" not in graph.norms


def test_channels_in_groups_of_several_are_fixed() -> None:
    module = _with_rows(row1=[-1, 1, "Conv", [8, 3, 2, None, 2]])
    graph = trace_channels(module)
    assert graph.exempt["model.1.conv"] == f"{GROUPED} (model.1.conv)"


def test_a_split_at_built_in_positions_is_fixed() -> None:
    module = _with_rows(row2=[-1, 1, "C2PSA", [128]], row1=[-1, 1, "Conv", [128, 3, 2]])
    assert trace_channels(module).exempt["model.2.cv1.conv"] == SPLIT


class _Rolled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, 1, 1)


def test_what_is_not_known_is_refused_by_name(tiny_detector: Detector) -> None:
    tiny_detector.module.set_submodule("model.3.act", _Rolled())
    with pytest.raises(InputError, match=r"mine\.pt: model\.3\.act \(_Rolled\): it calls roll"):
        trace_channels(tiny_detector.module, subject="mine.pt")


class _Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.conv2d(x, self.weight)


def test_a_convolution_without_a_layer_is_refused_by_name(tiny_detector: Detector) -> None:
    tiny_detector.module.set_submodule("model.3.act", _Bare())
    with pytest.raises(InputError, match=r"model\.3\.act \(_Bare\): it convolves by itself"):
        trace_channels(tiny_detector.module)
