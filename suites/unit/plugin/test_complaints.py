"""What a session is red about as a whole is kept beside its run; JUnit XML says which tests are the gate's."""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement
from slimgate.gate.hygiene import Finding
from slimgate.gate.junit import read_failed_tests
from slimgate.gate.session import read_complaints
from slimgate.plugin import study

from fixtures.goldens import FP32, INT8, STUDY_TOML, make_measurement, make_run

SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts): assert_verdicts(gate_case, "accuracy")
def test_own(): assert 3 == 4
"""
QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "--slimgate-history", "off")


def judged(status: Status, case: object = INT8) -> Verdict:
    return Verdict(
        case=case,  # type: ignore[arg-type]
        metric="map50_95",
        status=status,
        measured=0.9,
        floor=0.8,
        unit="fraction",
        message=f"{case} map50_95: {status.value}",
    )


@pytest.fixture
def night(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a session whose study has run: one case is red, and a golden file is untidy."""
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    finding = Finding(kind="orphan record", subjects=("gone.json",), message="nobody reads it: remove it")
    judgement = Judgement(verdicts=(judged(Status.FAIL), judged(Status.PASS, FP32)), findings=(finding,))
    directory = make_run(pytester.path / "run", [make_measurement()], judgement)
    monkeypatch.setattr(study, "_run_once", lambda *_: directory)
    return pytester


def run(night: pytest.Pytester, *options: str) -> list[str]:
    """Run the session red and return its complaints."""
    result = night.runpytest_inprocess(*QUIET, "--slimgate-study", "study.toml", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return read_complaints(night.path / "run")


def test_red_tests_alone_are_no_complaint(night: pytest.Pytester) -> None:
    assert run(night) == []
    assert (night.path / "run" / "session.json").is_file()


def test_too_few_cases_and_untidy_files_are_complaints_though_tests_are_red_too(
    night: pytest.Pytester,
) -> None:
    assert sorted(run(night, "--slimgate-min-cases", "gpu=3", "--strict-floors")) == [
        "orphan record: gone.json: nobody reads it: remove it",
        "slimgate: 0 cases ran on gpu, --slimgate-min-cases asks for 3",
    ]


def test_a_session_that_judged_nothing_complains(night: pytest.Pytester) -> None:
    assert run(night, "-k", "test_own") == []
    night.makepyfile(SUITE.replace("assert_verdicts(gate", "pytest.skip('no data'); assert_verdicts(gate"))
    assert run(night) == ["slimgate: the gate judged nothing: 2 skipped, such as: no data"]


def test_a_finished_run_of_another_session_is_left_as_it_is(night: pytest.Pytester) -> None:
    assert run(night, "--slimgate-run", "run", "--slimgate-min-cases", "gpu=3") == []
    assert not (night.path / "run" / "session.json").exists()


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-p", "xdist", "-n", "1"), marks=pytest.mark.slow)], ids=["here", "workers"]
)
def test_junit_xml_tells_tests_of_the_gate_from_others(
    night: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    given = ("--slimgate-run", "run") if workers else ()  # what is replaced here is not in a worker
    run(night, "--junit-xml", "junit.xml", *given, *workers)
    failed = read_failed_tests(Path(night.path / "junit.xml"))
    assert [(test.name.partition("::")[2], test.of_gate) for test in failed] == [
        (f"test_accuracy[{INT8}]", True),
        ("test_own", False),
    ]
    assert failed[0].first_line == f"{INT8} map50_95: FAIL"
