"""Legacy YOLOv5 checkpoints: rebuilt networks compute what the released ones do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from slimgate.errors import InputError
from slimgate.flow import Family
from slimgate.model import build_module, hash_weights, load_detector
from slimgate.model.ultralytics_env import ASSETS
from torch import nn

from fixtures import yolov5

RELEASES = ("csp", "v4.0", "v5.0", "v6.0", "v7.0")


@pytest.fixture
def half_network() -> Callable[[str], yolov5.Model]:
    """Return a maker of networks with the rounding that a trainer's float16 checkpoint has."""

    def make(release: str) -> yolov5.Model:
        torch.manual_seed(3)
        return yolov5.network(release).half()

    return make


def _expected(model: yolov5.Model, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        rows = model.float()(x)
    return torch.cat((rows[..., :4], rows[..., 4:5] * rows[..., 5:]), 2).transpose(1, 2)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_release_computes_what_it_did(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model], release: str, key: str
) -> None:
    model = half_network(release)
    detector = load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt", key=key))
    # Neither square nor of the size trained at: grid and strides must follow the input.
    x = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = detector.module(x)
    assert found.shape == (2, 4 + 2, 2 * (16 * 24 + 8 * 12))
    torch.testing.assert_close(found, _expected(model, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_known_of_a_release(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model], release: str
) -> None:
    detector = load_detector(yolov5.save_checkpoint(half_network(release), tmp_path / "best.pt"))
    assert detector.family is Family.YOLOV5_ANCHOR
    assert detector.name == "best"
    assert detector.source == "best.pt"
    assert detector.class_names == ("datamatrix", "qrcode")
    assert detector.stride == 8
    assert detector.image_size == 64
    assert detector.training == {"epoch": 7, "date": "2021-01-05T12:00:00", "settings": {"imgsz": 64}}
    assert detector.weights_sha256 == hash_weights(detector.module)
    assert not detector.module.training
    assert {p.dtype for p in detector.module.parameters()} == {torch.float32}
    assert {b.eps for b in detector.module.modules() if isinstance(b, nn.BatchNorm2d)} == {1e-3}


def test_a_training_record_holds_only_what_json_can(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model]
) -> None:
    unfinished = {"best_fitness": float("nan"), "opt": {"imgsz": 64, "lr0": float("inf"), "cfg": Path("a")}}
    detector = load_detector(yolov5.save_checkpoint(half_network("v7.0"), tmp_path / "best.pt", **unfinished))
    assert detector.training == {"epoch": 7, "date": "2021-01-05T12:00:00", "settings": {"imgsz": 64}}


@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.1), nn.Hardswish(), nn.ReLU()])
def test_activations_come_from_the_layers_not_from_the_yaml(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model], activation: nn.Module
) -> None:
    model = half_network("v4.0")
    for layer in model.modules():
        if isinstance(layer, yolov5.Conv):
            layer.act = activation
    detector = load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))
    assert "SiLU" not in str(detector.module)
    assert detector.architecture["activation"].startswith(f"nn.{type(activation).__name__}(")
    assert "activations" not in detector.architecture
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(detector.module(x), _expected(model, x), rtol=0, atol=1e-5)


def test_a_single_layer_may_have_its_own_activation(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model]
) -> None:
    detector = load_detector(yolov5.save_checkpoint(half_network("csp"), tmp_path / "best.pt"))
    assert detector.architecture["activations"] == {
        "model.2.act": "nn.LeakyReLU(0.1)",
        "model.8.act": "nn.LeakyReLU(0.1)",
    }


def test_an_unknown_activation_is_named(tmp_path: Path, half_network: Callable[[str], yolov5.Model]) -> None:
    model = half_network("v7.0")
    model.model[1].act = nn.Softplus()
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.activation\.Softplus at model\.1\.act"):
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))


@pytest.mark.parametrize("release", ["v5.0", "v7.0"])
def test_anchors_fitted_by_training_count_not_those_of_the_yaml(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model], release: str
) -> None:
    model = half_network(release)
    head = model.model[-1]
    head.anchors *= 1.5
    if release == "v5.0":
        head.anchor_grid *= 1.5
    detector = load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))
    assert detector.architecture["anchors"][0] == [[7.5, 9.0], [13.5, 21.0]]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(detector.module(x), _expected(model, x), rtol=0, atol=1e-5)


def test_the_architecture_rebuilds_the_network(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model]
) -> None:
    detector = load_detector(yolov5.save_checkpoint(half_network("csp"), tmp_path / "best.pt"))
    again = build_module(detector.architecture, family=detector.family, class_count=2)
    again.load_state_dict(detector.module.state_dict(), strict=True)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), detector.module(x))


def test_weights_that_do_not_fit_the_yaml_are_named(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model]
) -> None:
    model = half_network("v7.0")
    model.model[1] = yolov5.Conv(8, 24, 3, 2).half()
    del model.model[3].bn
    with pytest.raises(InputError) as caught:
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))
    assert "model.3.bn.weight is missing" in str(caught.value)
    assert "model.1.conv.weight is (24, 8, 3, 3), not (16, 8, 3, 3)" in str(caught.value)


def test_a_network_without_a_head(tmp_path: Path, half_network: Callable[[str], yolov5.Model]) -> None:
    model = half_network("v7.0")
    model.model = nn.Sequential(*list(model.model)[:-1])
    with pytest.raises(
        InputError, match=r"0 heads models\.yolo\.Detect with anchors and strides among models"
    ):
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))


def test_a_network_without_a_yaml(tmp_path: Path, half_network: Callable[[str], yolov5.Model]) -> None:
    model = half_network("v7.0")
    del model.yaml
    with pytest.raises(InputError, match="a network without the yaml it was built from"):
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a"], "1 names"), ({0: "a", 2: "b"}, r"\['a', None\]"), (["a", 7], r"\['a', 7\]")],
)
def test_class_names_that_do_not_fit(
    tmp_path: Path, half_network: Callable[[str], yolov5.Model], names: object, found: str
) -> None:
    model = half_network("v7.0")
    model.names = names
    with pytest.raises(InputError, match=f"best.pt: class names: {found}"):
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))


def test_a_yaml_cannot_name_a_function(tmp_path: Path, half_network: Callable[[str], yolov5.Model]) -> None:
    model = half_network("v7.0")
    model.yaml["backbone"][1][2] = "__import__('os').system"
    model.yaml["activation"] = "nn.SiLU()"
    with pytest.raises(InputError, match=r"layer 1 is \"__import__"):
        load_detector(yolov5.save_checkpoint(model, tmp_path / "best.pt"))


def test_the_official_checkpoint_finds_what_upstream_finds(official_yolov5n: Path) -> None:
    detector = load_detector(official_yolov5n)
    image = cv2.imread(str(ASSETS / "bus.jpg"))[:, :, ::-1]
    # 810x1080 in upstream's rectangular letterbox of 640: no padding is left over.
    image = cv2.resize(image, (480, 640), interpolation=cv2.INTER_LINEAR)
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        rows = detector.module(x)[0].T
    scores, classes = rows[:, 4:].max(1)
    boxes = torchvision.ops.box_convert(rows[:, :4], "cxcywh", "xyxy")
    sure = scores > 0.25
    kept = torchvision.ops.batched_nms(boxes[sure], scores[sure], classes[sure], 0.45)
    found = [
        (detector.class_names[int(classes[sure][i])], pytest.approx(float(scores[sure][i]), abs=0.01))
        for i in kept
    ]
    # yolov5 7.0's own network on the same pixels: .8665 .7657 .7618 .4786 and .4348.
    assert found == [("person", 0.87), ("person", 0.77), ("person", 0.76), ("person", 0.48), ("bus", 0.44)]


def test_the_official_checkpoint_is_rebuilt_on_the_layers_of_the_u_model(official_yolov5n: Path) -> None:
    detector = load_detector(official_yolov5n)
    assert len(detector.class_names) == 80
    assert detector.class_names[5] == "bus"
    assert len(detector.module.state_dict()) == 349
    assert detector.stride == 32
    assert detector.image_size == 640
