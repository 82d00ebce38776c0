"""The gate tested: one fault is planted into a green run, and exactly the right case must turn red, saying why.

The goldens come from the run itself, by the way a person takes (records written, proposed floors pasted), so
nothing here is tuned to the faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from slimgate.flow import Case, Status
from slimgate.gate import load_records

from fixtures.goldens import DEVICE, PROVENANCE
from fixtures.planted import ENGINE, FP32, INT8, PRUNED, Plant, accept_green_run, green_run, judge_plant


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return accept_green_run(tmp_path / "golden")


Fault = Callable[[Plant], Plant]


@dataclass(frozen=True)
class Planted:
    """A fault, what must turn red, and what the message must say."""

    name: str
    plant: Fault
    red: set[tuple[Case, str]]
    status: Status
    cause: str


EVERYTHING = {(one.case, one.metric) for one in green_run()}
OF_INT8 = {(INT8, metric) for case, metric in EVERYTHING if case == INT8}

FAULTS = (
    Planted(
        "accuracy lost",
        lambda run: run.change(INT8, "map50_95", value=0.85),
        {(INT8, "map50_95")},
        Status.FAIL,
        "difference -0.0410 to min",
    ),
    Planted(
        "mAP held and confidences collapsed",
        lambda run: run.change(INT8, "recall/qrcode", value=0.60),
        {(INT8, "recall/qrcode")},
        Status.FAIL,
        "measured   0.6000",
    ),
    Planted(
        "NaN",
        lambda run: run.change(INT8, "map50_95", value=math.nan),
        {(INT8, "map50_95")},
        Status.INVALID,
        "measured nan, which is no number to judge",
    ),
    Planted(
        "a missing metric",
        lambda run: run.drop(PRUNED, "recall/qrcode"),
        {(PRUNED, "recall/qrcode")},
        Status.INVALID,
        "the metric was not measured",
    ),
    Planted(
        "a case that measured nothing",
        lambda run: run.drop(INT8),
        {(INT8, "case")},
        Status.INVALID,
        "it was selected, and nothing of it was measured",
    ),
    Planted(
        "a case deleted from the study",
        lambda run: replace(run.drop(INT8), cases=(FP32, PRUNED, ENGINE)),
        OF_INT8,
        Status.INVALID,
        "the floor is unused: the study has no such case",
    ),
    Planted(
        "percent for fraction",
        lambda run: run.change(FP32, "map50_95", value=90.0),
        {(FP32, "map50_95")},
        Status.INVALID,
        "outside 0..1: percent?",
    ),
    Planted(
        "another device",
        lambda run: run.change(INT8, "latency_ratio_b1", device="cpu:Intel Xeon"),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
        f"measured on device 'cpu:Intel Xeon', the floor is of '{DEVICE}'",
    ),
    Planted(
        "another protocol",
        lambda run: run.change(
            INT8, "map50_95", provenance={"protocol": {**PROVENANCE["protocol"], "conf": 0.25}}
        ),
        {(INT8, "map50_95")},
        Status.INVALID,
        "other protocol: conf 0.001 → 0.25",
    ),
    Planted(
        "rect for square letterbox",
        lambda run: run.change_all(protocol={**PROVENANCE["protocol"], "letterbox": "rect"}),
        EVERYTHING,
        Status.INVALID,
        "other protocol: letterbox square → rect",
    ),
    Planted(
        "too few images",
        lambda run: run.change(FP32, "map50_95", provenance={"images": 12}),
        {(FP32, "map50_95")},
        Status.INVALID,
        "12 images, the record has 500: too few",
    ),
    Planted(
        "another dataset of the same size",
        lambda run: run.change_all(dataset_sha256="9" * 64),
        EVERYTHING,
        Status.INVALID,
        "other dataset: cccccccccccc → 999999999999",
    ),
    Planted(
        "a stale artifact: retrained weights, old file",
        lambda run: run.change(PRUNED, "size_bytes", provenance={"weights_sha256": "9" * 64}),
        {(PRUNED, "size_bytes")},
        Status.INVALID,
        "other weights: aaaaaaaaaaaa → 999999999999",
    ),
    Planted(
        "calibrated on other images",
        lambda run: run.change(INT8, "map50_95", provenance={"calibration_sha256": "9" * 64}),
        {(INT8, "map50_95")},
        Status.INVALID,
        "other calibration images: dddddddddddd → 999999999999",
    ),
    Planted(
        "the pruned model measured as the unpruned one",
        lambda run: run.change(
            FP32,
            "map50_95",
            value=0.871,
            provenance={"lineage": [{"operation": "prune30-global", "settings": {}}]},
        ),
        {(FP32, "map50_95")},
        Status.INVALID,
        "other operations: fp32() → prune30-global()",
    ),
    Planted(
        "dense weights called pruned",
        lambda run: run.change(PRUNED, "nonzero_parameters", value=2_500_000),
        {(PRUNED, "nonzero_parameters")},
        Status.FAIL,
        "measured   2 500 000 count",
    ),
    Planted(
        "an FP32 file named int8: its size and speed need not tell",
        lambda run: run.change(INT8, "int8_share", value=0.0),
        {(INT8, "int8_share")},
        Status.FAIL,
        "floor      min 0.9699, max 0.9701",
    ),
    Planted(
        "an engine twice its size",
        lambda run: run.change(ENGINE, "size_bytes", value=24_000_000),
        {(ENGINE, "size_bytes")},
        Status.FAIL,
        "measured   24 000 000 bytes",
    ),
    Planted(
        "an engine that is nearly empty",
        lambda run: run.change(ENGINE, "size_bytes", value=40_000),
        {(ENGINE, "size_bytes")},
        Status.FAIL,
        "measured   40 000 bytes",
    ),
    Planted(
        "a slowdown",
        lambda run: run.change(INT8, "latency_ratio_b1", value=1.86, interval=(1.8, 1.9)),
        {(INT8, "latency_ratio_b1")},
        Status.FAIL,
        "interval 1.8000 to 1.9000",
    ),
    Planted(
        "a time that shows nothing",
        lambda run: run.change(INT8, "latency_ratio_b1", value=0.65, interval=(0.4, 0.9)),
        {(INT8, "latency_ratio_b1")},
        Status.INCONCLUSIVE,
        "the interval straddles the bound: it is not shown to hold",
    ),
    Planted(
        "a ratio to another baseline",
        lambda run: run.change(INT8, "latency_ratio_b1", provenance={"baseline": "codes/fp32@torch"}),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
        "a ratio to another baseline: none → codes/fp32@torch",
    ),
    Planted(
        "a machine too busy to judge",
        lambda run: run.change(
            INT8, "latency_ratio_b1", valid=False, why_invalid="the A/A control is off by 9 %"
        ),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
        "the A/A control is off by 9 %",
    ),
    Planted(
        "another major version of the runtime",
        lambda run: run.change(INT8, "map50_95", provenance={"versions": {"onnxruntime": "2.0.0"}}),
        {(INT8, "map50_95")},
        Status.INVALID,
        "ran with onnxruntime 2, the floor is of onnxruntime 1",
    ),
    Planted(
        "a golden regenerated from the run that it judges",
        lambda run: replace(run, run_id="first"),
        EVERYTHING,
        Status.INVALID,
        "the record was accepted from this very run",
    ),
)


def test_the_green_run_is_green_even_strictly(golden: Path) -> None:
    judgement = judge_plant(Plant(green_run()), golden)
    assert [verdict.message for verdict in judgement.red(strict_floors=True)] == []
    assert len(judgement.verdicts) == len(EVERYTHING)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_turns_exactly_the_right_case_red(golden: Path, fault: Planted) -> None:
    red = judge_plant(fault.plant(Plant(green_run())), golden).red()
    assert {(verdict.case, verdict.metric) for verdict in red} == fault.red
    assert {verdict.status for verdict in red} == {fault.status}
    for verdict in red:
        assert fault.cause.lower() in verdict.message.lower()


def test_a_beaten_floor_is_red_when_floors_are_strict(golden: Path) -> None:
    plant = Plant(green_run()).change(PRUNED, "map50_95", value=0.93)
    judgement = judge_plant(plant, golden)
    assert not judgement.is_red()
    (verdict,) = judgement.red(strict_floors=True)
    assert (verdict.case, verdict.status) == (PRUNED, Status.STALE)
    assert "better than the floor by more than its slack 0.01" in verdict.message


def test_a_golden_copied_from_another_case_is_refused_by_name(golden: Path) -> None:
    """The first seed report took the pruned run's table for the unpruned model's."""
    folder = golden / "records" / "codes" / "any"
    (folder / "fp32@onnxruntime.json").write_text((folder / "prune30-global@onnxruntime.json").read_text())
    with pytest.raises(Exception, match="a record of codes/prune30-global@onnxruntime on device 'any'"):
        load_records(golden, "codes", device=DEVICE)


def test_a_golden_of_another_case_renamed_by_hand_is_refused_by_its_fingerprint(golden: Path) -> None:
    folder = golden / "records" / "codes" / "any"
    text = (folder / "prune30-global@onnxruntime.json").read_text()
    (folder / "fp32@onnxruntime.json").write_text(text.replace("codes/prune30-global@", "codes/fp32@"))
    red = judge_plant(Plant(green_run()), golden).red()
    assert {verdict.case for verdict in red} == {FP32}
    assert {verdict.status for verdict in red} == {Status.INVALID}
    for verdict in red:
        assert "the record is of another run (other operations: prune30-global() → fp32())" in verdict.message


def test_a_record_that_vanished_is_noticed(golden: Path) -> None:
    (golden / "records" / "codes" / "any" / "int8@onnxruntime.json").unlink()
    red = judge_plant(Plant(green_run()), golden).red()
    assert {verdict.case for verdict in red} == {INT8}
    assert all("no record of an accepted run stands behind the floor" in verdict.message for verdict in red)


def test_floors_that_vanished_are_noticed(golden: Path) -> None:
    (golden / "floors" / "codes.toml").unlink()
    red = judge_plant(Plant(green_run()), golden).red()
    assert {metric for _, metric in {(one.case, one.metric) for one in red}} == {
        "map50_95",
        "recall/qrcode",
        "size_bytes",
    }
    assert all("no floor: paste into [case.floor]" in verdict.message for verdict in red)
