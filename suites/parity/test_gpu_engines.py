"""Engines and GPU providers, really run: selected by ``pytest -m gpu``, skipped with one reason without a GPU."""

import json

import numpy as np
import pytest
from slimgate.artifact import build_engine
from slimgate.artifact.trt import KINDS, why_not_installed
from slimgate.errors import InputError
from slimgate.runtime import RUNTIMES

from fixtures.artifacts import random_images

pytestmark = pytest.mark.gpu

MEAN_DIFFERENCE = {"fp32": 1e-5, "fp16": 2e-3, "int8": 6e-2}
"""Of boxes as a share of the image side, and of scores; see ``test_runtimes.TOLERANCES``."""


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    reason = why_not_installed(request.param)
    if reason is not None:
        pytest.skip(reason)
    return request.param


@pytest.fixture(params=["ultralytics", "legacy"])
def made(request, artifacts, legacy_artifacts):
    return artifacts if request.param == "ultralytics" else legacy_artifacts


def _reference(made, images):
    with RUNTIMES["torch"].open(made.detector, threads=1) as runner:
        return runner.run(images)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_agrees_with_torch(made, kind, precision, tmp_path):
    source = made.of(precision, "tensorrt")
    engine = build_engine(source, tmp_path / "m.engine", kind=kind, batch=4)
    images = random_images(4, seed=7)
    reference = _reference(made, images)
    with RUNTIMES[kind].open(engine) as runner:
        found = runner.run(images)
        assert runner.execution_s is not None
        assert runner.execution_s > 0
    assert found.shape == reference.shape
    assert np.abs(found[:, :4] - reference[:, :4]).mean() / 64 <= MEAN_DIFFERENCE[precision]
    assert np.abs(found[:, 4:] - reference[:, 4:]).mean() <= MEAN_DIFFERENCE[precision]


def test_a_dynamic_engine_takes_1_to_32_images(made, kind, tmp_path):
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind, batch=0)
    images = random_images(32, seed=3)
    with RUNTIMES[kind].open(engine) as runner:
        together = runner.run(images)
        np.testing.assert_allclose(runner.run(images[:1]), together[:1], atol=1e-2, rtol=1e-3)
        with pytest.raises(InputError, match="outside the engine's profiles"):
            runner.run(random_images(33))


def test_the_inspector_shows_int8_convolutions(made, tmp_path):
    """The proof on the device: what the engine's own inspector says its layers compute in."""
    if why_not_installed("tensorrt") is not None:
        pytest.skip(why_not_installed("tensorrt"))
    engine = build_engine(made.int8("tensorrt"), tmp_path / "m.engine", kind="tensorrt")
    with RUNTIMES["tensorrt"].open(engine) as runner:
        layers = json.loads(runner.engine_information())["Layers"]
    convolutions = [layer for layer in layers if "conv" in str(layer.get("LayerType", "")).lower()]
    eight_bit = [
        layer
        for layer in convolutions
        if any("Int8" in str(one.get("Format", one)) for one in layer["Inputs"])
    ]
    assert convolutions
    assert len(eight_bit) / len(convolutions) > 0.5


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64])
def test_an_engine_of_another_build_is_one_message(made, kind, tmp_path, damage):
    import dataclasses

    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind)
    content = engine.path.read_bytes()
    engine.path.write_bytes(content[:64] + damage + content[64 : len(content) // 2])
    broken = dataclasses.replace(engine, size_bytes=engine.path.stat().st_size)
    with pytest.raises(InputError, match="cannot load it") as caught:
        RUNTIMES[kind].open(broken)
    assert "what to do: build it again on this machine" in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_no_convolution_of_a_gpu_provider_runs_on_the_cpu(made, name):
    reason = RUNTIMES[name].why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with RUNTIMES[name].open(made.fp32) as runner:
        assert (
            runner.provider
            == {
                "onnxruntime-cuda": "CUDAExecutionProvider",
                "onnxruntime-tensorrt": "TensorrtExecutionProvider",
            }[name]
        )
        assert "CPUExecutionProvider" not in runner.describe()["nodes"]
