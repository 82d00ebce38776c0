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
from slimgate.errors import InputError
from slimgate.flow import Case, Status
from slimgate.gate import load_records

from fixtures.faults import Caught
from fixtures.goldens import DEVICE, PROVENANCE
from fixtures.planted import ENGINE, FP32, INT8, PRUNED, Plant, accept_green_run, green_run, judge_plant


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return accept_green_run(tmp_path / "golden")


Fault = Callable[[Plant], Plant]


@dataclass(frozen=True)
class Planted:
    """How a fault of the list is planted, and what must turn red; the list has what must be said."""

    name: str
    plant: Fault
    red: set[tuple[Case, str]]
    status: Status


EVERYTHING = {(one.case, one.metric) for one in green_run()}
OF_INT8 = {(INT8, metric) for case, metric in EVERYTHING if case == INT8}

FAULTS = (
    Planted(
        "accuracy lost",
        lambda run: run.change(INT8, "map50_95", value=0.85),
        {(INT8, "map50_95")},
        Status.FAIL,
    ),
    Planted(
        "mAP held and confidences collapsed",
        lambda run: run.change(INT8, "recall/qrcode", value=0.60),
        {(INT8, "recall/qrcode")},
        Status.FAIL,
    ),
    Planted(
        "NaN",
        lambda run: run.change(INT8, "map50_95", value=math.nan),
        {(INT8, "map50_95")},
        Status.INVALID,
    ),
    Planted(
        "a missing metric",
        lambda run: run.drop(PRUNED, "recall/qrcode"),
        {(PRUNED, "recall/qrcode")},
        Status.INVALID,
    ),
    Planted(
        "a case that measured nothing",
        lambda run: run.drop(INT8),
        {(INT8, "case")},
        Status.INVALID,
    ),
    Planted(
        "a case deleted from the study",
        lambda run: replace(run.drop(INT8), cases=(FP32, PRUNED, ENGINE)),
        OF_INT8,
        Status.INVALID,
    ),
    Planted(
        "percent for fraction",
        lambda run: run.change(FP32, "map50_95", value=90.0),
        {(FP32, "map50_95")},
        Status.INVALID,
    ),
    Planted(
        "another device",
        lambda run: run.change(INT8, "latency_ratio_b1", device="cpu:Intel Xeon"),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
    ),
    Planted(
        "another protocol",
        lambda run: run.change(
            INT8, "map50_95", provenance={"protocol": {**PROVENANCE["protocol"], "conf": 0.25}}
        ),
        {(INT8, "map50_95")},
        Status.INVALID,
    ),
    Planted(
        "rect for square letterbox",
        lambda run: run.change_all(protocol={**PROVENANCE["protocol"], "letterbox": "rect"}),
        EVERYTHING,
        Status.INVALID,
    ),
    Planted(
        "too few images",
        lambda run: run.change(FP32, "map50_95", provenance={"images": 12}),
        {(FP32, "map50_95")},
        Status.INVALID,
    ),
    Planted(
        "another dataset of the same size",
        lambda run: run.change_all(dataset_sha256="9" * 64),
        EVERYTHING,
        Status.INVALID,
    ),
    Planted(
        "a stale artifact",
        lambda run: run.change(PRUNED, "size_bytes", provenance={"weights_sha256": "9" * 64}),
        {(PRUNED, "size_bytes")},
        Status.INVALID,
    ),
    Planted(
        "calibrated on other images",
        lambda run: run.change(INT8, "map50_95", provenance={"calibration_sha256": "9" * 64}),
        {(INT8, "map50_95")},
        Status.INVALID,
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
    ),
    Planted(
        "as many parameters as before pruning",
        lambda run: run.change(PRUNED, "nonzero_parameters", value=2_500_000),
        {(PRUNED, "nonzero_parameters")},
        Status.FAIL,
    ),
    Planted(
        "an INT8 case that computes in float",
        lambda run: run.change(INT8, "int8_share", value=0.0),
        {(INT8, "int8_share")},
        Status.FAIL,
    ),
    Planted(
        "an engine twice its size",
        lambda run: run.change(ENGINE, "size_bytes", value=24_000_000),
        {(ENGINE, "size_bytes")},
        Status.FAIL,
    ),
    Planted(
        "an engine that is nearly empty",
        lambda run: run.change(ENGINE, "size_bytes", value=40_000),
        {(ENGINE, "size_bytes")},
        Status.FAIL,
    ),
    Planted(
        "a slowdown",
        lambda run: run.change(INT8, "latency_ratio_b1", value=1.86, interval=(1.8, 1.9)),
        {(INT8, "latency_ratio_b1")},
        Status.FAIL,
    ),
    Planted(
        "a time that shows nothing",
        lambda run: run.change(INT8, "latency_ratio_b1", value=0.65, interval=(0.4, 0.9)),
        {(INT8, "latency_ratio_b1")},
        Status.INCONCLUSIVE,
    ),
    Planted(
        "a ratio to another baseline",
        lambda run: run.change(INT8, "latency_ratio_b1", provenance={"baseline": "codes/fp32@torch"}),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
    ),
    Planted(
        "a machine too busy to judge",
        lambda run: run.change(
            INT8, "latency_ratio_b1", valid=False, why_invalid="the A/A control is off by 9 %"
        ),
        {(INT8, "latency_ratio_b1")},
        Status.INVALID,
    ),
    Planted(
        "another major version of the runtime",
        lambda run: run.change(INT8, "map50_95", provenance={"versions": {"onnxruntime": "2.0.0"}}),
        {(INT8, "map50_95")},
        Status.INVALID,
    ),
    Planted(
        "a golden regenerated from the run that it judges",
        lambda run: replace(run, run_id="first"),
        EVERYTHING,
        Status.INVALID,
    ),
)


def test_the_green_run_is_green_even_strictly(golden: Path) -> None:
    judgement = judge_plant(Plant(green_run()), golden)
    assert [verdict.message for verdict in judgement.red(strict_floors=True)] == []
    assert len(judgement.verdicts) == len(EVERYTHING)


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.fault(fault.name), id=fault.name) for fault in FAULTS]
)
def test_a_fault_turns_exactly_the_right_case_red(golden: Path, fault: Planted, caught: Caught) -> None:
    red = judge_plant(fault.plant(Plant(green_run())), golden).red()
    assert {(verdict.case, verdict.metric) for verdict in red} == fault.red
    assert {verdict.status for verdict in red} == {fault.status}
    caught.verdicts(red)


@pytest.mark.fault("a beaten floor")
def test_a_beaten_floor_is_red_when_floors_are_strict(golden: Path, caught: Caught) -> None:
    plant = Plant(green_run()).change(PRUNED, "map50_95", value=0.93)
    judgement = judge_plant(plant, golden)
    assert not judgement.is_red()
    (verdict,) = judgement.red(strict_floors=True)
    assert (verdict.case, verdict.status) == (PRUNED, Status.STALE)
    caught.text(verdict.message)


@pytest.mark.fault("a golden copied from another case")
def test_a_golden_copied_from_another_case_is_refused_by_name(golden: Path, caught: Caught) -> None:
    """The first seed report took the pruned run's table for the unpruned model's."""
    folder = golden / "records" / "codes" / "any"
    (folder / "fp32@onnxruntime.json").write_text((folder / "prune30-global@onnxruntime.json").read_text())
    with pytest.raises(InputError) as raised:
        load_records(golden, "codes", device=DEVICE)
    caught.error(raised.value)


@pytest.mark.fault("a golden of another case renamed by hand")
def test_a_golden_of_another_case_renamed_by_hand_is_refused_by_its_fingerprint(
    golden: Path, caught: Caught
) -> None:
    folder = golden / "records" / "codes" / "any"
    text = (folder / "prune30-global@onnxruntime.json").read_text()
    (folder / "fp32@onnxruntime.json").write_text(text.replace("codes/prune30-global@", "codes/fp32@"))
    red = judge_plant(Plant(green_run()), golden).red()
    assert {verdict.case for verdict in red} == {FP32}
    assert {verdict.status for verdict in red} == {Status.INVALID}
    caught.verdicts(red)


@pytest.mark.fault("a record that vanished")
def test_a_record_that_vanished_is_noticed(golden: Path, caught: Caught) -> None:
    (golden / "records" / "codes" / "any" / "int8@onnxruntime.json").unlink()
    red = judge_plant(Plant(green_run()), golden).red()
    assert {verdict.case for verdict in red} == {INT8}
    caught.verdicts(red)


@pytest.mark.fault("floors that vanished")
def test_floors_that_vanished_are_noticed(golden: Path, caught: Caught) -> None:
    (golden / "floors" / "codes.toml").unlink()
    red = judge_plant(Plant(green_run()), golden).red()
    assert {metric for _, metric in {(one.case, one.metric) for one in red}} == {
        "map50_95",
        "recall/qrcode",
        "size_bytes",
    }
    caught.verdicts(red)
