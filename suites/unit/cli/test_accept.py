from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.flow import Case, Measurement, Status, Verdict
from slimgate.gate import Judgement, Matrix, judge, judge_run, load_floors, load_records, load_run

from fixtures.goldens import DEVICE, FP32, INT8, make_floor, make_measurement, make_record, make_run

MEASURED = (
    make_measurement("map50_95", 0.896, FP32),
    make_measurement("map50_95", 0.895),
    make_measurement("map75", 0.885),
    make_measurement("size_bytes", 2_850_000),
    make_measurement("latency_ratio_b1", 0.6, device=DEVICE, interval=(0.58, 0.62), confidence=0.95),
)


def accept(run: Path, golden: Path, *options: str) -> int:
    return main(["accept", str(run), "--golden", str(golden), *options])


def judge_again(golden: Path, measurements: Sequence[Measurement], run_id: str) -> Judgement:
    return judge_run(
        measurements,
        load_floors(golden, "codes", device=DEVICE),
        load_records(golden, "codes", device=DEVICE),
        Matrix(cases=(FP32, INT8), full=True, required=("map50_95",), run_id=run_id),
    )


def paste(output: str, golden: Path) -> None:
    """Do what a person does: copy each printed block into the file that it names."""
    (golden / "floors").mkdir(parents=True, exist_ok=True)
    for block in output.split("# ---- ")[1:]:
        place, _, text = block.partition("\n")
        with Path(place.split(": ")[0]).open("a") as file:
            file.write(text)


def test_from_a_first_run_to_a_green_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = tmp_path / "golden"
    assert accept(make_run(tmp_path / "run", MEASURED), golden) == 0
    output = capsys.readouterr().out
    assert not (golden / "floors").exists(), "no program writes floors"
    assert f"# ---- {golden}/floors/codes.toml: new floors" in output
    assert f"# ---- {golden}/floors/codes.cpu-amd-epyc-9r14.toml: new floors" in output
    assert "map75" not in output
    assert "# 3 records written below" in output
    paste(output, golden)
    assert judge_again(golden, MEASURED, "next").counts() == {"PASS": 4, "not proven": 0}
    same_run = judge_again(golden, MEASURED, "now")
    assert same_run.counts() == {"INVALID": 4, "not proven": 0}


def test_floors_that_stand_are_not_printed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = tmp_path / "golden"
    accept(make_run(tmp_path / "run", MEASURED), golden)
    paste(capsys.readouterr().out, golden)
    assert accept(tmp_path / "run", golden) == 0
    assert "[[case]]" not in capsys.readouterr().out


def verdict(case: Case, value: float, low: float) -> Verdict:
    measurement = make_measurement(value=value, case=case)
    floor = make_floor(case=case, min=low, slack=0.01)
    return judge(measurement, floor, record=make_record(measurement))


def test_a_failing_run_needs_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judgement = Judgement(verdicts=(verdict(INT8, 0.895, 0.95), verdict(FP32, 0.896, 0.8)))
    assert [one.status for one in judgement.verdicts] == [Status.FAIL, Status.STALE]
    run = make_run(tmp_path / "run", MEASURED, judgement)
    assert accept(run, tmp_path / "golden") == 2
    complaint = capsys.readouterr().err
    assert "does not hold its floors: codes/int8@onnxruntime map50_95" in complaint
    assert "say why with --reason" in complaint
    assert not (tmp_path / "golden").exists()
    assert accept(run, tmp_path / "golden", "--reason", "the smaller head was asked for") == 0
    output = capsys.readouterr().out
    assert "LOOSER floors: the smaller head was asked for" in output
    assert "tighter floors: these were beaten by more than their slack" in output
    (record,) = [load_records(tmp_path / "golden", "codes", device=DEVICE).find(INT8, "map50_95")]
    assert record is not None
    assert record.accepted.reason == "the smaller head was asked for"


REFUSALS = [
    (
        {"complete": False, "filter": "int8"},
        "is a partial run (-k 'int8')",
        "run the whole study, without -k",
    ),
    ({"complete": False}, "is an incomplete run", "run the whole study"),
    ({"git": {"commit": "12", "dirty": True}}, "ran in a tree with uncommitted changes", "--allow-dirty"),
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
    ],
)
def test_a_run_with_an_invalid_measurement_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Measurement, found: str
) -> None:
    assert accept(make_run(tmp_path / "run", [*MEASURED, bad]), tmp_path / "golden") == 2
    assert f"cannot be evidence: {found}" in capsys.readouterr().err.replace(
        "codes/int8@onnxruntime map50 (w", "map50 (w"
    )


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
