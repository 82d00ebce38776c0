"""The gate tested on the shipped detector: the classic mistakes, really made, and what they turn red."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.artifact import artifact_from_file, export_onnx, write_qdq
from slimgate.artifact.graph import load_onnx
from slimgate.compress import apply_operations, parse_operation
from slimgate.errors import UsageError
from slimgate.flow import Case, Detector, Measurement, Status, Step
from slimgate.model import output_convolutions
from slimgate.study.measuring import count_model, list_measurements

from fixtures.faults import Caught
from fixtures.goldens import PROVENANCE
from fixtures.planted_models import (
    FP32,
    IMAGES,
    INT8,
    PRUNED,
    Accepted,
    Bench,
    Tampered,
    accept,
    assert_failed,
    judge_case,
    measure_shares,
)


@pytest.fixture(scope="module")
def healthy(bench: Bench) -> list[Measurement]:
    """Measure both files before anything is done to them."""
    return [*bench.run(FP32, bench.fp32), *bench.run(INT8, bench.int8)]


@pytest.fixture(scope="module")
def golden(healthy: list[Measurement], bench: Bench) -> Accepted:
    """Accept the healthy run as a person would."""
    return accept(bench.folder / "golden", healthy)


def test_the_detector_is_worth_gating(healthy: list[Measurement]) -> None:
    (accuracy,) = [one.value for one in healthy if (one.case, one.metric) == (FP32, "map50_95")]
    assert accuracy > 0.5


def test_nothing_planted_is_green(bench: Bench, golden: Accepted) -> None:
    assert [verdict.message for verdict in judge_case(golden, bench.run(FP32, bench.fp32))] == []
    assert [verdict.message for verdict in judge_case(golden, bench.run(INT8, bench.int8))] == []


def test_a_case_beside_that_turns_red_is_no_success(
    bench: Bench, golden: Accepted, healthy: list[Measurement]
) -> None:
    worse = [
        replace(one, value=0.1) if one.metric == "map50_95" and one.case == INT8 else one for one in healthy
    ]
    fp32 = [one for one in healthy if one.case == FP32]
    with pytest.raises(AssertionError, match=f"another case is red:\n *{INT8} map50_95: FAIL"):
        judge_case(replace(golden, healthy=worse), fp32)
    with pytest.raises(AssertionError, match="nothing healthy stands beside"):
        judge_case(replace(golden, healthy=fp32), fp32)


@pytest.mark.fault("two classes exchanged")
def test_swapped_classes(bench: Bench, golden: Accepted, caught: Caught) -> None:
    with bench.open(bench.fp32) as runner:
        swapped = Tampered(runner, after=lambda out: out[:, [0, 1, 2, 3, 5, 4, *range(6, out.shape[1])]])
        red = judge_case(golden, bench.measure(FP32, swapped))
    first, second = bench.detector.class_names[:2]
    assert_failed(red, FP32, "map50_95", f"recall/{first}", f"recall/{second}")
    assert f"recall/{bench.detector.class_names[2]}" not in {verdict.metric for verdict in red}
    caught.verdicts(red, about="recall/")


@pytest.fixture(scope="module")
def parity_golden(bench: Bench) -> Accepted:
    """Accept the parity of both files as the study measures it."""
    return accept(
        bench.folder / "parity", [*bench.compare(FP32, bench.fp32), *bench.compare(INT8, bench.int8)]
    )


def swap_red_and_blue(images: Any) -> Any:
    return images[:, ::-1]


@pytest.mark.fault("blue for red")
def test_blue_for_red(bench: Bench, parity_golden: Accepted, caught: Caught) -> None:
    """Codes are nearly grey, so accuracy hardly moves: parity with torch on the same pixels is what tells."""
    assert judge_case(parity_golden, bench.compare(FP32, bench.fp32)) == ()
    red = judge_case(parity_golden, bench.compare(FP32, bench.fp32, before=swap_red_and_blue))
    assert_failed(red, FP32, "parity_max_abs")
    caught.verdicts(red, about="parity_max_abs")


@pytest.mark.fault("pixels in 0 to 255")
def test_pixels_in_0_to_255(bench: Bench, parity_golden: Accepted, caught: Caught) -> None:
    red = judge_case(parity_golden, bench.compare(FP32, bench.fp32, before=lambda images: images * 255))
    assert_failed(red, FP32, "parity_max_abs")
    caught.verdicts(red, about="parity_max_abs")


@pytest.mark.fault("a weight changed after the export")
def test_a_weight_changed_in_the_file(
    bench: Bench, parity_golden: Accepted, tmp_path: Path, caught: Caught
) -> None:
    import onnx

    model = load_onnx(bench.fp32.path)
    tensor = max(model.graph.initializer, key=lambda one: math.prod(one.dims))
    value = onnx.numpy_helper.to_array(tensor) * 1.1
    tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float32), tensor.name))
    onnx.save(model, str(tmp_path / "changed.onnx"))
    red = judge_case(parity_golden, bench.compare(FP32, artifact_from_file(tmp_path / "changed.onnx")))
    assert_failed(red, FP32, "parity_max_abs")
    caught.verdicts(red, about="parity_max_abs")


@pytest.mark.fault("a head convolution zeroed")
def test_a_head_convolution_zeroed(bench: Bench, golden: Accepted, tmp_path: Path, caught: Caught) -> None:
    module = copy.deepcopy(bench.detector.module)
    for convolution in output_convolutions(module):
        if convolution.out_channels == len(bench.detector.class_names):
            convolution.weight.data.zero_()
            break
    broken = export_onnx(replace(bench.detector, module=module), tmp_path / "broken.onnx")
    red = judge_case(golden, bench.run(FP32, broken))
    assert_failed(red, FP32, "map50_95", "misses")
    caught.verdicts(red, about="recall/")


@pytest.mark.fault("random calibration scales")
def test_random_calibration_scales(bench: Bench, golden: Accepted, tmp_path: Path, caught: Caught) -> None:
    random = np.random.default_rng(0)
    factors = {name: float(np.exp(random.normal(0, 2))) for name in sorted(bench.plan.ranges)}
    ranges = {
        name: (low * factors[name], high * factors[name]) for name, (low, high) in bench.plan.ranges.items()
    }
    broken = write_qdq(bench.fp32, replace(bench.plan, ranges=ranges), tmp_path / "int8.onnx", target="x86")
    red = judge_case(golden, bench.run(INT8, broken))
    assert_failed(red, INT8, "map50_95", "misses")
    caught.verdicts(red, about="map50_95")


@pytest.mark.fault("an FP32 file named int8")
def test_an_fp32_file_named_int8(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    """Its accuracy is better than INT8's, so only the share of the arithmetic tells."""
    named = tmp_path / "codes-int8.onnx"
    named.write_bytes(bench.fp32.path.read_bytes())
    healthy = [*measure_shares(INT8, bench.int8.path), *measure_shares(FP32, bench.fp32.path)]
    golden = accept(tmp_path / "golden", healthy)
    assert judge_case(golden, measure_shares(INT8, bench.int8.path)) == ()
    (verdict,) = judge_case(golden, measure_shares(INT8, named))
    assert (verdict.case, verdict.metric, verdict.status) == (INT8, "int8_share", Status.FAIL)
    assert verdict.measured == 0
    caught.verdicts([verdict])


@pytest.mark.fault("dense weights called pruned")
def test_dense_weights_called_pruned(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    step = parse_operation("prune:0.3,scope=global")
    pruned = apply_operations(bench.detector, [step])
    # The record of the operation is there and the zeros are not: what a lost in-place edit leaves behind.
    pretender = replace(bench.detector, lineage=(Step(operation=step.operation, settings=step.settings),))

    def count(detector: Detector, case: Case = PRUNED) -> list[Measurement]:
        provenance = {**PROVENANCE, "versions": {"onnxruntime": "1"}}
        record = {"model": count_model(detector)}
        found = list_measurements(case, record, artifact=None, provenance=provenance, device="cpu")
        return [one for one in found if one.metric == "nonzero_parameters"]

    golden = accept(tmp_path / "golden", [*count(pruned), *count(bench.detector, FP32)])
    assert judge_case(golden, count(pruned)) == ()
    (verdict,) = judge_case(golden, count(pretender))
    assert (verdict.case, verdict.metric, verdict.status) == (PRUNED, "nonzero_parameters", Status.FAIL)
    caught.verdicts([verdict])


@pytest.mark.fault("a time limit inside suppression")
def test_a_time_limit_inside_suppression(bench: Bench, golden: Accepted, caught: Caught) -> None:
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
    caught.verdicts(red, about="misses")


@pytest.mark.fault("fewer images")
def test_fewer_images(bench: Bench, golden: Accepted, caught: Caught) -> None:
    run = bench.run(FP32, bench.fp32, bench.dataset.head(12))
    red = judge_case(golden, run)
    assert {(verdict.case, verdict.status) for verdict in red} == {(FP32, Status.INVALID)}
    caught.verdicts(red)


@pytest.mark.fault("a protocol that asks for rect")
def test_rect_for_square_letterbox(bench: Bench, caught: Caught) -> None:
    with pytest.raises(UsageError) as raised:
        replace(bench.protocol, letterbox="rect")
    caught.error(raised.value)
