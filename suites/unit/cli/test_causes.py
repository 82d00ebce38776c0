from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement
from slimgate.gate.history import Entry, History
from slimgate.gate.session import write_complaints

from fixtures.goldens import INT8, make_measurement, make_run
from fixtures.histories import MACHINE, measure, run_name


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


JUNIT = """<testsuite><testcase classname="suites.parity.test_torch" name="test_scores"><failure>assert 3 == 4</failure>
</testcase><testcase classname="suites.accuracy.test_accuracy" name="test_accuracy"><properties>
<property name="slimgate_of_gate" value="True" /></properties><failure>{said}</failure></testcase></testsuite>"""


def test_what_else_is_red_is_a_cause_beside_known_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A red verdict that is known since last week must not hide what is new tonight."""
    run = make(tmp_path / "run", Status.FAIL)
    write_complaints(Path(run), ["slimgate: 3 cases ran on gpu, --slimgate-min-cases asks for 12"])
    junit = tmp_path / "junit-accuracy.xml"
    gap = f"{INT8}: --require gpu: built, not run"
    junit.write_text(JUNIT.format(said=f"{INT8} map50_95: FAIL\n\n{gap}"))
    found = causes(capsys, run, "--junit", str(junit), "--red-job", "accuracy")
    assert [cause["title"] for cause in found] == [
        "codes/int8@onnxruntime: FAIL: map50_95",
        "run: slimgate: 3 cases ran on gpu, --slimgate-min-cases asks for 12",
        "accuracy: --require gpu: built, not run",
        "suites.parity.test_torch::test_scores: failed",
    ]


def test_a_session_that_did_not_come_to_its_end_is_a_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cause,) = causes(
        capsys, make(tmp_path / "run", Status.PASS), "--junit", str(tmp_path / "junit-gone.xml")
    )
    assert cause["title"] == "junit-gone.xml: the session did not come to its end"


def test_a_damaged_list_of_complaints_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "run", Status.PASS)
    (Path(run) / "session.json").write_text('{"format": "slimgate-session/2"}')
    assert main(["causes", run]) == 2
    assert "newer than this slimgate reads" in capsys.readouterr().err


@pytest.mark.parametrize("drifts", [True, False])
def test_a_drift_for_the_worse_is_a_cause(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    history: History,
    make_entry: Callable[..., Entry],
    drifts: bool,
) -> None:
    golden = tmp_path / "golden"
    golden.mkdir()
    asked = ("--drift", "--history", str(history.folder), "--golden", str(golden))
    assert causes(capsys, *asked) == [], "the first night of all has broken"
    for number in range(12):
        history.append(make_entry(number, measure(0.88 if drifts and number >= 9 else 0.9)))
    assert causes(capsys, *asked) == [], "no baseline is pinned, so nothing has drifted from it"
    (golden / "baseline.toml").write_text(
        f'format = "slimgate-baseline/1"\n[[baseline]]\nstudy = "codes"\ndevice = "{MACHINE}"\n'
        f'run = "{run_name(0)}"\nreason = "the release"\ndate = 2026-01-02\n'
    )
    found = causes(capsys, *asked)
    assert [cause["title"] for cause in found] == ["codes/int8@onnxruntime: DRIFT: map50_95"] * drifts
    if drifts:
        assert "codes/int8@onnxruntime map50_95: DRIFT 0.9000 → 0.8800 (-0.0200)" in found[0]["body"]
    assert causes(capsys, *asked, "--study", "other") == []


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
