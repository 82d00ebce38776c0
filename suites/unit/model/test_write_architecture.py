"""Architectures as yaml files: what is written is what is built again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from slimgate.compress import apply_operations, parse_operation
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import architecture_from_file, build_module
from slimgate.model.write_architecture import architecture_text, write_architecture

from fixtures.detectors import build_detector
from fixtures.specs import NetworkSpec, build_from_spec


def _slim(detector: Detector) -> Detector:
    return apply_operations(detector, [parse_operation("slim:0.5,importance=l1,multiple=2")])


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("activation", [None, "nn.LeakyReLU(0.1)"])
def test_the_network_is_built_again_from_the_file(
    family: Family, activation: str | None, tmp_path: Path
) -> None:
    detector = _slim(build_from_spec(NetworkSpec(family=family, activation=activation, up="deconv4")))
    path = write_architecture(detector, tmp_path / "deep" / "nas.yaml")
    architecture = architecture_from_file(path, class_count=3, family=family)
    assert architecture == detector.architecture
    again = build_module(architecture, family=family, class_count=3)
    assert {name: t.shape for name, t in again.state_dict().items()} == {
        name: t.shape for name, t in detector.module.state_dict().items()
    }
    assert [file.name for file in path.parent.iterdir()] == ["nas.yaml"]


def test_the_text_is_for_people(tiny_detector: Detector) -> None:
    text = architecture_text(tiny_detector)
    lines = text.splitlines()
    assert lines[:2] == [
        "# tiny-ultralytics: ultralytics family, 3 classes",
        "# (datamatrix, qrcode, barcode).",
    ]
    assert "  - [-1, 1, Conv, [8, 3, 2]]  # 0" in lines
    assert "  - [[7, 4], 1, Detect, [nc]]  # 8" in lines
    assert "  model.0.conv: 8" in lines
    assert "  model.2.cv1.conv: 4  # added to model.2.m.0.cv2.conv: equal widths" in lines
    assert "  model.2.m.0.cv2.conv: 4  # added to model.2.cv1.conv: equal widths" in lines
    # What boxes and classes decide is not there to be edited.
    assert not any(line.startswith("  model.8.cv2.0.2") for line in lines)
    assert max(len(line) for line in lines) < 120


def test_a_layer_that_is_split_is_not_called_equal() -> None:
    """A C2f adds each of its bottlenecks to one half of what its first layer makes."""
    lines = architecture_text(build_from_spec(NetworkSpec(block="C2f", widths=(8, 16, 16)))).splitlines()
    assert (
        "  model.2.cv1.conv: 16  # shares channels with model.2.m.0.cv2.conv: change them together" in lines
    )
    assert "  model.2.m.0.cv2.conv: 8  # shares channels with model.2.cv1.conv: change them together" in lines


def test_a_depthwise_layer_is_nobodys_partner() -> None:
    text = architecture_text(build_from_spec(NetworkSpec(down="DWConv")))
    assert "model.3.conv" not in text


@pytest.mark.parametrize("ending", ["\n", "\r", "\x85", "\u2028", "\x00", "\x7f"])
def test_a_name_cannot_end_its_comment(tiny_detector: Detector, ending: str) -> None:
    """Class names come out of files: a line break in one must not write a line of yaml."""
    name = f"box{ending}nc: 80"
    named = dataclasses.replace(tiny_detector, name=name, class_names=(name, "qrcode", "Größe 码"))
    text = architecture_text(named)
    assert yaml.safe_load(text)["nc"] == 3
    assert text.startswith("# box?nc: 80: ultralytics family")
    assert "Größe 码" in text


def test_a_file_is_not_overwritten_unless_told_to(tiny_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "nas.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError) as caught:
        write_architecture(tiny_detector, path)
    assert str(caught.value) == (
        f"{path}: it exists already\n"
        "  expected: a new file\n"
        "  what to do: choose another name, or overwrite it with --force"
    )
    assert path.read_text() == "mine"
    assert write_architecture(tiny_detector, path, force=True) == path
    assert path.read_text() == architecture_text(tiny_detector)


def test_a_place_that_cannot_be_written_to(tiny_detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"nas\.yaml: cannot be written \(.*(.|\n)*choose another path"):
        write_architecture(tiny_detector, tmp_path / "file" / "nas.yaml")


@pytest.mark.parametrize("family", Family)
def test_edited_widths_that_do_not_fit_are_refused_by_name(family: Family, tmp_path: Path) -> None:
    """One side of an addition edited, the other not: which layer, which two numbers."""
    path = write_architecture(build_detector(family), tmp_path / "nas.yaml")
    path.write_text(path.read_text().replace("model.2.cv1.conv: 4 ", "model.2.cv1.conv: 3 "))
    with pytest.raises(InputError) as caught:
        build_module(
            architecture_from_file(path, class_count=3, family=family),
            family=family,
            class_count=3,
            subject=path.name,
        )
    assert str(caught.value) == (
        "nas.yaml: model.2.m.0 (Bottleneck): it adds 3 channels of model.2.cv1.conv to 4 of model.2.m.0.cv2.conv\n"
        "  expected: equal widths on both sides of an addition\n"
        "  what to do: give model.2.cv1.conv and model.2.m.0.cv2.conv the same width"
    )


def test_edited_widths_that_fit_are_built(tiny_detector: Detector, tmp_path: Path) -> None:
    path = write_architecture(tiny_detector, tmp_path / "nas.yaml")
    text = path.read_text()
    for layer in ("model.2.cv1.conv", "model.2.m.0.cv2.conv"):
        text = text.replace(f"{layer}: 4 ", f"{layer}: 6 ")
    path.write_text(text)
    module = build_module(
        architecture_from_file(path, class_count=3), family=Family.ULTRALYTICS, class_count=3
    )
    assert module.get_submodule("model.2.cv3.conv").weight.shape[1] == 6 + 4
