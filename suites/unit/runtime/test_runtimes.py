"""Each runtime's own promises: what it takes, what really ran, and what it says when it cannot."""

import dataclasses
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.runtime import RUNTIMES, get_runtime
from slimgate.runtime.base import Runner
from slimgate.runtime.gpu import NO_GPU, why_no_gpu

from fixtures.artifacts import random_images

CPU_ONNX = [
    name for name, runtime in RUNTIMES.items() if runtime.device == "cpu" and "onnx" in runtime.formats
]
without_gpu = pytest.mark.skipif(why_no_gpu() is None, reason="this machine has a GPU")


def _skip_unavailable(name):
    reason = RUNTIMES[name].why_unavailable()
    if reason is not None:
        pytest.skip(reason)


def test_unknown_runtime():
    with pytest.raises(UsageError, match="runtime 'onnxruntme': unknown runtime; did you mean 'onnxruntime'"):
        get_runtime("onnxruntme")


def test_importing_the_registry_loads_no_framework():
    code = (
        "import sys, slimgate.runtime.base, slimgate.runtime.ort, slimgate.runtime.openvino_cpu;"
        "print([m for m in ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_a_runtime_is_registered_under_its_name(name):
    runtime = RUNTIMES[name]
    assert runtime.name == name
    assert runtime.device in ("cpu", "gpu")
    assert set(runtime.formats) <= {"slimgate", "onnx", "engine"}


@pytest.mark.parametrize("name", CPU_ONNX)
def test_what_really_ran_is_described(artifacts, name):
    _skip_unavailable(name)
    with RUNTIMES[name].open(artifacts.fp32, threads=1) as runner:
        described = runner.describe()
        assert described["runtime"] == runner.runtime == name
        assert (
            described["provider"]
            == runner.provider
            == {"onnxruntime": "CPUExecutionProvider"}.get(name, "CPU")
        )
        assert described["threads"] == 1
        assert described["version"]


def test_onnxruntime_knows_where_every_node_runs(artifacts):
    import onnx

    with RUNTIMES["onnxruntime"].open(artifacts.fp32, threads=1) as runner:
        placed = {provider for provider, _ in runner.placement.values()}
        operators = {operator for _, operator in runner.placement.values()}
    assert placed == {"CPUExecutionProvider"}
    assert operators <= {node.op_type for node in onnx.load(artifacts.fp32.path).graph.node} | {"QuickGelu"}


def test_a_session_that_fell_back_is_refused(artifacts, monkeypatch):
    """The planted fault: a GPU runtime whose session came up on the CPU."""
    from slimgate.runtime.ort import OnnxRuntimeRunner

    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    with pytest.raises((UnavailableError, InputError)) as caught:
        OnnxRuntimeRunner(
            artifacts.fp32,
            name="onnxruntime-cuda",
            providers=("AzureExecutionProvider", "CPUExecutionProvider"),
            batch=1,
            threads=1,
        )
    assert "what to do: " in str(caught.value)


@without_gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="this onnxruntime was built without CUDA",
)
@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_a_gpu_provider_that_is_built_in_but_has_no_gpu(artifacts, provider, capfd):
    """Past the check for a GPU: onnxruntime itself would go on with the CPU, and only log it."""
    from slimgate.runtime.ort import OnnxRuntimeRunner

    with pytest.raises((UnavailableError, InputError)) as caught:
        OnnxRuntimeRunner(
            artifacts.fp32,
            name="onnxruntime-gpu",
            providers=(provider, "CPUExecutionProvider"),
            batch=1,
            threads=1,
        )
    capfd.readouterr()  # onnxruntime's own log
    assert f"fell back to CPUExecutionProvider\n  expected: {provider}" in str(caught.value)


@pytest.mark.parametrize("target", ["openvino", "x86"])
def test_openvino_runs_int8_convolutions_in_8_bits(artifacts, target):
    with RUNTIMES["openvino"].open(artifacts.int8(target), threads=1) as runner:
        types = [layer.precision for layer in runner.convolutions]
    assert types.count("int8") / len(types) > 0.6, types


def test_torch_gives_its_threads_back(artifacts):
    before = torch.get_num_threads()
    with RUNTIMES["torch"].open(artifacts.detector, threads=before + 1) as runner:
        runner.run(random_images(1))
        assert runner.describe()["threads"] == before + 1
    assert torch.get_num_threads() == before


def test_torch_opens_a_checkpoint_file(artifacts, tmp_path):
    from slimgate.artifact import hash_file
    from slimgate.model import save_checkpoint

    path = save_checkpoint(artifacts.detector, tmp_path / "model")
    saved = dataclasses.replace(artifacts.fp32, path=path, format="slimgate", sha256=hash_file(path))
    images = random_images(2)
    with RUNTIMES["torch"].open(saved) as one, RUNTIMES["torch"].open(artifacts.detector) as other:
        np.testing.assert_array_equal(one.run(images), other.run(images))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"])
def test_a_detector_is_no_file(artifacts, name):
    with pytest.raises(InputError, match=f"format 'slimgate', which {name} does not run") as caught:
        RUNTIMES[name].open(artifacts.detector)
    assert str(caught.value).startswith("detector 'tiny-ultralytics': ")


def test_torch_does_not_run_onnx(artifacts):
    with pytest.raises(
        InputError, match="format 'onnx', which torch does not run\n  expected: one of slimgate"
    ):
        RUNTIMES["torch"].open(artifacts.fp32)


@pytest.mark.parametrize("name", CPU_ONNX)
def test_a_damaged_file_is_one_message(artifacts, tmp_path, name):
    _skip_unavailable(name)
    path = tmp_path / "cut.onnx"
    path.write_bytes(artifacts.fp32.path.read_bytes()[:5000])
    damaged = dataclasses.replace(artifacts.fp32, path=path)
    with pytest.raises(InputError, match=rf"cut\.onnx: {name} cannot load it \(") as caught:
        RUNTIMES[name].open(damaged)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("onnxruntime", "ort.placement_from_session"),
        ("openvino", "openvino_cpu.executed_convolutions"),
        ("openvino-bf16", "openvino_cpu.executed_convolutions"),
    ],
)
def test_what_a_runtime_raises_after_it_has_read_a_file_is_one_message(artifacts, monkeypatch, name, step):
    _skip_unavailable(name)

    def fail(_):
        raise RuntimeError("\nno room for the request\nmore")

    monkeypatch.setattr(f"slimgate.runtime.{step}", fail)
    with pytest.raises(InputError, match=rf"{name} cannot load it \(no room for the request\)") as caught:
        RUNTIMES[name].open(artifacts.fp32, threads=1)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt-rtx"])
def test_what_tensorrt_raises_before_there_is_an_engine_is_one_message(artifacts, monkeypatch, kind):
    from slimgate.runtime import tensorrt_engine

    def fail(_):
        raise RuntimeError("CUDA initialization failure with error: 35")

    monkeypatch.setattr(tensorrt_engine, "_why_unavailable", lambda _: None)
    monkeypatch.setattr(tensorrt_engine, "load_trt", fail)
    with pytest.raises(InputError, match=rf"{kind} cannot load it \(CUDA initialization failure"):
        RUNTIMES[kind].open(_engine_of(artifacts, kind))


def test_an_engine_without_a_context_or_an_inspector_is_one_message():
    from slimgate.runtime.tensorrt_engine import TensorRtRunner

    class Nothing:
        def create_execution_context(self):
            return None

        def create_engine_inspector(self):
            return None

    runner = TensorRtRunner.__new__(TensorRtRunner)
    runner.runtime, runner._engine, runner._captures_itself = "tensorrt", Nothing(), False
    with pytest.raises(InputError, match=r"engine on tensorrt: no execution context\n.*\n.*free memory"):
        runner._create_context()
    runner._context = None
    with pytest.raises(InputError, match="engine on tensorrt: its inspector does not answer"):
        runner.engine_information()


@without_gpu
@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_gpu_providers_say_why_not(artifacts, name):
    assert RUNTIMES[name].why_unavailable() == NO_GPU
    with pytest.raises(UnavailableError) as caught:
        RUNTIMES[name].open(artifacts.fp32)
    assert f"runtime '{name}': {NO_GPU}" in str(caught.value)
    assert "what to do: choose runtime 'onnxruntime', or run on a GPU machine" in str(caught.value)


def _engine_of(artifacts, kind):
    return dataclasses.replace(artifacts.fp32, format="engine", facts={"kind": kind})


@without_gpu
@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt-rtx"])
def test_engines_say_why_not(artifacts, kind):
    reason = RUNTIMES[kind].why_unavailable()
    assert reason in (NO_GPU, f"the package '{kind}' is not installed")
    with pytest.raises(UnavailableError, match=f"runtime '{kind}': {reason}") as caught:
        RUNTIMES[kind].open(_engine_of(artifacts, kind))
    assert f"slimgate[{kind}] installed" in str(caught.value)


def test_an_engine_of_the_other_kind(artifacts):
    with pytest.raises(
        InputError, match="built by tensorrt-rtx\n  expected: an engine of tensorrt"
    ) as caught:
        RUNTIMES["tensorrt"].open(_engine_of(artifacts, "tensorrt-rtx"))
    assert "run it with runtime 'tensorrt-rtx'" in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 3, 64, 64), np.float64),
        np.zeros((1, 3, 64, 32), np.float32),
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((3, 64, 64), np.float32),
        np.zeros((0, 3, 64, 64), np.float32),
    ],
)
def test_images_of_another_type_or_shape(artifacts, images):
    with RUNTIMES["onnxruntime"].open(artifacts.fp32) as runner, pytest.raises(InputError) as caught:
        runner.run(images)
    assert f"input of onnxruntime: {images.dtype} {images.shape}" in str(caught.value)
    assert "expected: float32 ('n', 3, 64, 64)" in str(caught.value)


@pytest.mark.parametrize("name", [*CPU_ONNX, "torch"])
def test_a_runtime_that_fails_while_it_runs_is_one_message(artifacts, name, capfd):
    _skip_unavailable(name)
    source = artifacts.detector if name == "torch" else artifacts.fp32
    with RUNTIMES[name].open(source, threads=1) as runner:
        runner.image_size, runner.rectangle_stride = 65, 0  # past our own check: the runtime has to refuse it
        with pytest.raises(InputError, match=rf"run on {name}: failed on a batch of 2 \(\w+: .+\)") as caught:
            runner.run(np.zeros((2, 3, 65, 65), np.float32))
        assert caught.value.__cause__ is not None
        runner.image_size = 64
        assert runner.run(random_images(2)).shape[0] == 2
    capfd.readouterr()  # onnxruntime's own log
    assert len(str(caught.value).splitlines()) == 3
    assert "expected: predictions\n  what to do: free memory or take smaller batches" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), "run on planted: failed on a batch of 1 (MemoryError)"),
        (RuntimeError("\nCUDA out of memory\nmore"), "batch of 1 (RuntimeError: CUDA out of memory)"),
        (InputError("engine", found="no profile", expected="one", action="build"), "engine: no profile"),
    ],
)
def test_what_a_runtime_raises_is_told_by_its_first_line(error, found):
    class Planted(Runner):
        runtime, image_size, batch, class_count = "planted", 64, 0, 1

        def _infer(self, images):
            raise error

    with pytest.raises(InputError) as caught:
        Planted().run(np.zeros((1, 3, 64, 64), np.float32))
    assert found in str(caught.value).splitlines()[0]


def test_another_batch_than_the_one_opened_for(artifacts):
    with RUNTIMES["openvino"].open(artifacts.fp32, batch=2) as runner:
        with pytest.raises(InputError, match=r"expected: float32 \(2, 3, 64, 64\)"):
            runner.run(random_images(3))
        assert runner.run(random_images(2)).shape[0] == 2


def test_predictions_of_another_shape_are_refused(artifacts):
    with RUNTIMES["onnxruntime"].open(artifacts.fp32) as runner:
        runner.class_count = 80
        with pytest.raises(InputError, match=r"predictions of onnxruntime: float32 \(1, 7, 320\)") as caught:
            runner.run(random_images(1))
    assert "expected: float32 (1, 84, 'candidates')" in str(caught.value)


def test_non_contiguous_images_give_the_same_predictions(artifacts):
    images = random_images(2)
    turned = np.asfortranarray(images)
    for name in ("torch", "onnxruntime", "openvino"):
        source = artifacts.detector if name == "torch" else artifacts.fp32
        with RUNTIMES[name].open(source, threads=1) as runner:
            np.testing.assert_array_equal(runner.run(turned), runner.run(images))


def test_predictions_are_not_overwritten_by_the_next_run(artifacts):
    one, other = random_images(1, seed=1), random_images(1, seed=2)
    for name in ("torch", "onnxruntime", "openvino"):
        source = artifacts.detector if name == "torch" else artifacts.fp32
        with RUNTIMES[name].open(source, threads=1) as runner:
            first = runner.run(one)
            kept = first.copy()
            assert not np.array_equal(runner.run(other), kept)
            np.testing.assert_array_equal(first, kept)
