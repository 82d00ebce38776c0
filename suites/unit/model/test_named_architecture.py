"""Architectures by name and from files that people write; what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import (
    architecture_from_file,
    architecture_from_name,
    build_module,
    count_parameters,
    own_architectures,
)
from torch import nn

from fixtures.detectors import tiny_architecture


def _write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_what_is_shipped() -> None:
    assert own_architectures() == ("yolov5n-deconv", "yolov5n-deconv4")


@pytest.mark.parametrize(("name", "kernel"), [("yolov5n-deconv", 2), ("yolov5n-deconv4", 4)])
def test_yolov5n_with_transposed_convolutions(name: str, kernel: int) -> None:
    """Only the two upsampling layers differ from upstream's yolov5n, so its weights match by name."""
    nearest = architecture_from_name("yolov5n", class_count=3)
    learned = architecture_from_name(name, class_count=3)
    rows = [[*layout["backbone"], *layout["head"]] for layout in (nearest, learned)]
    differing = [index for index, (one, other) in enumerate(zip(*rows, strict=True)) if one != other]
    assert differing == [11, 15]
    modules = [
        build_module(layout, family=Family.ULTRALYTICS, class_count=3) for layout in (nearest, learned)
    ]
    layers = [modules[1].model[index] for index in differing]
    assert all(isinstance(layer, nn.ConvTranspose2d) for layer in layers)
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(128, 128), (64, 64)]
    assert [layer.kernel_size for layer in layers] == [(kernel, kernel)] * 2
    more = count_parameters(modules[1]).total - count_parameters(modules[0]).total
    assert more == kernel * kernel * (128 * 128 + 64 * 64) + 128 + 64
    shapes = [{n: t.shape for n, t in module.state_dict().items()} for module in modules]
    assert shapes[0].items() <= shapes[1].items()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert modules[0](x).shape == modules[1](x).shape


def test_a_name_may_end_in_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert architecture_from_name("yolov5n-deconv.yaml", class_count=2) == architecture_from_name(
        "yolov5n-deconv", class_count=2
    )
    assert architecture_from_name("yolov5n.yaml", class_count=2)["nc"] == 2


@pytest.mark.parametrize("name", ["yolov5q", "http://example.com/yolov5n", "../yolov5n", "", "none/yolov5n"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(InputError) as caught:
        architecture_from_name(name, class_count=3)
    assert str(caught.value).startswith(
        f"architecture '{name}': neither slimgate nor ultralytics ships such a yaml"
    )
    assert "a name such as yolov5n-deconv, yolov5n-deconv4, yolov5n" in str(caught.value)


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(InputError, match="did you mean 'yolov5n-deconv'"):
        architecture_from_name("yolov5n-decon", class_count=3)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("relative", [True, False])
def test_a_file_that_a_person_wrote(
    family: Family, relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout: dict[str, Any] = tiny_architecture(family)
    path = _write(tmp_path / "mine.yaml", layout)
    monkeypatch.chdir(tmp_path)
    read = architecture_from_name("mine.yaml" if relative else str(path), class_count=5, family=family)
    assert read == layout | {"nc": 5}
    module = build_module(read, family=family, class_count=5)
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 64, 64)).shape[1] == 4 + 5


def test_a_file_in_the_working_directory_is_no_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_detector: Detector
) -> None:
    _write(tmp_path / "yolov5n-deconv.yaml", dict(tiny_detector.architecture))
    monkeypatch.chdir(tmp_path)
    assert len(architecture_from_name("yolov5n-deconv", class_count=3)["backbone"]) == 10
    assert len(architecture_from_name("yolov5n-deconv.yaml", class_count=3)["backbone"]) == 5


@pytest.mark.parametrize(
    ("scales", "scale", "kept"),
    [({"n": [1, 1, 64]}, None, "n"), ({"n": [1, 1, 64], "s": [1, 2, 64]}, "s", "s")],
)
def test_one_scale_is_kept(tmp_path: Path, scales: dict[str, Any], scale: str | None, kept: str) -> None:
    layout = tiny_architecture(Family.ULTRALYTICS) | {"scales": scales} | ({"scale": scale} if scale else {})
    read = architecture_from_file(_write(tmp_path / "mine.yaml", layout), class_count=3)
    assert (read["scale"], list(read["scales"])) == (kept, [kept])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"scales": {"n": [1, 1, 64], "s": [1, 2, 64]}},
            "scales without a scale\n  expected: one scale among n, s",
        ),
        ({"scales": {"n": [1, 1, 64]}, "scale": "m"}, "scale 'm'\n  expected: one scale among n"),
        ({"scales": {}}, "scales without a scale\n  expected: one scale among none"),
        ({"bakbone": []}, "unknown keys 'bakbone'; did you mean 'backbone'\\?"),
        ({3: []}, "unknown keys 3"),
        ({"backbone": None}, "backbone is not a list of rows of four"),
        ({"activations": 3}, "activations is 3"),
        ({"head": [[-1, 1, ["Conv"], [8]]]}, r"layer 5 is \['Conv'\]"),
        ({"head": [[-1, 1, "Conv", ["__import__('os')"]]]}, "layer 5 has arguments"),
        ({"activation": "nn.Sneaky()"}, "activation 'nn.Sneaky\\(\\)': not a known activation"),
    ],
)
def test_content_that_is_no_architecture(tmp_path: Path, change: dict[Any, Any], found: str) -> None:
    path = _write(tmp_path / "mine.yaml", tiny_architecture(Family.ULTRALYTICS) | change)
    with pytest.raises(InputError, match=f"mine.yaml: .*{found}"):
        architecture_from_file(path, class_count=3)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "nothing in the file"),
        ("- 1\n- 2\n", "a list at the top"),
        ("nc: [1\nhead: 2", r"not plain yaml \(.*line 2\)"),
        ("nc: !!python/object/apply:os.system ['touch owned']", "not plain yaml .*line 1"),
        ("nc: !!timestamp nothing", "not plain yaml"),
        ("[" * 5000, "not plain yaml"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]", "an alias '\\*a' in line 2"),
    ],
)
def test_files_that_are_not_plain_yaml(
    tmp_path: Path, text: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"mine.yaml: architecture: {found}"):
        architecture_from_file(_write(tmp_path / "mine.yaml", text), class_count=3)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "No such file or directory"),
        (b"nc: \xff", r"not UTF-8 text \(byte 4\)"),
        (b" " * 1_000_001, "1,000,001 bytes"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"mine.yaml: {found}\n  expected: a YOLO yaml: a text file"):
        architecture_from_name(str(path), class_count=3)
