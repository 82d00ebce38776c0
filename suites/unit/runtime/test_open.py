"""Any MODEL, opened for predict and val."""

import numpy as np
import pytest
from slimgate.artifact import build_engine
from slimgate.artifact.trt import why_not_installed
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.model import save_checkpoint
from slimgate.runtime import open_model
from slimgate.runtime.gpu import why_no_gpu

from fixtures.artifacts import random_images


def test_a_checkpoint_opens_in_torch(artifacts, tmp_path):
    path = save_checkpoint(artifacts.detector, tmp_path / "model")
    opened = open_model(path)
    assert opened.label == "model.safetensors @ torch"
    assert (opened.class_names, opened.image_size) == (artifacts.detector.class_names, 64)


def test_a_checkpoint_opens_at_another_size(artifacts, tmp_path):
    path = save_checkpoint(artifacts.detector, tmp_path / "model")
    opened = open_model(path, image_size=96)
    assert opened.image_size == 96
    assert opened.runner.run(np.zeros((1, 3, 96, 96), np.float32)).shape == (1, 7, 24 * 24 + 12 * 12)


@pytest.mark.parametrize("runtime", [None, "onnxruntime", "openvino"])
def test_onnx_opens_in_onnxruntime_or_as_asked(artifacts, runtime):
    opened = open_model(artifacts.fp32.path, runtime=runtime)
    with opened.runner as runner:
        assert runner.runtime == (runtime or "onnxruntime")
        assert runner.run(random_images(2)).shape == (2, 7, 320)


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
@pytest.mark.skipif(why_no_gpu() is None, reason="this machine has a GPU")
def test_an_engine_opens_in_its_own_kind(artifacts, tmp_path):
    engine = build_engine(artifacts.fp32, tmp_path / "m.engine", kind="tensorrt-rtx")
    with pytest.raises(UnavailableError, match="runtime 'tensorrt-rtx': no NVIDIA GPU on this machine"):
        open_model(engine.path)


def test_a_runtime_that_does_not_run_this_kind(artifacts):
    with pytest.raises(UsageError, match=r"does not run fp32\.onnx \(format 'onnx'\)") as caught:
        open_model(artifacts.fp32.path, runtime="torch")
    assert "expected: one of onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, openvino" in str(
        caught.value
    )


def test_an_unknown_runtime_is_named_before_anything_loads(tmp_path):
    with pytest.raises(UsageError, match="runtime 'tensorflow': unknown runtime"):
        open_model(tmp_path / "missing.onnx", runtime="tensorflow")


def test_another_size_than_the_file_is_fixed_to(artifacts):
    with pytest.raises(InputError, match=r"fixed to 64 pixels, not 320\n  expected: image size 64"):
        open_model(artifacts.fp32.path, image_size=320)


@pytest.mark.parametrize(("name", "text"), [("notes.txt", "suffix '.txt'"), ("gone.tflite", "no such file")])
def test_other_files(tmp_path, name, text):
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(InputError, match=text) as caught:
        open_model(tmp_path / name)
    assert "expected: a model: .safetensors, .json, .pt, .onnx, .engine" in str(caught.value)
