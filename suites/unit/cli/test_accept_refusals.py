"""Runs that cannot be accepted: partial, dirty, of another machine, invalid or none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import Judgement, load_records, load_run

from fixtures.acceptances import (
    MEASURED,
    NEW_WEIGHTS,
    accept,
    with_provenance,
)
from fixtures.goldens import DEVICE, FP32, INT8, LATENCY_TOML, make_measurement, make_run


def test_times_of_another_device_are_refused(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(held.parent / "run", MEASURED, device="cpu:Intel Xeon")
    assert accept(run, held) == 2
    complaint = capsys.readouterr().err
    assert f"has times of {DEVICE}\n" in complaint
    assert "times of the machine that it ran on: cpu:Intel Xeon\n" in complaint
    assert not (held / "records").exists()


def test_times_of_the_gpu_beside_the_cpu_are_of_the_same_machine(held: Path) -> None:
    gpu = "gpu:NVIDIA H100 driver 570"
    timed = make_measurement("inference_s", 0.004, device=gpu, interval=(0.0039, 0.0041))
    of_gpu = {"environment": {"gpu": gpu.removeprefix("gpu:")}}
    run = make_run(held.parent / "run", [*MEASURED, timed], **of_gpu)
    assert accept(run, held) == 0
    record = load_records(held, "codes", device=gpu).find(INT8, "inference_s", gpu)
    assert record is not None
    assert record.measurement.value == 0.004


def test_a_floors_file_of_a_device_with_the_same_file_name_is_not_taken_over(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = held / "floors" / "codes.cpu-amd-epyc-9r14.toml"
    path.write_text(LATENCY_TOML.replace(DEVICE, "cpu:AMD EPYC, 9R14"))
    assert accept(make_run(held.parent / "run", MEASURED), held) == 2
    complaint = capsys.readouterr().err
    assert f"golden/floors/{path.name}: is of another device than '{DEVICE}'" in complaint
    assert "tell the device apart in its key" in complaint


def test_records_of_another_machine_are_kept_and_never_replaced_unasked(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = "cpu:AMD EPYC 9R14", "cpu:Intel Xeon"
    accept(make_run(held.parent / "old", with_provenance(MEASURED, machine=there), run_id="old"), held)
    run = make_run(held.parent / "run", with_provenance(MEASURED, machine=here))
    capsys.readouterr()
    assert accept(run, held) == 0
    told = capsys.readouterr().err
    assert "records: 1 written: 1 in golden/records/codes/cpu-amd-epyc-9r14" in told
    assert "records: 2 of accuracy and size kept as another machine measured them" in told
    record = load_records(held, "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.measurement.provenance["machine"] == there
    other = with_provenance(MEASURED, machine=here, **NEW_WEIGHTS)
    run = make_run(held.parent / "other", other, run_id="other")
    assert accept(run, held, "--reason", "new weights") == 2
    complaint = capsys.readouterr().err
    assert (
        f"would replace records of another device, {there}: codes/fp32@onnxruntime, codes/int8" in complaint
    )
    assert "with --another-device" in complaint
    assert accept(run, held, "--reason", "new weights", "--another-device") == 0
    record = load_records(held, "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.measurement.provenance["machine"] == here
    capsys.readouterr()
    newer = make_run(held.parent / "newer", with_provenance(MEASURED, machine=here), run_id="newer")
    assert accept(newer, held, "--reason", "the old weights") == 0
    assert "records: 3 written: 2 in golden/records/codes/any, " in capsys.readouterr().err


def test_orphan_records_are_told(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accept(make_run(held.parent / "old", MEASURED, run_id="old"), held)
    folder = held / "records" / "codes" / "any"
    record = json.loads((folder / "int8@onnxruntime.json").read_text())
    (folder / "gone@onnxruntime.json").write_text(json.dumps({**record, "case": "codes/gone@onnxruntime"}))
    capsys.readouterr()
    run = make_run(held.parent / "run", MEASURED, cases=[str(FP32), str(INT8)])
    assert accept(run, held) == 0
    assert (
        "orphan record: golden/records/codes/any/gone@onnxruntime.json: the study has no such case"
        in capsys.readouterr().err
    )


REFUSALS = [
    (
        {"complete": False, "filter": "int8"},
        "is a partial run (-k 'int8')",
        "run the whole study, without -k",
    ),
    ({"complete": False}, "is an incomplete run", "run the whole study"),
    ({"git": {"commit": "12", "dirty": True}}, "ran in a tree with uncommitted changes", "--allow-dirty"),
    (
        {"git": {"commit": "12", "dirty": True, "changes": ["study.toml", "weights/best.pt"]}},
        "ran in a tree with uncommitted changes: study.toml, weights/best.pt\n",
        "--allow-dirty",
    ),
    ({"git": {}}, "ran outside a git repository", "--allow-dirty"),
]


@pytest.mark.parametrize(("run", "found", "action"), REFUSALS)
def test_a_run_that_is_no_evidence_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: dict[str, object], found: str, action: str
) -> None:
    assert accept(make_run(tmp_path / "run", MEASURED, **run), tmp_path / "golden") == 2
    complaint = capsys.readouterr().err
    assert found in complaint
    assert action in complaint
    assert not (tmp_path / "golden").exists()


def test_a_dirty_run_that_is_accepted_says_so_for_ever(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", MEASURED, git={"commit": "12", "dirty": True})
    assert accept(run, tmp_path / "golden", "--allow-dirty") == 0
    record = load_records(tmp_path / "golden", "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.accepted.dirty


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (make_measurement("map50", math.nan), "codes/int8@onnxruntime map50 (measured nan"),
        (make_measurement("map50", 0.9, valid=False, why_invalid="wrong provider"), "map50 (wrong provider)"),
        (make_measurement("map50_95", 0.9), "codes/int8@onnxruntime map50_95 (measured twice)"),
    ],
)
def test_a_run_with_an_invalid_measurement_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Measurement, found: str
) -> None:
    assert accept(make_run(tmp_path / "run", [*MEASURED, bad]), tmp_path / "golden") == 2
    complaint = capsys.readouterr().err
    assert "cannot be evidence: codes/int8@onnxruntime map50" in complaint
    assert found in complaint


def test_a_run_with_a_failed_case_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Verdict(
        case=INT8, metric="case", status=Status.INVALID, measured=None, floor=None, unit="", message="m"
    )
    assert accept(make_run(tmp_path / "run", MEASURED, Judgement(verdicts=(failed,))), tmp_path) == 2
    assert "cannot be evidence: codes/int8@onnxruntime (failed)" in capsys.readouterr().err


def test_a_run_without_measurements_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accept(make_run(tmp_path / "run", []), tmp_path) == 2
    assert "cannot be evidence: nothing was measured" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accept(tmp_path, tmp_path) == 2
    assert "run.json: no such file" in capsys.readouterr().err


def test_the_run_is_left_as_it_was(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", MEASURED)
    before = {path: path.read_bytes() for path in run.iterdir()}
    accept(run, tmp_path / "golden")
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert load_run(run).measurements == MEASURED
