from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Finding, Judgement, NotProven
from slimgate.study import Study

from fixtures.goldens import FP32, INT8, STUDY_TOML, make_measurement, make_run

QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts): assert_verdicts(gate_case, "accuracy")
@pytest.mark.gate
def test_size(gate_case, assert_verdicts): assert_verdicts(gate_case, "size")
@pytest.mark.gate
@pytest.mark.timing
def test_latency(gate_case, assert_verdicts): assert_verdicts(gate_case, "latency")
"""


def verdict(case: Case, metric: str, status: Status) -> Verdict:
    return Verdict(
        case=case,
        metric=metric,
        status=status,
        measured=0.9,
        floor=0.8,
        unit="fraction",
        message=f"{case} {metric}: {status.value}\n  measured   0.9000",
    )


def run_gate(
    pytester: pytest.Pytester,
    verdicts: list[Verdict],
    *options: str,
    gaps: tuple[NotProven, ...] = (),
    findings: tuple[Finding, ...] = (),
    directory: Path | None = None,
) -> pytest.RunResult:
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    judgement = Judgement(verdicts=tuple(verdicts), not_proven=gaps, findings=findings)
    directory = directory or make_run(pytester.path / "run", [make_measurement()], judgement)
    return pytester.runpytest_inprocess(
        *QUIET, "--slimgate-study", "study.toml", "--slimgate-run", str(directory), *options
    )


GREEN = [
    verdict(case, metric, Status.PASS)
    for case in (FP32, INT8)
    for metric in ("map50_95", "size_bytes", "latency_ratio_b1")
]


def test_one_test_per_case_named_by_its_id(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN, "-v")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*::test_accuracy[[]codes/int8@onnxruntime[]] PASSED*"])
    result.stdout.fnmatch_lines(
        ["*slimgate verdicts*", "verdict  case*metric*measured*floor", "6 PASS, 0 not proven"]
    )


def test_a_red_verdict_fails_its_case_with_its_message_and_no_traceback(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, [verdict(INT8, "recall/qrcode", Status.FAIL), *GREEN])
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_accuracy[[]codes/int8@onnxruntime[]]*",
            "codes/int8@onnxruntime recall/qrcode: FAIL",
            "  measured   0.9000",
        ]
    )
    result.stdout.fnmatch_lines(["FAIL     codes/int8@onnxruntime  recall/qrcode*0.9000*0.8000"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_case_that_failed_as_a_whole_is_red_in_every_suite(pytester: pytest.Pytester) -> None:
    whole = Verdict(
        case=INT8,
        metric="case",
        status=Status.INVALID,
        measured=None,
        floor=None,
        unit="",
        message="it failed",
    )
    result = run_gate(pytester, [*GREEN[:3], whole])
    result.assert_outcomes(passed=3, failed=3)


def test_a_stale_floor_is_red_under_strict_floors(pytester: pytest.Pytester) -> None:
    stale = [*GREEN, verdict(INT8, "map50", Status.STALE)]
    run_gate(pytester, stale).assert_outcomes(passed=6)
    result = run_gate(pytester, stale, "--strict-floors")
    result.assert_outcomes(passed=5, failed=1)


WAIVED = replace(verdict(INT8, "recall/qrcode", Status.FAIL), waived="until 2026-12-31 by Ada, w.toml:4: r")


def test_a_waived_verdict_is_an_expected_failure_and_told(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, [WAIVED, *GREEN], "-rx")
    result.assert_outcomes(passed=5, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "WAIVED (FAIL)  codes/int8@onnxruntime  recall/qrcode*",
            "waived: codes/int8@onnxruntime recall/qrcode: until 2026-12-31 by Ada, w.toml:4: r",
            "1 WAIVED, 6 PASS, 0 not proven",
        ]
    )
    result.stdout.fnmatch_lines(["XFAIL *recall/qrcode: WAIVED (FAIL) until 2026-12-31 by Ada*"])


def test_a_session_of_nothing_but_waived_verdicts_was_judged(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, [WAIVED], "-k", "test_accuracy and int8")
    result.assert_outcomes(xfailed=1, deselected=5)
    assert result.ret == pytest.ExitCode.OK


def test_runxfail_makes_a_waived_verdict_fail(pytester: pytest.Pytester) -> None:
    run_gate(pytester, [WAIVED, *GREEN], "--runxfail").assert_outcomes(passed=5, failed=1)


def test_a_red_verdict_beside_a_waived_one_fails(pytester: pytest.Pytester) -> None:
    red = verdict(INT8, "map50", Status.FAIL)
    run_gate(pytester, [WAIVED, red, *GREEN]).assert_outcomes(passed=5, failed=1)


def test_a_check_that_is_no_metric_is_red_in_every_suite(pytester: pytest.Pytester) -> None:
    check = verdict(INT8, "pays/latency", Status.FAIL)
    run_gate(pytester, [check, *GREEN]).assert_outcomes(passed=3, failed=3)


UNTIDY = Finding(kind="orphan record", subjects=("golden/records/a.json",), message="remove the file")


def test_untidy_golden_files_are_told_and_red_under_strict_floors(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN, findings=(UNTIDY,))
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["orphan record: golden/records/a.json: remove the file"])
    assert result.ret == pytest.ExitCode.OK
    result = run_gate(pytester, GREEN, "--strict-floors", directory=pytester.path / "run")
    result.assert_outcomes(passed=6)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_silence_about_a_case_is_red(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN[:4])
    result.assert_outcomes(passed=4, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["codes/int8@onnxruntime: the gate judged nothing about its size"])


GAPS = (
    NotProven(case=INT8, metric="case", reason="built, not run: no GPU"),
    NotProven(case=FP32, metric="latency_ratio_b1", reason="no latency floors for cpu:new"),
)


def test_what_is_not_proven_is_skipped_with_the_reason_and_counted(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN[:2], gaps=GAPS)
    result.assert_outcomes(passed=2, skipped=4)
    result.stdout.fnmatch_lines(["*not proven: built, not run: no GPU"])
    result.stdout.fnmatch_lines(["2 PASS, 2 not proven"])
    assert result.ret == pytest.ExitCode.OK


def test_require_timing_turns_missing_latency_floors_into_failures(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN[:2], "--require", "timing", gaps=GAPS)
    result.assert_outcomes(passed=2, skipped=2, failed=2)
    result.stdout.fnmatch_lines(
        ["codes/fp32@onnxruntime latency_ratio_b1: --require timing: no latency floors for cpu:new"]
    )


@pytest.mark.parametrize(("held", "failed"), [(True, 0), (False, 1)])
def test_require_timing_fails_a_run_in_which_no_time_was_held_against_a_floor(
    pytester: pytest.Pytester, held: bool, failed: int
) -> None:
    pays = replace(verdict(INT8, "pays/int8_b1", Status.PASS), unit="ratio")
    verdicts = [*GREEN[:2], *GREEN[3:5], pays, *(GREEN[5:] if held else [])]
    result = run_gate(pytester, verdicts, "--require", "timing", "-k", "fp32")
    result.assert_outcomes(passed=2, skipped=1 - failed, failed=failed, deselected=3)
    if failed:
        told = "no time of this run was held against a floor: 'slimgate accept RUN_DIR' prints them"
        result.stdout.fnmatch_lines([f"codes/fp32@onnxruntime: --require timing: {told}"])


def test_a_session_in_which_the_gate_judged_nothing_is_red(pytester: pytest.Pytester) -> None:
    gaps = tuple(NotProven(case=case, metric="case", reason="no data") for case in (FP32, INT8))
    result = run_gate(pytester, [], gaps=gaps)
    result.assert_outcomes(skipped=6)
    result.stdout.fnmatch_lines(
        [
            "slimgate: the gate judged nothing: 6 skipped, such as: not proven: no data",
            "  what to do: mend the reason for skipping*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_run_of_another_study_is_refused(pytester: pytest.Pytester) -> None:
    directory = make_run(pytester.path / "run", [make_measurement()], study={"id": "other"})
    result = run_gate(pytester, GREEN, directory=directory)
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["*run: a run of study 'other'", "  expected: a run of study 'codes'"])


def test_a_run_that_was_interrupted_is_refused(pytester: pytest.Pytester) -> None:
    directory = make_run(pytester.path / "run", [make_measurement()])
    (directory / "verdicts.json").unlink()
    result = run_gate(pytester, GREEN, directory=directory)
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["*verdicts.json: no such file"])


def test_a_study_that_cannot_be_read_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, GREEN, "--slimgate-study", "missing.toml")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*study missing.toml: no such file*"])


@pytest.mark.slow
def test_workers_share_the_verdicts_and_do_not_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    directory = make_run(pytester.path / "run", [make_measurement()], Judgement(verdicts=tuple(GREEN)))
    result = pytester.runpytest_subprocess(
        *QUIET, "-n", "1", "--slimgate-study", "study.toml", "--slimgate-run", str(directory)
    )
    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(["*slimgate verdicts*", "6 PASS, 0 not proven"])


def test_benchmarks_carry_the_device_and_the_versions(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a worker of pytest-xdist, pytest-benchmark would measure nothing and write nothing.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile("def test_add(benchmark): benchmark(lambda: 1 + 1)")
    result = pytester.runpytest_inprocess(
        "-p",
        "no:randomly",
        "--benchmark-json=out.json",
        "--benchmark-max-time=0.01",
        "--benchmark-min-rounds=1",
    )
    result.assert_outcomes(passed=1)
    facts = json.loads((pytester.path / "out.json").read_text())["machine_info"]["slimgate"]
    assert facts["device"].startswith("cpu:")
    assert facts["versions"]["numpy"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a study in place that writes a green run at once, and keep what it was asked for."""
    calls: list[dict[str, Any]] = []
    monkeypatch.delenv("SLIMGATE_HISTORY", raising=False)

    def run_study(study: Study, out: Path, **options: Any) -> None:
        calls.append(options)
        make_run(out, [make_measurement()], Judgement(verdicts=tuple(GREEN)))

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    return calls


def run_study_suite(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE)
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    return pytester.runpytest_inprocess(*QUIET, "--slimgate-study", "study.toml", *options)


def test_the_study_runs_once_for_the_whole_session(
    pytester: pytest.Pytester, asked: list[dict[str, Any]]
) -> None:
    result = run_study_suite(pytester)
    result.assert_outcomes(passed=6)
    (options,) = asked
    assert (options["expression"], options["timing"], options["strict_floors"]) == ("", True, False)
    run_study_suite(pytester, "--strict-floors")
    assert asked[-1]["strict_floors"]
    result.stdout.fnmatch_lines(["6 PASS, 0 not proven", "report: *study-codes"])


@pytest.mark.parametrize(
    ("selection", "expression"),
    [("codes/int8@onnxruntime", str(INT8)), ("fp32", str(FP32)), ("test_size", "")],
)
def test_only_the_selected_cases_are_run(
    pytester: pytest.Pytester, asked: list[dict[str, Any]], selection: str, expression: str
) -> None:
    run_study_suite(pytester, "-k", selection)
    assert [options["expression"] for options in asked] == [expression]


def test_a_study_that_cannot_run_fails_every_test_with_its_message(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_study(study: Study, out: Path, **options: Any) -> None:
        raise InputError("weights.safetensors", found="no such file", expected="weights", action="train")

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    result = run_study_suite(pytester)
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["weights.safetensors: no such file"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_study_that_broke_in_one_worker_is_not_run_again_by_another(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def run_study(study: Study, out: Path, **options: Any) -> None:
        runs.append(1)
        raise ZeroDivisionError("a slip of our own")

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    # Two sessions over one base folder, as two workers of pytest-xdist are.
    base = pytester.path / "base"
    base.mkdir()
    monkeypatch.setattr("slimgate.plugin.study._shared_folder", lambda session, factory: base)
    first = run_study_suite(pytester)
    first.assert_outcomes(errors=6)
    first.stdout.fnmatch_lines(["E*ZeroDivisionError: a slip of our own"])
    second = run_study_suite(pytester)
    second.assert_outcomes(errors=6)
    second.stdout.fnmatch_lines(["the study broke in another worker: ZeroDivisionError: a slip of our own"])
    assert len(runs) == 1
