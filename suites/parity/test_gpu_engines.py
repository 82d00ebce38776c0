"""Engines and GPU providers, really run: selected by ``pytest -m gpu``, skipped with one reason without a GPU.

For each precision: build, prove, parity against torch, mAP, p50 and p99, pairs (FP16/FP32, INT8/FP16), NMS, memory.
None of it has been run on a GPU yet; docs/engines.md says how to make the record.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from slimgate.artifact import Profile, append_nms, build_engine
from slimgate.artifact.engine_information import executed_precisions
from slimgate.artifact.trt import KINDS, why_not_installed
from slimgate.detect import GraphNms, Protocol, detections_from_prediction, detections_from_rows
from slimgate.errors import InputError
from slimgate.measure import measure_pairs
from slimgate.runtime import RUNTIMES
from slimgate.runtime.ort_placement import check_placement, placement_from_profile

from fixtures.artifacts import random_images
from fixtures.shipped import SIZE, WEIGHTS, pictures

pytestmark = pytest.mark.gpu

MEAN_DIFFERENCE = {"fp32": 1e-5, "fp16": 2e-3, "int8": 6e-2}
"""Of boxes as a share of the image side, and of scores; see ``test_runtimes.TOLERANCES``."""

PRECISIONS = ["fp32", "fp16", "int8"]
SAMPLES_FOR_P99 = 299
"""The fewest runs whose largest time bounds the 99 % quantile with 95 % confidence."""


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


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("suffix", ["", "-cudagraph"])
def test_an_engine_agrees_with_torch(made, kind, precision, suffix, tmp_path):
    source = made.of(precision, "tensorrt")
    engine = build_engine(source, tmp_path / "m.engine", kind=kind, batch=4)
    images = random_images(4, seed=7)
    reference = _reference(made, images)
    with RUNTIMES[f"{kind}{suffix}"].open(engine) as runner:
        # A captured graph answers from its second run on.
        found = [runner.run(images) for _ in range(2)][1]
        assert runner.execution_s is not None
        assert runner.execution_s > 0
        assert runner.device_memory_bytes > 0
    assert found.shape == reference.shape
    assert np.abs(found[:, :4] - reference[:, :4]).mean() / 64 <= MEAN_DIFFERENCE[precision]
    assert np.abs(found[:, 4:] - reference[:, 4:]).mean() <= MEAN_DIFFERENCE[precision]


@pytest.mark.parametrize("suffix", ["", "-cudagraph"])
def test_a_captured_graph_does_not_answer_with_the_last_images(made, kind, suffix, tmp_path):
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind, batch=1)
    one, other = random_images(1, seed=1), random_images(1, seed=2)
    with RUNTIMES[f"{kind}{suffix}"].open(engine) as runner:
        first = runner.run(one)
        kept = first.copy()
        assert not np.array_equal(runner.run(other), kept)
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_allclose(runner.run(one), kept, atol=1e-4)


@pytest.mark.parametrize(
    "profiles", [(Profile(1, 1, 32),), (Profile(1, 1, 1), Profile(32, 32, 32))], ids=["dynamic", "two"]
)
def test_an_engine_takes_every_batch_of_its_profiles(made, kind, profiles, tmp_path):
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind, batch=profiles)
    images = random_images(32, seed=3)
    with RUNTIMES[kind].open(engine) as runner:
        together = runner.run(images)
        for count in (1, 5):  # five are filled up where there is a profile for 32 alone
            np.testing.assert_allclose(runner.run(images[:count]), together[:count], atol=1e-2, rtol=1e-3)
        with pytest.raises(InputError, match="a batch of 33, outside the engine's profiles"):
            runner.run(random_images(33))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_inspector_shows_what_the_graph_says(made, precision, tmp_path):
    """The proof on the device: what the engine's own inspector says its layers compute in."""
    if why_not_installed("tensorrt") is not None:
        pytest.skip(why_not_installed("tensorrt"))
    engine = build_engine(made.of(precision, "tensorrt"), tmp_path / "m.engine", kind="tensorrt")
    with RUNTIMES["tensorrt"].open(engine) as runner:
        executed = executed_precisions(runner.engine_information(), list(engine.facts["convolutions"]))
        assert "unknown" not in executed.values(), runner.engine_information()
        shares = runner.executed_shares()
    assert shares[precision] == pytest.approx(engine.shares[precision], abs=0.01)


def test_an_fp32_engine_named_int8_is_red(made, tmp_path):
    """The planted fault, on the device."""
    if why_not_installed("tensorrt") is not None:
        pytest.skip(why_not_installed("tensorrt"))
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind="tensorrt")
    claimed = {name: {**entry, "precision": "int8"} for name, entry in engine.facts["convolutions"].items()}
    lying = dataclasses.replace(engine, facts={**engine.facts, "convolutions": claimed})
    with (
        RUNTIMES["tensorrt"].open(lying) as runner,
        pytest.raises(InputError, match="run in another precision"),
    ):
        runner.executed_shares()


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64])
def test_an_engine_of_another_build_is_one_message(made, kind, tmp_path, damage):
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind)
    content = engine.path.read_bytes()
    engine.path.write_bytes(content[:64] + damage + content[64 : len(content) // 2])
    broken = dataclasses.replace(engine, size_bytes=engine.path.stat().st_size)
    with pytest.raises(InputError, match="cannot load it") as caught:
        RUNTIMES[kind].open(broken)
    assert "what to do: build it again on this machine" in str(caught.value)


def test_an_engine_for_another_gpu_is_one_message(made, kind, tmp_path):
    engine = build_engine(made.fp32, tmp_path / "m.engine", kind=kind)
    other = dataclasses.replace(engine, facts={**engine.facts, "compute_capability": "1.0"})
    with pytest.raises(InputError, match=r"built for GPUs of compute capability 1\.0; this one has"):
        RUNTIMES[kind].open(other)


@pytest.fixture(scope="module")
def shipped_engines(shipped, tmp_path_factory):
    """Return the shipped detector's TensorRT engines for batches 1 and 32, by precision."""
    if why_not_installed("tensorrt") is not None:
        pytest.skip(why_not_installed("tensorrt"))
    folder = tmp_path_factory.mktemp("engines")
    profiles = (Profile(1, 1, 1), Profile(32, 32, 32))
    return {
        precision: build_engine(
            shipped.of("codes-yolov5n", precision),
            folder / f"{precision}.engine",
            kind="tensorrt",
            batch=profiles,
        )
        for precision in PRECISIONS
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_map_is_that_of_torch(shipped_engines, precision):
    """On 64 pictures; the study codes-gpu evaluates all of them, calibrated as it should be."""
    from slimgate.data import load_dataset
    from slimgate.measure import evaluate_coco, predict_dataset
    from slimgate.model import load_detector

    dataset, protocol = load_dataset("codes:val", count=64), Protocol(image_size=SIZE)
    detector = load_detector(WEIGHTS / "codes-yolov5n.safetensors")
    with (
        RUNTIMES["torch"].open(detector) as reference,
        RUNTIMES["tensorrt"].open(shipped_engines[precision]) as gpu,
    ):
        expected = evaluate_coco(dataset, predict_dataset(reference, dataset, protocol)).numbers["AP"]
        found = evaluate_coco(dataset, predict_dataset(gpu, dataset, protocol)).numbers["AP"]
    assert found >= expected - {"fp32": 0.001, "fp16": 0.003, "int8": 0.02}[precision]


@pytest.mark.timing
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize(("slower", "faster"), [("fp32", "fp16"), ("fp16", "int8")])
def test_a_lower_precision_is_not_slower(shipped_engines, slower, faster, batch, record_property):
    images = np.resize(pictures("val", 8), (batch, 3, SIZE, SIZE))
    with (
        RUNTIMES["tensorrt"].open(shipped_engines[slower]) as first,
        RUNTIMES["tensorrt"].open(shipped_engines[faster]) as second,
    ):
        pair = measure_pairs(lambda: first.run(images), lambda: second.run(images), rounds=41)
    record_property(f"{faster}/{slower}", pair.ratio)
    assert pair.interval[0] <= 1.05, (
        f"{faster} takes {pair.ratio:.2f} times as long as {slower}: {pair.interval}"
    )


@pytest.mark.timing
@pytest.mark.parametrize("precision", PRECISIONS)
def test_p50_and_p99_on_the_device(shipped_engines, precision, record_property):
    image = pictures("val", 1)
    with RUNTIMES["tensorrt"].open(shipped_engines[precision]) as runner:
        for _ in range(30):
            runner.run(image)
        seconds = []
        for _ in range(SAMPLES_FOR_P99):
            runner.run(image)
            seconds.append(runner.execution_s)
        record_property("device_memory_bytes", runner.device_memory_bytes)
    middle, high = np.quantile(seconds, [0.5, 0.99])
    record_property("p50_s", middle)
    record_property("p99_s", high)
    assert 0 < middle <= high < 1


def test_lower_precisions_take_less_weight_memory(shipped_engines):
    memory = {precision: shipped_engines[precision].facts["weight_memory_bytes"] for precision in PRECISIONS}
    assert all(memory.values()), memory
    assert memory["int8"] < memory["fp16"] < memory["fp32"]


def test_nms_inside_the_engine_is_our_own(shipped, tmp_path):
    if why_not_installed("tensorrt") is not None:
        pytest.skip(why_not_installed("tensorrt"))
    raw = shipped.of("codes-yolov5n", "fp32")
    inside = append_nms(raw, tmp_path / "m.onnx", GraphNms(conf=0.25))
    plain = build_engine(raw, tmp_path / "raw.engine", kind="tensorrt", batch=0)
    rows = build_engine(inside, tmp_path / "nms.engine", kind="tensorrt", batch=0)
    protocol = Protocol(image_size=SIZE, conf=0.25, multi_label=False)
    images = pictures("val", 12)
    with RUNTIMES["tensorrt"].open(plain) as first, RUNTIMES["tensorrt"].open(rows) as second:
        for prediction, answer in zip(first.run(images), second.run(images), strict=True):
            expected = detections_from_prediction(prediction, protocol)
            found = detections_from_rows(answer, protocol, second.nms)
            # Two engines: their kernels differ in the last digits, what is kept does not.
            assert found.classes.tolist() == expected.classes.tolist()
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("onnxruntime-cuda", "CUDAExecutionProvider"),
        ("onnxruntime-tensorrt", "TensorrtExecutionProvider"),
    ],
)
def test_nothing_that_computes_runs_on_the_cpu_behind_a_gpu_provider(made, name, provider):
    reason = RUNTIMES[name].why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with RUNTIMES[name].open(made.fp32) as runner:
        assert runner.provider == provider
        assert "CPUExecutionProvider" not in runner.describe()["nodes"]


def test_a_profile_of_cuda_says_the_same(made, tmp_path):
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was built without CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "run")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(made.fp32.path), options, providers=providers)
    session.run(None, {"images": random_images(1)})
    check_placement("profile", placement_from_profile(Path(session.end_profiling())), provider=providers[0])
