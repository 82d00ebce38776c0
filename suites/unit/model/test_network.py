"""What is known of a network: its head, its parameters, its arithmetic, its folded form."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from slimgate.flow import Detector, Family
from slimgate.model import (
    architecture_from_name,
    build_module,
    count_flops,
    count_macs,
    count_parameters,
    fuse_batchnorm,
    head_convolutions,
    strides_of,
)
from slimgate.model.anchor_head import AnchorHead
from slimgate.model.head import fixed_convolutions, head_of
from slimgate.model.ultralytics_env import ConvTranspose, DetectionModel
from torch import nn

from fixtures.detectors import build_detector


def test_the_anchor_head_decodes_as_published() -> None:
    """Every candidate against the formula, written out with loops."""
    head = AnchorHead(2, [[[6, 8], [10, 4]], [[20, 30], [40, 16]]], (3, 5), (8, 16))
    torch.manual_seed(0)
    features = [torch.randn(2, 3, 3, 4), torch.randn(2, 5, 2, 2)]
    with torch.no_grad():
        found = head(features).numpy()
        raw = [conv(x).numpy() for conv, x in zip(head.m, features, strict=True)]
    candidate = 0
    for level, (stride, anchors) in enumerate([(8, [(6, 8), (10, 4)]), (16, [(20, 30), (40, 16)])]):
        _, _, height, width = raw[level].shape
        for anchor, (w, h) in enumerate(anchors):
            for row in range(height):
                for column in range(width):
                    s = 1 / (1 + np.exp(-raw[level][:, anchor * 7 : anchor * 7 + 7, row, column]))
                    expected = [
                        (2 * s[:, 0] - 0.5 + column) * stride,
                        (2 * s[:, 1] - 0.5 + row) * stride,
                        (2 * s[:, 2]) ** 2 * w,
                        (2 * s[:, 3]) ** 2 * h,
                        s[:, 4] * s[:, 5],
                        s[:, 4] * s[:, 6],
                    ]
                    np.testing.assert_allclose(found[:, :, candidate], np.stack(expected, 1), rtol=1e-4)
                    candidate += 1
    assert candidate == found.shape[2]


def test_output_convolutions_of_a_legacy_head(tiny_legacy_detector: Detector) -> None:
    assert head_convolutions(tiny_legacy_detector) == ("model.8.m.0", "model.8.m.1")


def test_output_convolutions_of_an_ultralytics_head(tiny_detector: Detector) -> None:
    assert head_convolutions(tiny_detector) == (
        *("model.8.cv2.0.2", "model.8.cv2.1.2", "model.8.cv3.0.2", "model.8.cv3.1.2"),
        "model.8.dfl.conv",
    )


def test_output_convolutions_do_not_depend_on_names(tiny_detector: Detector) -> None:
    wrapped = replace(tiny_detector, module=nn.ModuleDict({"anything": tiny_detector.module}))
    names = head_convolutions(wrapped)
    assert names == tuple(f"anything.{name}" for name in head_convolutions(tiny_detector))
    modules = dict(wrapped.module.named_modules())
    assert {modules[name].out_channels for name in names} == {16, 3, 1}


def test_a_module_without_a_head() -> None:
    with pytest.raises(TypeError, match="Sequential has 0 detection heads, not one"):
        head_of(nn.Sequential(nn.Conv2d(3, 3, 1)))


def test_the_dfl_is_fixed_and_a_legacy_head_has_none(
    tiny_detector: Detector, tiny_legacy_detector: Detector
) -> None:
    assert fixed_convolutions(tiny_detector.module) == {"model.8.dfl.conv"}
    assert fixed_convolutions(tiny_legacy_detector.module) == frozenset()


def test_strides(tiny_detector: Detector, tiny_legacy_detector: Detector) -> None:
    assert strides_of(tiny_detector.module) == strides_of(tiny_legacy_detector.module) == (4, 8)


def test_parameters_are_counted_by_hand() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(5, 2))
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    with torch.no_grad():
        module[0].weight[0] = 0
    count = count_parameters(module)
    assert count.total == (3 * 4 * 9 + 4) + (4 + 4) + (5 * 2 + 2)
    assert count.nonzero == count.total - 27


def test_macs_are_counted_by_hand(tiny_detector: Detector) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 16x16 out of 32x32
        nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=4),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1),  # 16x16 in, 32x32 out
        nn.Flatten(),
        nn.Linear(6 * 32 * 32, 10),
    )
    macs = count_macs(replace(tiny_detector, module=module, image_size=32))
    assert macs == {
        "0": 16 * 16 * 8 * 3 * 9,
        "1": 16 * 16 * 8 * (8 // 4) * 3,
        "2": 16 * 16 * 8 * 6 * 16,
        "4": 6 * 32 * 32 * 10,
    }
    assert count_flops(replace(tiny_detector, module=module, image_size=32)) == 2 * sum(macs.values())
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.parametrize(
    ("name", "gflops", "parameters"), [("yolov5n", 7.7, 2_654_816), ("yolov8n", 8.7, 3_157_200)]
)
def test_flops_are_those_that_ultralytics_publishes(
    tiny_detector: Detector, name: str, gflops: float, parameters: int
) -> None:
    architecture = architecture_from_name(name, class_count=80)
    module = build_module(architecture, family=Family.ULTRALYTICS, class_count=80)
    assert round(count_flops(replace(tiny_detector, module=module, image_size=640)) / 1e9, 1) == gflops
    assert count_parameters(module).total == parameters


def test_flops_of_legacy_yolov5n_are_those_that_yolov5_publishes(tiny_detector: Detector) -> None:
    layout = architecture_from_name("yolov5n", class_count=80)
    layout |= {"depth_multiple": 0.33, "width_multiple": 0.25, "anchors": [[10, 13, 16, 30, 33, 23]] * 3}
    module = build_module(layout, family=Family.YOLOV5_ANCHOR, class_count=80)
    assert round(count_flops(replace(tiny_detector, module=module, image_size=640)) / 1e9, 1) == 4.5
    # YOLOv5 publishes 1,872,157 for the network with its batch norms.
    assert count_parameters(module).total == 1_872_157


@pytest.mark.parametrize("family", list(Family))
def test_folding_batch_norms_keeps_predictions_and_names(family: Family) -> None:
    detector = build_detector(family)
    before = copy.deepcopy(detector.module.state_dict())
    fused = fuse_batchnorm(detector.module)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), detector.module(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules())
    assert [n for n, _ in fused.named_modules()] == [n for n, _ in detector.module.named_modules()]
    after = detector.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_folding_equals_what_ultralytics_folds(tiny_detector: Detector) -> None:
    oracle = DetectionModel(copy.deepcopy(tiny_detector.architecture), ch=3, nc=3, verbose=False)
    oracle.load_state_dict(tiny_detector.module.state_dict())
    oracle.eval().fuse(verbose=False)
    ours = dict(fuse_batchnorm(tiny_detector.module).named_parameters())
    theirs = dict(oracle.named_parameters())
    assert set(ours) == set(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_folding_into_a_transposed_convolution() -> None:
    layer = ConvTranspose(6, 4, 4, 2, 1).eval()
    layer.bn.running_mean.uniform_(-1, 1)
    layer.bn.running_var.uniform_(0.5, 2)
    nn.init.uniform_(layer.bn.weight, 0.5, 2)
    fused = fuse_batchnorm(nn.Sequential(layer))
    x = torch.randn(1, 6, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), layer(x), rtol=1e-4, atol=1e-5)
    assert isinstance(fused[0].bn, nn.Identity)


def test_a_network_with_transposed_convolutions_in_place_of_upsampling() -> None:
    """The HiSilicon practice: its NPU has no upsampling."""
    for family in Family:
        detector = build_detector(family)
        layout = copy.deepcopy(dict(detector.architecture))
        layout["head"][0] = [-1, 1, "nn.ConvTranspose2d", [8, 4, 2, 1]]
        module = build_module(layout, family=family, class_count=3)
        assert isinstance(module.model[5], nn.ConvTranspose2d)
        with torch.no_grad():
            assert module(torch.zeros(1, 3, 64, 64)).shape == detector.module(torch.zeros(1, 3, 64, 64)).shape
