"""Faults in the network and in what follows it: weights, suppression, precision, calibration, pruning."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slimgate.artifact import export_onnx, write_qdq
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.quantize import QuantizationPlan, plan_quantization
from slimgate.data import Dataset
from slimgate.detect import GraphNms, decode, detections_from_rows
from slimgate.errors import InputError, SlimgateError
from slimgate.flow import Case, Detector, Family, Measurement, Status, Step
from slimgate.gate import Claim, Matrix, judge_run
from slimgate.gate.floors import Floors
from slimgate.gate.records import Records
from slimgate.model import load_detector, save_checkpoint

from fixtures.detectors import build_detector
from fixtures.faults import Caught
from fixtures.planted_models import (
    FP32,
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
def few(bench: Bench) -> Dataset:
    return bench.dataset.head(16)


@pytest.fixture(scope="module")
def healthy(bench: Bench, few: Dataset) -> list[Measurement]:
    return [*bench.run(FP32, bench.fp32, few), *bench.run(INT8, bench.int8, few)]


@pytest.fixture(scope="module")
def golden(healthy: list[Measurement], tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    return accept(tmp_path_factory.mktemp("network"), healthy)


def rerun(bench: Bench, few: Dataset, golden: Accepted, module: Any, path: Path) -> Any:
    """Return what is red about the FP32 case when its file is made of another module."""
    broken = export_onnx(replace(bench.detector, module=module), path)
    return judge_case(golden, bench.run(FP32, broken, few))


@pytest.mark.fault("statistics of a batch norm lost")
def test_statistics_lost(
    bench: Bench, few: Dataset, golden: Accepted, tmp_path: Path, caught: Caught
) -> None:
    """What a state dict without its buffers leaves behind."""
    module = copy.deepcopy(bench.detector.module)
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    norms[3].reset_running_stats()
    red = rerun(bench, few, golden, module, tmp_path / "broken.onnx")
    assert_failed(red, FP32, "map50_95")
    caught.verdicts(red, about="map50_95")


@pytest.mark.fault("one weight that is NaN")
def test_nan_in_a_weight(
    bench: Bench, few: Dataset, golden: Accepted, tmp_path: Path, caught: Caught
) -> None:
    module = copy.deepcopy(bench.detector.module)
    next(module.parameters()).data[0, 0, 0, 0] = math.nan
    with pytest.raises(InputError) as raised:
        rerun(bench, few, golden, module, tmp_path / "broken.onnx")
    caught.error(raised.value)


def refuse_to_load(path: Path) -> SlimgateError:
    with pytest.raises(SlimgateError) as raised:
        load_detector(path)
    return raised.value


@pytest.mark.fault("one bit of a checkpoint turned")
def test_a_bit_turned(tiny_detector: Detector, tmp_path: Path, caught: Caught) -> None:
    path = save_checkpoint(tiny_detector, tmp_path / "weights")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    caught.error(refuse_to_load(path))


@pytest.mark.fault("a checkpoint cut short")
def test_a_checkpoint_cut_short(tiny_detector: Detector, tmp_path: Path, caught: Caught) -> None:
    path = save_checkpoint(tiny_detector, tmp_path / "weights")
    path.write_bytes(path.read_bytes()[:-100])
    caught.error(refuse_to_load(path))


@pytest.mark.fault("the description of another checkpoint beside the weights")
def test_another_description(tiny_detector: Detector, tmp_path: Path, caught: Caught) -> None:
    path = save_checkpoint(tiny_detector, tmp_path / "weights")
    other = save_checkpoint(build_detector(tiny_detector.family, seed=1), tmp_path / "other")
    path.with_suffix(".json").write_text(other.with_suffix(".json").read_text())
    caught.error(refuse_to_load(path))


@pytest.mark.fault("suppression left out")
def test_no_suppression(
    bench: Bench, few: Dataset, golden: Accepted, monkeypatch: pytest.MonkeyPatch, caught: Caught
) -> None:
    monkeypatch.setattr(
        decode,
        "nms",
        lambda boxes, scores, classes, iou, max_det: np.argsort(-scores, kind="stable")[:max_det],
    )
    red = judge_case(golden, bench.run(FP32, bench.fp32, few))
    assert_failed(red, FP32, "false_detections")
    caught.verdicts(red, about="false_detections")


@pytest.mark.fault("corners for centres")
def test_corners_for_centres(bench: Bench, few: Dataset, golden: Accepted, caught: Caught) -> None:
    def corners(predictions: Any) -> Any:
        moved = predictions.copy()
        moved[:, :2] -= predictions[:, 2:4] / 2
        return moved

    with bench.open(bench.fp32) as runner:
        red = judge_case(golden, bench.measure(FP32, Tampered(runner, after=corners), few))
    assert_failed(red, FP32, "map50_95", "misses")
    caught.verdicts(red, about="map50_95")


@pytest.mark.fault("suppression inside the file at another overlap")
def test_another_overlap_inside_the_file(bench: Bench, caught: Caught) -> None:
    rows = np.zeros((300, 6), dtype=np.float32)
    protocol = replace(bench.protocol, multi_label=False)
    assert len(detections_from_rows(rows, protocol, GraphNms(iou=protocol.iou))) == 0
    with pytest.raises(InputError) as raised:
        detections_from_rows(rows, protocol, GraphNms(iou=0.45))
    caught.error(raised.value)


@pytest.mark.fault("scores that overflow")
def test_scores_that_overflow(bench: Bench, few: Dataset, caught: Caught) -> None:
    """What half precision makes of a sigmoid's numbers where an exponential before it is infinite."""

    def overflow(predictions: Any) -> Any:
        broken = predictions.copy()
        broken[:, 4:, :7] = np.nan
        return broken

    with bench.open(bench.fp32) as runner, pytest.raises(InputError) as raised:
        bench.measure(FP32, Tampered(runner, after=overflow), few)
    caught.error(raised.value)


@pytest.fixture(scope="module")
def blind_plan(bench: Bench) -> QuantizationPlan:
    """Return a plan by a quantiser that saw one grey square and does not know where the head is."""
    grey = np.full((1, 3, 320, 320), 114 / 255, dtype=np.float32)
    return plan_quantization(bench.fp32.path, iter([grey]), float_nodes=(), calibration_sha256="c" * 64)


@pytest.mark.fault("the head in 8 bits as well")
def test_the_head_in_8_bits(
    bench: Bench, blind_plan: QuantizationPlan, tmp_path: Path, caught: Caught
) -> None:
    everything = write_qdq(bench.fp32, blind_plan, tmp_path / "int8.onnx", target="x86")
    healthy = [*measure_shares(INT8, bench.int8.path), *measure_shares(FP32, bench.fp32.path)]
    golden = accept(tmp_path / "golden", healthy)
    red = judge_case(golden, measure_shares(INT8, everything.path))
    assert [(one.case, one.metric, one.status) for one in red] == [(INT8, "int8_share", Status.FAIL)]
    caught.verdicts(red)


@pytest.mark.fault("calibrated on one empty picture")
def test_calibrated_on_nothing(
    bench: Bench, blind_plan: QuantizationPlan, few: Dataset, golden: Accepted, tmp_path: Path, caught: Caught
) -> None:
    plan = replace(blind_plan, float_nodes=bench.plan.float_nodes)
    blind = write_qdq(bench.fp32, plan, tmp_path / "int8.onnx", target="x86")
    red = judge_case(golden, bench.run(INT8, blind, few))
    assert_failed(red, INT8, "map50_95", "misses")
    caught.verdicts(red, about="map50_95")


def judge_claims(claim: Claim) -> Any:
    matrix = Matrix(cases=(), full=False, required=(), claims=(claim,))
    floors = Floors(study="codes", floors=(), devices=frozenset(), files=())
    return judge_run((), floors, Records(), matrix).red()


@pytest.mark.fault("an FP16 file with weights of 32 bits")
def test_an_fp16_file_as_large_as_fp32(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    named = tmp_path / "codes-fp16.onnx"
    named.write_bytes(bench.fp32.path.read_bytes())
    case = Case(study="codes", variant="fp16", runtime="onnxruntime")
    ratio = named.stat().st_size / bench.fp32.size_bytes
    red = judge_claims(Claim(case=case, what="fp16", gain="smaller", against=FP32, batch=0, ratio=ratio))
    assert [(one.case, one.status) for one in red] == [(case, Status.FAIL)]
    caught.verdicts(red)


@pytest.mark.fault("INT8 that is slower than FP32")
def test_int8_that_does_not_pay(caught: Caught) -> None:
    """What signed activations are on x86: onnxruntime has no kernel for them and computes in float."""
    claim = Claim(
        case=INT8,
        what="int8",
        gain="faster",
        against=FP32,
        batch=1,
        ratio=1.6,
        interval=(1.55, 1.64),
        simultaneous=(1.5, 1.7),
    )
    red = judge_claims(claim)
    assert [(one.case, one.status) for one in red] == [(INT8, Status.FAIL)]
    caught.verdicts(red)


@pytest.mark.fault("pruned three times as far")
def test_pruned_too_far(
    bench: Bench, few: Dataset, healthy: list[Measurement], tmp_path: Path, caught: Caught
) -> None:
    def export(ratio: str) -> Any:
        detector = apply_operations(bench.detector, [parse_operation(f"prune:{ratio},scope=global")])
        return bench.run(PRUNED, export_onnx(detector, tmp_path / f"{ratio}.onnx"), few)

    golden = accept(tmp_path / "golden", [*export("0.3"), *healthy])
    red = judge_case(golden, export("0.9"))
    assert_failed(red, PRUNED, "map50_95", "misses")
    caught.verdicts(red, about="misses")


@pytest.mark.fault("a ratio in percent")
def test_a_ratio_in_percent(caught: Caught) -> None:
    with pytest.raises(SlimgateError) as raised:
        parse_operation("prune:30")
    caught.error(raised.value)


@pytest.mark.fault("a 2 to 4 pattern lost")
def test_a_lost_pattern(tiny_detector: Detector, tmp_path: Path, caught: Caught) -> None:
    """Fine-tuning without keeping the zeros: the lineage says 2:4, the weights are dense."""
    sparse = apply_operations(tiny_detector, [parse_operation("prune24")])
    export_onnx(sparse, tmp_path / "sparse.onnx")
    dense = replace(sparse, module=tiny_detector.module)
    with pytest.raises(InputError) as raised:
        export_onnx(dense, tmp_path / "dense.onnx")
    assert not (tmp_path / "dense.onnx").exists()
    caught.error(raised.value)


@pytest.mark.fault("an order of operations that undoes the first")
def test_an_illegal_order(tiny_detector: Detector, caught: Caught) -> None:
    steps = [parse_operation("prune:0.3"), parse_operation("slim:0.5,importance=l2")]
    with pytest.raises(SlimgateError) as raised:
        apply_operations(tiny_detector, steps)
    caught.error(raised.value)


@pytest.fixture(scope="module")
def cut() -> Detector:
    """Return a detector whose channels were removed by something that rounds to nothing."""
    detector = build_detector(Family.ULTRALYTICS)
    return apply_operations(detector, [parse_operation("slim:0.6,importance=l2,multiple=1,floor=0.3")])


@pytest.mark.fault("an odd number of channels")
def test_odd_channels(cut: Detector, tmp_path: Path, caught: Caught) -> None:
    """It runs, and no accuracy shows it; kernels compute in lanes, and an NPU refuses it."""
    claim = Step(operation="slim", settings={"multiple": 8}, notes={"unaligned": {}})
    with pytest.raises(InputError) as raised:
        export_onnx(replace(cut, lineage=(claim,)), tmp_path / "odd.onnx")
    assert not (tmp_path / "odd.onnx").exists()
    caught.error(raised.value)


@pytest.mark.fault("widths of another network")
def test_widths_of_another_network(cut: Detector, tmp_path: Path, caught: Caught) -> None:
    path = save_checkpoint(cut, tmp_path / "cut").with_suffix(".json")
    record = json.loads(path.read_text())
    name, width = next(iter(record["architecture"]["widths"].items()))
    record["architecture"]["widths"][name] = width + 1
    path.write_text(json.dumps(record))
    caught.error(refuse_to_load(path))
