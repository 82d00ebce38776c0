"""The gate tested on the shipped detector: the classic mistakes, really made, and what they turn red."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from slimgate.artifact import export_onnx, float_head_nodes, inspect_file, write_qdq
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.quantize import QuantizationPlan, plan_quantization
from slimgate.data import Dataset, batch_from_images, load_dataset, read_image
from slimgate.detect import Protocol
from slimgate.errors import UsageError
from slimgate.flow import Artifact, Case, Detector, Measurement, Status, Step, Verdict
from slimgate.gate import (
    Acceptance,
    Matrix,
    judge_run,
    load_floors,
    load_records,
    propose_floors,
    write_records,
)
from slimgate.gate.propose import propose_header
from slimgate.measure import evaluate_runner
from slimgate.model import load_detector, output_convolutions
from slimgate.runtime import Runner, get_runtime
from slimgate.study.compare import compare_with_torch
from slimgate.study.measuring import count_model, list_measurements

from fixtures.goldens import PROVENANCE

WEIGHTS = Path(__file__).parents[2] / "fixtures" / "weights" / "codes-yolov5n.safetensors"
IMAGES = 64
FP32 = Case(study="codes", variant="fp32", runtime="onnxruntime")
INT8 = Case(study="codes", variant="int8", runtime="onnxruntime")
PRUNED = Case(study="codes", variant="prune30-global", runtime="onnxruntime")
JUDGED = ("map50_95", "map50", "recall/", "misses", "false_detections", "score_shift")


@dataclass(frozen=True)
class Bench:
    """What every fault starts from."""

    detector: Detector
    dataset: Dataset
    protocol: Protocol
    fp32: Artifact
    int8: Artifact
    plan: QuantizationPlan
    folder: Path

    def measure(self, case: Case, runner: Runner, dataset: Dataset | None = None) -> list[Measurement]:
        """Return the accuracy of a runner, as the study measures it."""
        record = evaluate_runner(runner, dataset or self.dataset, self.protocol).to_json()
        provenance = {
            **PROVENANCE,
            "weights_sha256": self.detector.weights_sha256,
            "dataset_sha256": (dataset or self.dataset).sha256,
            "images": len(dataset or self.dataset),
            "protocol": self.protocol.to_json(),
            "versions": {"onnxruntime": "1"},
            "lineage": [],
        }
        found = list_measurements(case, record, artifact=None, provenance=provenance, device="cpu")
        return [one for one in found if one.metric.startswith(JUDGED)]

    def compare(
        self, case: Case, artifact: Artifact, *, before: Callable[[Any], Any] = lambda images: images
    ) -> list[Measurement]:
        """Return the parity of a file with torch, as the study measures it; ``before`` tampers with the pixels."""
        with self.open(artifact) as runner:
            tampered = Tampered(runner, before=before)
            record = {"parity": compare_with_torch(self.detector, tampered, self.dataset, threads=2)}
        provenance = {**PROVENANCE, "versions": {"onnxruntime": "1"}}
        return list_measurements(case, record, artifact=None, provenance=provenance, device="cpu")

    def open(self, artifact: Artifact) -> Runner:
        return get_runtime("onnxruntime").open(artifact, batch=0, threads=2)

    def run(self, case: Case, artifact: Artifact, dataset: Dataset | None = None) -> list[Measurement]:
        with self.open(artifact) as runner:
            return self.measure(case, runner, dataset)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Export the shipped detector as FP32 and INT8."""
    folder = tmp_path_factory.mktemp("bench")
    detector = load_detector(WEIGHTS, image_size=320)
    fp32 = export_onnx(detector, folder / "fp32.onnx")
    # Whole splits, as the study uses them: they are drawn once and kept.
    calibration = load_dataset("codes:calib").head(16)

    def inputs() -> Iterator[npt.NDArray[np.float32]]:
        for sample in calibration.samples:
            yield batch_from_images([read_image(sample.path)], 320)[0]

    plan = plan_quantization(
        fp32.path, inputs(), float_nodes=float_head_nodes(fp32), calibration_sha256=calibration.sha256
    )
    return Bench(
        detector=detector,
        dataset=load_dataset("codes:val").head(IMAGES),
        protocol=Protocol(image_size=320),
        fp32=fp32,
        int8=write_qdq(fp32, plan, folder / "int8.onnx", target="x86"),
        plan=plan,
        folder=folder,
    )


@pytest.fixture(scope="module")
def healthy(bench: Bench) -> list[Measurement]:
    """Measure both files before anything is done to them."""
    return [*bench.run(FP32, bench.fp32), *bench.run(INT8, bench.int8)]


@pytest.fixture(scope="module")
def golden(healthy: list[Measurement], bench: Bench) -> Path:
    """Accept the healthy run as a person would."""
    return accept(bench.folder / "golden", healthy)


def accept(folder: Path, run: Sequence[Measurement]) -> Path:
    write_records(
        run, Acceptance(run_id="first", started="2026-11-20T08:00:00Z", git_commit="fedcba"), folder
    )
    (folder / "floors").mkdir(parents=True, exist_ok=True)
    text = propose_header("codes", None) + propose_floors(run, today="2026-11-20")
    (folder / "floors" / "codes.toml").write_text(text)
    return folder


def judge_case(golden: Path, run: Sequence[Measurement]) -> tuple[Verdict, ...]:
    """Return the red verdicts on the measurements of one case."""
    matrix = Matrix(cases=(run[0].case,), full=False, required=(), run_id="next")
    floors = load_floors(golden, "codes", device="cpu")
    return judge_run(run, floors, load_records(golden, "codes", device="cpu"), matrix).red()


def assert_failed(red: Sequence[Verdict], case: Case, *metrics: str) -> None:
    """Demand that these metrics failed, as failures of what was measured and not of how."""
    assert {verdict.case for verdict in red} == {case}
    assert {verdict.status for verdict in red} == {Status.FAIL}
    assert set(metrics) <= {verdict.metric for verdict in red}
    for verdict in red:
        assert "  difference " in verdict.message


class Tampered(Runner):
    """A runner with something done to what goes in or comes out."""

    def __init__(
        self,
        inner: Runner,
        *,
        before: Callable[[Any], Any] = lambda images: images,
        after: Callable[[Any], Any] = lambda predictions: predictions,
    ) -> None:
        self.inner, self.before, self.after = inner, before, after
        self.runtime, self.provider = inner.runtime, inner.provider
        self.image_size, self.batch, self.class_count = inner.image_size, inner.batch, inner.class_count

    def _infer(self, images: Any) -> Any:
        return self.after(self.inner.run(self.before(images)))


def test_the_detector_is_worth_gating(healthy: list[Measurement]) -> None:
    (accuracy,) = [one.value for one in healthy if (one.case, one.metric) == (FP32, "map50_95")]
    assert accuracy > 0.5


def test_nothing_planted_is_green(bench: Bench, golden: Path) -> None:
    assert [verdict.message for verdict in judge_case(golden, bench.run(FP32, bench.fp32))] == []
    assert [verdict.message for verdict in judge_case(golden, bench.run(INT8, bench.int8))] == []


def test_swapped_classes(bench: Bench, golden: Path) -> None:
    with bench.open(bench.fp32) as runner:
        swapped = Tampered(runner, after=lambda out: out[:, [0, 1, 2, 3, 5, 4, *range(6, out.shape[1])]])
        red = judge_case(golden, bench.measure(FP32, swapped))
    first, second = bench.detector.class_names[:2]
    assert_failed(red, FP32, "map50_95", f"recall/{first}", f"recall/{second}")
    assert f"recall/{bench.detector.class_names[2]}" not in {verdict.metric for verdict in red}


@pytest.fixture(scope="module")
def parity_golden(bench: Bench) -> Path:
    """Accept the parity of both files as the study measures it."""
    return accept(
        bench.folder / "parity", [*bench.compare(FP32, bench.fp32), *bench.compare(INT8, bench.int8)]
    )


def swap_red_and_blue(images: Any) -> Any:
    return images[:, ::-1]


def test_blue_for_red(bench: Bench, parity_golden: Path) -> None:
    """Codes are nearly grey, so accuracy hardly moves: parity with torch on the same pixels is what tells."""
    assert judge_case(parity_golden, bench.compare(FP32, bench.fp32)) == ()
    red = judge_case(parity_golden, bench.compare(FP32, bench.fp32, before=swap_red_and_blue))
    assert_failed(red, FP32, "parity_max_abs")


def test_pixels_in_0_to_255(bench: Bench, parity_golden: Path) -> None:
    red = judge_case(parity_golden, bench.compare(FP32, bench.fp32, before=lambda images: images * 255))
    assert_failed(red, FP32, "parity_max_abs")


def test_a_head_convolution_zeroed(bench: Bench, golden: Path, tmp_path: Path) -> None:
    module = copy.deepcopy(bench.detector.module)
    for convolution in output_convolutions(module):
        if convolution.out_channels == len(bench.detector.class_names):
            convolution.weight.data.zero_()
            break
    broken = export_onnx(replace(bench.detector, module=module), tmp_path / "broken.onnx")
    red = judge_case(golden, bench.run(FP32, broken))
    assert {verdict.case for verdict in red} == {FP32}
    assert {"map50_95", "misses"} & {verdict.metric for verdict in red}


def test_random_calibration_scales(bench: Bench, golden: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    factors = {name: float(np.exp(random.normal(0, 2))) for name in sorted(bench.plan.ranges)}
    ranges = {
        name: (low * factors[name], high * factors[name]) for name, (low, high) in bench.plan.ranges.items()
    }
    broken = write_qdq(bench.fp32, replace(bench.plan, ranges=ranges), tmp_path / "int8.onnx", target="x86")
    assert_failed(judge_case(golden, bench.run(INT8, broken)), INT8, "map50_95", "misses")


def test_an_fp32_file_named_int8(bench: Bench, tmp_path: Path) -> None:
    """Its accuracy is better than INT8's, so only the share of the arithmetic tells."""
    named = tmp_path / "codes-int8.onnx"
    named.write_bytes(bench.fp32.path.read_bytes())

    def measure_share(path: Path) -> list[Measurement]:
        inspection = inspect_file(path)
        record = {"artifact": {**inspection.to_json(), "facts": {}}}
        provenance = {**PROVENANCE, "versions": {"onnxruntime": "1"}}
        artifact = replace(bench.int8, path=path)
        found = list_measurements(INT8, record, artifact=artifact, provenance=provenance, device="cpu")
        return [one for one in found if one.metric == "int8_share"]

    golden = accept(tmp_path / "golden", measure_share(bench.int8.path))
    assert judge_case(golden, measure_share(bench.int8.path)) == ()
    (verdict,) = judge_case(golden, measure_share(named))
    assert (verdict.case, verdict.metric, verdict.status) == (INT8, "int8_share", Status.FAIL)
    assert verdict.measured == 0


def test_dense_weights_called_pruned(bench: Bench, tmp_path: Path) -> None:
    step = parse_operation("prune:0.3,scope=global")
    pruned = apply_operations(bench.detector, [step])
    # The record of the operation is there and the zeros are not: what a lost in-place edit leaves behind.
    pretender = replace(bench.detector, lineage=(Step(operation=step.operation, settings=step.settings),))

    def count(detector: Detector) -> list[Measurement]:
        provenance = {**PROVENANCE, "versions": {"onnxruntime": "1"}}
        record = {"model": count_model(detector)}
        found = list_measurements(PRUNED, record, artifact=None, provenance=provenance, device="cpu")
        return [one for one in found if one.metric == "nonzero_parameters"]

    golden = accept(tmp_path / "golden", count(pruned))
    assert judge_case(golden, count(pruned)) == ()
    (verdict,) = judge_case(golden, count(pretender))
    assert (verdict.case, verdict.metric, verdict.status) == (PRUNED, "nonzero_parameters", Status.FAIL)
    assert "to max" in verdict.message


def test_a_time_limit_inside_suppression(bench: Bench, golden: Path) -> None:
    """YOLOv5's NMS stops after some milliseconds and leaves the rest of the images without detections."""
    images_in_time = IMAGES * 3 // 4
    seen = 0

    def give_up(predictions: Any) -> Any:
        nonlocal seen
        seen += len(predictions)
        if seen > images_in_time:
            predictions = predictions.copy()
            predictions[:, 4:] = 0
        return predictions

    with bench.open(bench.fp32) as runner:
        red = judge_case(golden, bench.measure(FP32, Tampered(runner, after=give_up)))
    assert_failed(red, FP32, "map50_95", "misses")


def test_fewer_images(bench: Bench, golden: Path) -> None:
    run = bench.run(FP32, bench.fp32, bench.dataset.head(12))
    red = judge_case(golden, run)
    assert {verdict.status for verdict in red} == {Status.INVALID}
    assert all(f"12 images, the record has {IMAGES}: too few" in verdict.message for verdict in red)


def test_rect_for_square_letterbox(bench: Bench) -> None:
    with pytest.raises(UsageError, match="letterbox: 'rect'"):
        replace(bench.protocol, letterbox="rect")
