"""What each case is compared with, from stored matches alone."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from slimgate.detect import Protocol
from slimgate.flow import Artifact, Case, Precision
from slimgate.gate import Floors
from slimgate.measure import (
    Matches,
    compare_resampled,
    match_images,
    read_matches,
    resample_metrics,
    write_matches,
)
from slimgate.measure.confusion import count_images
from slimgate.study.compare import add_score_shift
from slimgate.study.differences import add_differences
from slimgate.study.measuring import list_measurements
from slimgate.study.spec import Study, VariantSpec
from slimgate.study.work import CaseWork

from fixtures.datasets import noisy_detections, peculiar_dataset
from fixtures.goldens import make_floor

DATASET = peculiar_dataset(4, images=50)
FP32 = VariantSpec(name="fp32", runtimes=("onnxruntime", "openvino"))
INT8 = VariantSpec(name="int8", precision=Precision.INT8, runtimes=("onnxruntime", "openvino"))
SLIM = VariantSpec(name="slim", runtimes=("onnxruntime",), controls={"dense": "int8", "scratch": "nothing"})
STUDY = Study(
    id="codes",
    title="",
    path=Path("codes.toml"),
    weights="",
    image_size=None,
    evaluation="",
    also=(),
    images=None,
    calibration="",
    calibration_images=0,
    protocol={},
    threads=1,
    rounds=9,
    rounds_batch32=9,
    pictures=0,
    search={},
    required_metrics=(),
    variants=(FP32, INT8, SLIM),
)
ARTIFACT = Artifact(
    path=Path("x.onnx"),
    format="onnx",
    target="x86",
    precision=Precision.FP32,
    class_names=(),
    image_size=64,
    batch=0,
    sha256="",
    size_bytes=1,
    build_s=0.0,
)


@functools.cache
def match(seed: int) -> Matches:
    detections = noisy_detections(DATASET, seed)
    counts = count_images(DATASET, detections, conf=0.5, iou=0.5)
    return match_images(DATASET, detections, counts, Protocol(image_size=320))


def work(spec: VariantSpec, runtime: str, seed: int, *, sets: tuple[str, ...] = ("",)) -> CaseWork:
    return CaseWork(
        case=Case(study="codes", variant=spec.name, runtime=runtime),
        spec=spec,
        runtime=runtime,
        artifact=ARTIFACT,
        record={"also": {name: {} for name in sets if name}},
        matches=dict.fromkeys(sets, match(seed)),
    )


@pytest.fixture
def works() -> list[CaseWork]:
    return [
        work(FP32, "onnxruntime", 1),
        work(FP32, "openvino", 1),
        work(INT8, "onnxruntime", 2),
        work(INT8, "openvino", 3),
        work(SLIM, "onnxruntime", 4),
    ]


def references(one: CaseWork) -> list[str]:
    return [entry["reference"] for entry in one.record.get("differences", [])]


def test_each_case_is_held_against_fp32_on_its_runtime_then_the_baseline_then_controls(works) -> None:
    add_differences(STUDY, works, Floors(study="codes"))
    assert [references(one) for one in works] == [
        [],
        ["codes/fp32@onnxruntime"],
        ["codes/fp32@onnxruntime"],
        ["codes/fp32@openvino", "codes/fp32@onnxruntime"],
        ["codes/fp32@onnxruntime", "codes/int8@onnxruntime"],
    ]


def test_a_floor_brings_its_own_reference(works) -> None:
    slim, int8 = works[4].case, works[3].case
    floor = make_floor(case=slim, relative_to=int8, max_drop=0.01)
    add_differences(STUDY, works, Floors(study="codes", floors=(floor,)))
    assert "codes/int8@openvino" in references(works[4])
    assert "codes/int8@openvino" not in references(works[2])


def test_a_case_that_broke_is_no_reference(works) -> None:
    works[0].failed = "out of memory"
    works[0] = dataclasses.replace(works[0], matches={})
    add_differences(STUDY, works, Floors(study="codes"))
    assert references(works[2]) == ["codes/fp32@openvino"]


def test_further_sets_have_their_own_differences() -> None:
    both = [
        work(spec, "onnxruntime", seed, sets=("", "codes:test")) for seed, spec in enumerate((FP32, INT8))
    ]
    add_differences(STUDY, both, Floors(study="codes"))
    entry = both[1].record["also"]["codes:test"]["differences"][0]
    assert entry["metrics"] == both[1].record["differences"][0]["metrics"]


def test_a_measurement_carries_them_and_no_interval_of_its_own(works) -> None:
    add_differences(STUDY, works, Floors(study="codes"))
    record = {**works[3].record, "accuracy": {"coco": {"AP": 0.5}}, "confusion": {"all": {"partial": 3}}}
    found = {
        one.metric: one
        for one in list_measurements(works[3].case, record, artifact=None, provenance={}, device="any")
    }
    assert [str(one.reference) for one in found["map50_95"].differences] == references(works[3])
    first = found["map50_95"].differences[0]
    assert first.interval[0] < first.value < first.interval[1]
    assert (first.images, first.resamples, first.confidence) == (50, 1000, 0.95)
    assert found["partial"].differences[0].value == int(found["partial"].differences[0].value)
    assert found["map50_95"].interval is None


def test_the_shift_of_scores_carries_its_own(works) -> None:
    works[0].everything = noisy_detections(DATASET, 1)
    works[2].everything = [
        dataclasses.replace(one, scores=one.scores * np.float32(0.9)) for one in works[0].everything
    ]
    add_score_shift(STUDY, works, works[2])
    record = works[2].record
    [shift] = list_measurements(works[2].case, record, artifact=None, provenance={}, device="any")
    assert shift.metric == "score_shift"
    [known] = shift.differences
    assert known.value == shift.value == record["score_shift"]["mean"]
    assert known.interval[0] < shift.value < known.interval[1]
    assert str(known.reference) == "codes/fp32@onnxruntime"


def test_the_stored_file_gives_the_same_differences_without_a_network(works, tmp_path: Path) -> None:
    add_differences(STUDY, works, Floors(study="codes"))
    read = [
        read_matches(write_matches(tmp_path / f"{index}.npz", works[index].matches))[""] for index in (0, 2)
    ]
    again = compare_resampled(*(resample_metrics(one) for one in read)).to_json()
    assert {**again, "reference": "codes/fp32@onnxruntime"} == works[2].record["differences"][0]
    assert np.isfinite(again["metrics"]["map50_95"]["interval"]).all()
