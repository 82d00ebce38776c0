"""What artifacts are kept under: everything that decides them, and nothing that does not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from slimgate.data import CalibrationList
from slimgate.flow import Detector, Json, Precision
from slimgate.model import load_detector, save_checkpoint
from slimgate.study import load_study
from slimgate.study.build import Builder
from slimgate.study.int8 import Pictures
from slimgate.study.store import Store

STEP = {"operation": "swap-activation", "settings": {"activation": "relu"}, "notes": {}}


@pytest.fixture
def builder(project: Path, tiny_detector: Detector) -> Builder:
    study = load_study(project / "tiny.toml")
    detector = load_detector(project / "weights" / "tiny.safetensors")
    return Builder(study=study, detector=detector, pictures=None, store=Store(project / "store"))


def _change(project: Path, name: str, changes: Mapping[str, Json]) -> None:
    """Write the project's weights once more, with the same tensors and another description."""
    weights = project / "weights"
    shutil.copy(weights / "tiny.safetensors", weights / f"{name}.safetensors")
    described = json.loads((weights / "tiny.json").read_text())
    described["architecture"].update(changes.get("architecture", {}))
    described.update({key: value for key, value in changes.items() if key != "architecture"})
    (weights / f"{name}.json").write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("changes", "runtime"),
    [
        ({"architecture": {"activation": "nn.ReLU()"}}, "onnxruntime"),
        ({"lineage": [STEP]}, "onnxruntime"),
        ({"training": {"epochs": 12}}, "torch"),
    ],
)
def test_equal_tensors_of_another_network_are_another_artifact(builder, project, changes, runtime) -> None:
    _change(project, "other", changes)
    plain = dataclasses.replace(builder.study.variants[0], name="plain", weights="weights/tiny.safetensors")
    other = dataclasses.replace(plain, name="other", weights="weights/other.safetensors")
    assert builder.base(plain).weights_sha256 == builder.base(other).weights_sha256
    first, second = builder.artifact(plain, runtime), builder.artifact(other, runtime)
    assert first.path.parent != second.path.parent
    assert [step.to_json() for step in second.lineage] == changes.get("lineage", [])
    if "architecture" in changes:
        used = {node.op_type for node in onnx.load(second.path).graph.node}
        assert "Relu" in used
        assert "Relu" not in {node.op_type for node in onnx.load(first.path).graph.node}


def test_a_training_does_not_go_on_from_that_of_another_network(builder, project) -> None:
    _change(project, "other", {"architecture": {"activation": "nn.ReLU()"}})
    plain = builder.study.variants[0]
    other = dataclasses.replace(plain, weights="weights/other.safetensors")
    assert builder._run_folder(plain) != builder._run_folder(other)


def test_the_same_network_elsewhere_is_kept_under_the_same_key(builder, project, tmp_path) -> None:
    spec = builder.study.variants[0]
    copied = tmp_path / "elsewhere" / "tiny.safetensors"
    save_checkpoint(builder.detector, copied)
    again = dataclasses.replace(spec, weights=str(copied))
    assert builder._operation_inputs(spec) == builder._operation_inputs(again)


class Seen(Exception):  # noqa: N818 - no error: the key is all that is asked for
    """Ends a build as soon as its key is known."""


class Keys(Store):
    """A store that keeps nothing of one kind, and tells its key's inputs."""

    def __init__(self, root: Path, kind: str) -> None:
        super().__init__(root)
        self.kind, self.inputs = kind, {}

    def artifact(self, inputs, build):
        if inputs["kind"] == self.kind:
            self.inputs = dict(inputs)
            raise Seen
        return super().artifact(inputs, build)


def _inputs(builder: Builder, kind: str, **changes: Json) -> Mapping[str, Json]:
    builder.store = Keys(builder.store.root, kind)
    with pytest.raises(Seen):
        builder.artifact(dataclasses.replace(builder.study.variants[0], **changes), "onnxruntime")
    return builder.store.inputs


def test_what_onnxruntime_folds_is_kept_by_its_version(builder) -> None:
    inputs = _inputs(builder, "onnx-fp32")
    assert inputs["versions"]["onnxruntime"] or inputs["versions"]["onnxruntime-gpu"]
    assert "measuring" not in inputs
    measured = _inputs(builder, "onnx-fp32", operations=("prune:0.3",))
    assert measured["measuring"]["versions"]["openvino"]


def test_int8_that_is_decided_by_map_is_kept_by_what_measured_it(builder) -> None:
    calibration = CalibrationList(paths=(), sha256="c", dataset_sha256="d")
    builder.pictures = Pictures(calibration=calibration, threads=3)
    plain = _inputs(builder, "onnx-int8", precision=Precision.INT8)
    assert plain["versions"]["onnxruntime"] or plain["versions"]["onnxruntime-gpu"]
    assert "measuring" not in plain
    scored = _inputs(builder, "onnx-int8", precision=Precision.INT8, int8={"budget": 0.01})
    assert scored["measuring"]["versions"]["hotcoco"]
    assert scored["threads"] == 3
