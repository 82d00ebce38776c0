from __future__ import annotations

import json
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement

from fixtures.goldens import INT8, make_measurement, make_run


def make(folder: Path, status: Status) -> str:
    verdict = Verdict(
        case=INT8,
        metric="map50_95",
        status=status,
        measured=0.5,
        floor=0.8,
        unit="fraction",
        message=f"{INT8} map50_95: {status.value}\n  measured   0.5",
    )
    return str(make_run(folder, [make_measurement()], Judgement(verdicts=(verdict,))))


def causes(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    assert main(["causes", *arguments, "--format", "json"]) == 0
    return list(json.loads(capsys.readouterr().out)["causes"])


def test_red_verdicts_are_listed_and_a_red_job_that_they_explain_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cause,) = causes(capsys, make(tmp_path / "run", Status.FAIL), "--red-job", "accuracy")
    assert cause["title"] == "codes/int8@onnxruntime: FAIL: map50_95"
    assert f"<!-- slimgate-cause: {cause['fingerprint']} -->" in cause["body"]


def test_a_red_job_that_nothing_explains_is_a_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    green = make(tmp_path / "run", Status.PASS)
    assert causes(capsys, green) == []
    (cause,) = causes(capsys, green, "--red-job", "accuracy")
    assert cause["title"] == "accuracy: red without a red verdict"


def test_a_run_that_is_not_there_is_a_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cause,) = causes(capsys, str(tmp_path / "nightly"))
    assert cause["title"] == "nightly: no run was written"


def test_people_read_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["causes", make(tmp_path / "a", Status.FAIL), make(tmp_path / "b", Status.FAIL)]) == 0
    output = capsys.readouterr().out
    assert output.count("## codes/int8@onnxruntime: FAIL: map50_95\n") == 1
    assert main(["causes", make(tmp_path / "c", Status.PASS)]) == 0
    assert capsys.readouterr().out == "Nothing is red.\n"


def test_a_damaged_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(make(tmp_path / "run", Status.FAIL))
    (run / "verdicts.json").write_text("{")
    assert main(["causes", str(run)]) == 2
    assert "verdicts.json" in capsys.readouterr().err
