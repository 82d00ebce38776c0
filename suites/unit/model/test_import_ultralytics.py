"""Checkpoints of the ultralytics package: the same predictions without its pickle."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from slimgate.errors import InputError
from slimgate.flow import Family
from slimgate.model import architecture_from_name, build_module, load_detector
from slimgate.model.ultralytics_env import DetectionModel
from torch import nn

from fixtures.detectors import CLASS_NAMES, tiny_architecture


def _network(yaml: dict[str, object]) -> nn.Module:
    torch.manual_seed(5)
    model = DetectionModel(copy.deepcopy(yaml), ch=3, nc=3, verbose=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    model.names = dict(enumerate(CLASS_NAMES))
    return model.half().eval()


def _save(model: nn.Module, path: Path) -> Path:
    """Write what the ultralytics trainer writes."""
    content = {
        "epoch": 2,
        "best_fitness": 0.5,
        "model": None,
        "ema": model,
        "updates": 9,
        "version": "8.4.190",
    }
    torch.save(content | {"train_args": {"imgsz": 96, "data": "codes.yaml"}}, path)
    return path


@pytest.fixture
def yaml() -> dict[str, object]:
    return tiny_architecture(Family.ULTRALYTICS)


def test_the_rebuilt_network_predicts_the_same(tmp_path: Path, yaml: dict[str, object]) -> None:
    model = _network(yaml)
    detector = load_detector(_save(model, tmp_path / "best.pt"))
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(detector.module(x), model.float()(x)[0])
    assert detector.family is Family.ULTRALYTICS
    assert detector.class_names == CLASS_NAMES
    assert detector.image_size == 96
    assert detector.stride == 8
    assert detector.training == {
        "epoch": 2,
        "best_fitness": 0.5,
        "version": "8.4.190",
        "settings": {"imgsz": 96},
    }


def test_an_activation_named_in_the_yaml_is_read_without_eval(
    tmp_path: Path, yaml: dict[str, object]
) -> None:
    model = _network(yaml | {"activation": "torch.nn.LeakyReLU(0.2)"})
    detector = load_detector(_save(model, tmp_path / "best.pt"))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(detector.module(x), model.float()(x)[0])
    assert {a.negative_slope for a in detector.module.modules() if isinstance(a, nn.LeakyReLU)} == {0.2}
    assert not any(isinstance(a, nn.SiLU) for a in detector.module.modules())


def test_of_an_end_to_end_head_the_one_to_many_branch_is_kept(
    tmp_path: Path, yaml: dict[str, object]
) -> None:
    model = _network(yaml | {"end2end": True})
    assert any("one2one" in name for name in model.state_dict())
    detector = load_detector(_save(model, tmp_path / "best.pt"))
    assert not any("one2one" in name for name in detector.module.state_dict())
    model.float().end2end = False
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(detector.module(x), model(x)[0])


def test_a_named_size_keeps_its_scale(tmp_path: Path) -> None:
    model = _network(architecture_from_name("yolo11n", class_count=3))
    detector = load_detector(_save(model, tmp_path / "best.pt"))
    assert list(detector.architecture["scales"]) == ["n"]
    again = build_module(detector.architecture, family=detector.family, class_count=3)
    again.load_state_dict(detector.module.state_dict(), strict=True)


def test_another_task_is_refused(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    yaml = tiny_architecture(Family.ULTRALYTICS)
    yaml["head"] = [*yaml["head"][:-1], [[7, 4], 1, "Segment", ["nc", 4, 8]]]
    model = SegmentationModel(yaml, ch=3, nc=3, verbose=False)
    with pytest.raises(InputError, match=r"best.pt: a ultralytics\.nn\.tasks\.SegmentationModel"):
        load_detector(_save(model, tmp_path / "best.pt"))


def test_loading_leaves_the_process_as_it_was() -> None:
    import os

    assert os.environ["YOLO_OFFLINE"] == "true"
    assert os.environ["YOLO_AUTOINSTALL"] == "false"
    assert "YOLO_CONFIG_DIR" in os.environ
