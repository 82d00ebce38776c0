"""Upsampling as transposed convolutions: equal outputs, a checkpoint that reloads, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.deconv import GEOMETRIES, nearest_neighbour_kernel
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import build_module, count_flops, count_macs, hash_weights, load_detector, save_checkpoint
from torch import nn
from torch.nn.functional import conv_transpose2d, interpolate

from fixtures.detectors import build_detector, tiny_architecture


def _converted(detector: Detector, text: str) -> Detector:
    return apply_operations(detector, [parse_operation(text)])


def _with_row(family: Family, index: int, row: list[Any], **changes: Any) -> Detector:
    """Return a tiny detector with one row of its head replaced."""
    detector = build_detector(family)
    architecture = copy.deepcopy(tiny_architecture(family)) | changes
    architecture["head"][index] = row
    module = build_module(architecture, family=family, class_count=3)
    return dataclasses.replace(
        detector, architecture=architecture, module=module, weights_sha256=hash_weights(module)
    )


def _refuse_differences(before: nn.Module, converted: Detector) -> None:
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(before).double()(x)
        assert torch.equal(copy.deepcopy(converted.module).double()(x), expected)


def test_the_kernels_by_hand() -> None:
    assert nearest_neighbour_kernel(1, 2).tolist() == [[[[1, 1], [1, 1]]]]
    ring = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert nearest_neighbour_kernel(1, 4).tolist() == [[ring]]
    two = nearest_neighbour_kernel(2, 4)
    assert two[0, 0].tolist() == two[1, 1].tolist() == ring
    assert not two[0, 1].any()
    assert not two[1, 0].any()


@pytest.mark.parametrize("kernel", sorted(GEOMETRIES))
def test_a_kernel_repeats_each_position_as_torch_does(kernel: str) -> None:
    x = torch.randn(2, 5, 3, 7, dtype=torch.float64)
    size, padding = GEOMETRIES[kernel]
    found = conv_transpose2d(x, nearest_neighbour_kernel(5, size).double(), stride=2, padding=padding)
    assert torch.equal(found, interpolate(x, scale_factor=2, mode="nearest"))


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("kernel", sorted(GEOMETRIES))
def test_outputs_are_equal_at_the_start_and_after_a_reload(
    family: Family, kernel: str, tmp_path: Path
) -> None:
    detector = build_detector(family)
    converted = _converted(detector, f"deconv:{kernel}")
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(detector.module).double()(x)
        assert torch.equal(copy.deepcopy(converted.module).double()(x), expected)
    assert not any(isinstance(layer, nn.Upsample) for layer in converted.module.modules())
    loaded = load_detector(save_checkpoint(converted, tmp_path / "deconv"))
    assert loaded.architecture == converted.architecture
    assert loaded.lineage == converted.lineage
    with torch.no_grad():
        assert torch.equal(loaded.module(x.float()), converted.module(x.float()))


def test_the_step_and_the_rows_say_what_was_done(tiny_detector: Detector) -> None:
    before = copy.deepcopy(dict(tiny_detector.architecture))
    weights = copy.deepcopy(tiny_detector.module.state_dict())
    for kernel, arguments in (("2", [8, 2, 2]), ("4", [8, 4, 2, 1])):
        converted = _converted(tiny_detector, f"deconv:{kernel}")
        (step,) = converted.lineage
        assert (step.operation, step.settings) == ("deconv", {"kernel": kernel})
        assert step.notes == {"layers": {"model.5": 8}}
        assert converted.architecture["head"][0] == [-1, 1, "nn.ConvTranspose2d", arguments]
        assert converted.weights_sha256 == hash_weights(converted.module) != tiny_detector.weights_sha256
    # The one given stays as it is.
    assert tiny_detector.architecture == before
    assert all(torch.equal(weights[n], t) for n, t in tiny_detector.module.state_dict().items())
    assert isinstance(tiny_detector.module.model[5], nn.Upsample)


def test_the_default_is_two_by_two(tiny_detector: Detector) -> None:
    assert _converted(tiny_detector, "deconv").lineage[0].settings == {"kernel": "2"}


def test_a_width_multiple_is_undone_in_the_row() -> None:
    """Builders multiply a row's channels by the width: 24 · 0.5 is 12, rounded up to 16."""
    for family in Family:
        detector = build_detector(family)
        scale = (
            {"width_multiple": 0.5} if family is Family.YOLOV5_ANCHOR else {"scales": {"n": [1, 0.5, 1024]}}
        )
        architecture = copy.deepcopy(tiny_architecture(family)) | scale
        architecture["backbone"][4][3][0] = 24
        module = build_module(architecture, family=family, class_count=3)
        converted = _converted(
            dataclasses.replace(detector, architecture=architecture, module=module), "deconv:2"
        )
        assert converted.lineage[0].notes["layers"] == {"model.5": 16}
        assert converted.architecture["head"][0][3] == [32, 2, 2]


def test_a_row_that_yolov5_does_not_scale_gets_a_width() -> None:
    """Two anchors of 3 + 5 rows make 16 outputs; YOLOv5 builds a row of 16 as 16 channels, not as 16 · 0.5."""
    detector = build_detector(Family.YOLOV5_ANCHOR)
    architecture = copy.deepcopy(tiny_architecture(Family.YOLOV5_ANCHOR)) | {"width_multiple": 0.5}
    module = build_module(architecture, family=Family.YOLOV5_ANCHOR, class_count=3)
    converted = _converted(dataclasses.replace(detector, architecture=architecture, module=module), "deconv")
    assert converted.lineage[0].notes["layers"] == {"model.5": 8}
    assert converted.architecture["widths"] == {"model.5": 8}
    _refuse_differences(module, converted)


def test_two_rows_that_are_one_list_are_told_apart() -> None:
    """Found by a property: 24 channels reach one layer, 8 the other, and both had the last one's row."""
    detector = build_detector(Family.ULTRALYTICS)
    architecture = copy.deepcopy(tiny_architecture(Family.ULTRALYTICS))
    up = [-1, 1, "nn.Upsample", [None, 2, "nearest"]]
    architecture["head"] = [
        [-1, 1, "Conv", [24, 1, 1]],
        up,
        [-1, 1, "C3", [8, False]],
        up,
        [[-1, 0], 1, "Concat", [1]],
        [[9, 4], 1, "Detect", ["nc"]],
    ]
    module = build_module(architecture, family=Family.ULTRALYTICS, class_count=3)
    converted = _converted(dataclasses.replace(detector, architecture=architecture, module=module), "deconv")
    assert [converted.architecture["head"][index][3][0] for index in (1, 3)] == [24, 8]


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("kernel", [2, 4])
def test_flops_count_input_positions(family: Family, kernel: int) -> None:
    """8 channels arrive as 8 x 8 positions (stride 8 of 64 pixels); each meets the whole kernel 8 times."""
    detector = build_detector(family)
    converted = _converted(detector, f"deconv:{kernel}")
    by_hand = 8 * 8 * (8 * 8) * kernel * kernel
    assert by_hand == {2: 16_384, 4: 65_536}[kernel]
    assert count_macs(converted)["model.5"] == by_hand
    assert count_flops(converted) - count_flops(detector) == 2 * by_hand


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([-1, 1, "nn.ConvTranspose2d", [8, 2, 2]], r"there is none\n(.|\n)*leave deconv out"),
        ([-1, 1, "nn.Upsample", [None, 2, "bilinear"]], r"model\.5 \(mode bilinear\)"),
    ],
)
def test_upsampling_that_cannot_be_converted(family: Family, row: list[Any], found: str) -> None:
    detector = _with_row(family, 0, row)
    with pytest.raises(InputError, match=f"upsampling of tiny-{family.value}: .*{found}"):
        _converted(detector, "deconv")


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (nn.Upsample(scale_factor=4), "scale 4.0"),
        (nn.Upsample(scale_factor=(2, 1)), r"scale \(2.0, 1.0\)"),
        (nn.Upsample(size=16), "size 16"),
    ],
)
def test_another_size_is_refused(tiny_detector: Detector, layer: nn.Upsample, found: str) -> None:
    tiny_detector.module.model[5] = layer
    with pytest.raises(InputError, match=rf"not replaceable: model\.5 \({found}\)"):
        _converted(tiny_detector, "deconv")


def test_upsampling_inside_another_layer_is_refused(tiny_detector: Detector) -> None:
    tiny_detector.module.model[5] = nn.Sequential(nn.Upsample(scale_factor=2))
    with pytest.raises(InputError, match=r"not replaceable: model\.5\.0 \(inside another layer\)"):
        _converted(tiny_detector, "deconv")


def test_a_second_conversion_finds_nothing(tiny_detector: Detector) -> None:
    converted = dataclasses.replace(_converted(tiny_detector, "deconv"), lineage=())
    with pytest.raises(InputError, match="there is none"):
        _converted(converted, "deconv")
    with pytest.raises(UsageError, match="deconv after deconv"):
        _converted(_converted(tiny_detector, "deconv"), "deconv")


def test_a_width_above_the_scales_most_channels() -> None:
    detector = build_detector(Family.ULTRALYTICS)
    architecture = copy.deepcopy(tiny_architecture(Family.ULTRALYTICS)) | {"scales": {"n": [1, 1, 8]}}
    # Two maps of 8 channels make 16, and the scale allows a row 8.
    architecture["head"] = [
        [[-1, -1], 1, "Concat", [1]],
        *architecture["head"][:1],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 1, "C3", [8, False]],
        [[8, 4], 1, "Detect", ["nc"]],
    ]
    module = build_module(architecture, family=Family.ULTRALYTICS, class_count=3)
    wide = dataclasses.replace(detector, architecture=architecture, module=module)
    converted = _converted(wide, "deconv")
    assert converted.architecture["widths"] == {"model.6": 16}
    _refuse_differences(module, converted)


@pytest.mark.parametrize("family", list(Family))
def test_a_slim_detector_keeps_its_widths(family: Family, tmp_path: Path) -> None:
    """12 channels arrive: no row can say that, and the widths that were there stay."""
    detector = build_detector(family)
    widths = {"model.4.cv2.conv": 12, "model.1.conv": 20}
    architecture = tiny_architecture(family) | {"widths": widths}
    module = build_module(architecture, family=family, class_count=3)
    slim = dataclasses.replace(detector, architecture=architecture, module=module)
    converted = _converted(slim, "deconv:4")
    assert converted.architecture["widths"] == widths | {"model.5": 12}
    assert slim.architecture["widths"] == widths
    _refuse_differences(module, converted)
    loaded = load_detector(save_checkpoint(converted, tmp_path / "slim"))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.module(x), converted.module(x))


@pytest.mark.parametrize("kernel", ["3", "2x2", ""])
def test_other_kernels(kernel: str) -> None:
    with pytest.raises(
        UsageError, match=f"deconv kernel '{kernel}': unknown deconv kernel(.|\n)*one of 2, 4"
    ):
        parse_operation(f"deconv:kernel={kernel}")
