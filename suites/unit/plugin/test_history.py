from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.gate import Judgement, NotProven
from slimgate.gate.history import History
from slimgate.study import Study

from fixtures.goldens import INT8, STUDY_TOML, make_measurement, make_run
from fixtures.histories import judge_green

QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider")
SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts):
    if "int8" in str(gate_case):
        assert_verdicts(gate_case, "accuracy")
"""
HISTORY = Path(".slimgate", "history")


@pytest.fixture(autouse=True)
def _study_that_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)

    def run_study(study: Study, out: Path, **options: Any) -> None:
        judgement: Judgement = judge_green()
        make_run(out, [make_measurement()], judgement, complete=options["timing"], device="cpu:A")

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)


def run_suite(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    return pytester.runpytest_inprocess(*QUIET, "--slimgate-study", "study.toml", *options)


def test_the_shared_run_is_added_to_the_history_of_the_project(pytester: pytest.Pytester) -> None:
    result = run_suite(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"history: {HISTORY}"])
    (entry,) = History(pytester.path / HISTORY).load().entries
    # No test of this suite asks for times, so none are measured: the run is not whole.
    assert (entry.run_id, entry.device, entry.red, entry.complete) == ("now", "cpu:A", False, False)


def test_the_place_can_be_named_and_switched_off(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_suite(pytester, "--slimgate-history", "mine").assert_outcomes(passed=2)
    assert History(pytester.path / "mine").load().entries
    run_suite(pytester, "--slimgate-history", "off").assert_outcomes(passed=2)
    monkeypatch.setenv("SLIMGATE_HISTORY", "off")
    run_suite(pytester).assert_outcomes(passed=2)
    monkeypatch.setenv("SLIMGATE_HISTORY", "named")
    run_suite(pytester).assert_outcomes(passed=2)
    assert History(pytester.path / "named").load().entries
    assert not (pytester.path / HISTORY).exists()


def test_a_finished_run_that_is_only_judged_again_is_not_added(pytester: pytest.Pytester) -> None:
    directory = make_run(pytester.path / "run", [make_measurement()], judge_green())
    run_suite(pytester, "--slimgate-run", str(directory)).assert_outcomes(passed=2)
    assert not (pytester.path / HISTORY).exists()


def test_a_run_that_is_in_no_history_turns_the_session_red_and_no_test(pytester: pytest.Pytester) -> None:
    (pytester.path / "full").write_text("")
    result = run_suite(pytester, "--slimgate-history", "full/history")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "slimgate: the run is in no history: full/history/*: cannot be written (Not a directory)",
            "  expected: a writable folder*",
        ]
    )


CONFTEST = """
import slimgate.study.pipeline as pipeline
from fixtures.goldens import make_measurement, make_run
from fixtures.histories import judge_green

def run_study(study, out, **options):
    make_run(out, [make_measurement()], judge_green(), complete=options["timing"], device="cpu:A")

pipeline.run_study = run_study
"""


@pytest.mark.slow
def test_under_xdist_the_worker_that_ran_the_study_adds_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]), prepend=":")
    result = pytester.runpytest_subprocess(*QUIET, "-n", "1", "--slimgate-study", "study.toml")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"history: {HISTORY}"])
    (entry,) = History(pytester.path / HISTORY).load().entries
    assert not entry.complete, "no times are measured beside other workers"


def test_benchmarks_are_saved_in_the_history_and_compared_from_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile("def test_add(benchmark): benchmark(lambda: 1 + 1)")
    fast = ("-p", "no:randomly", "--benchmark-max-time=0.01", "--benchmark-min-rounds=1")
    storage = f"--benchmark-storage=file://./{HISTORY}/benchmarks"
    pytester.runpytest_inprocess(*fast, storage, "--benchmark-save=pinned").assert_outcomes(passed=1)
    (saved,) = (pytester.path / HISTORY / "benchmarks").rglob("0001_pinned.json")
    assert json.loads(saved.read_text())["machine_info"]["slimgate"]["device"].startswith("cpu:")
    result = pytester.runpytest_inprocess(*fast, storage, "--benchmark-compare=0001")
    result.stdout.fnmatch_lines(["test_add (0001_pinned)*"])
    assert History(pytester.path / HISTORY).load().entries == ()


@pytest.mark.parametrize(
    ("options", "failed_by"),
    [
        ((), ()),
        (("--slimgate-min-cases", "cpu=1"), ()),
        (("--slimgate-min-cases", "cpu=2"), ("1 cases ran on cpu, --slimgate-min-cases asks for 2",)),
        (
            ("--require", "timing"),
            ("--require timing: 1 not proven, such as no latency floors for cpu:A",),
        ),
    ],
)
def test_the_line_of_a_run_says_what_else_failed_its_session(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    failed_by: tuple[str, ...],
) -> None:
    gap = NotProven(case=INT8, metric="latency_ratio_b1", reason="no latency floors for cpu:A")

    def run_study(study: Study, out: Path, **settings: Any) -> None:
        make_run(out, [make_measurement()], replace(judge_green(), not_proven=(gap,)))

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    run_suite(pytester, *options)
    (entry,) = History(pytester.path / HISTORY).load().entries
    assert (entry.red, entry.failed_by) == (False, failed_by)


def test_the_line_of_a_run_without_times_says_that_they_were_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = [one for one in judge_green().verdicts if one.metric == "map50_95"]

    def run_study(study: Study, out: Path, **settings: Any) -> None:
        make_run(out, [make_measurement()], Judgement(verdicts=tuple(judged)))

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    run_suite(pytester, "--require", "timing")
    (entry,) = History(pytester.path / HISTORY).load().entries
    told = "no time of this run was held against a floor: 'slimgate accept RUN_DIR' prints them"
    assert entry.failed_by == (f"--require timing: {told}",)
