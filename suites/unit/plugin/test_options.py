from __future__ import annotations

from collections.abc import Sequence

import pytest
from slimgate import plugin

QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
KINDS = """
import pytest
@pytest.mark.gpu
def test_gpu(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.timing
def test_timing(): pass
def test_plain(): pass
"""


MARKERS = ("-o", "slimgate_markers=gpu slow timing")


def run_pytest(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*QUIET, *MARKERS, *options)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "why_no_gpu", lambda: "no driver here")


@pytest.mark.usefixtures("no_gpu")
def test_gpu_tests_skip_with_one_clear_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_pytest(pytester, "-m", "gpu")
    result.assert_outcomes(skipped=1, deselected=3)
    result.stdout.fnmatch_lines(["*no GPU: no driver here"])
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.usefixtures("no_gpu")
def test_require_gpu_turns_the_skip_into_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_pytest(pytester, "-m", "gpu", "--require", "gpu")
    result.assert_outcomes(errors=1, deselected=3)
    result.stdout.fnmatch_lines(["--require gpu: no driver here"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_gpu_tests_run_where_there_is_one(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "why_no_gpu", lambda: None)
    pytester.makepyfile(KINDS)
    run_pytest(pytester, "-m", "gpu", "--require", "gpu").assert_outcomes(passed=1, deselected=3)


def test_the_driver_is_asked_without_a_framework() -> None:
    reason = plugin.why_no_gpu()
    assert reason is None or "driver" in reason


def test_slow_tests_run_only_when_asked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_pytest(pytester, "-m", "slow")
    result.stdout.fnmatch_lines(["*slow: runs with --slimgate-slow"])
    run_pytest(pytester, "-m", "slow", "--slimgate-slow").assert_outcomes(passed=1, deselected=3)


def test_the_markers_are_registered(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_pytest(pytester, "--strict-markers", "-k", "plain")
    result.assert_outcomes(passed=1, deselected=3)


def test_an_unknown_requirement_is_refused(pytester: pytest.Pytester) -> None:
    result = run_pytest(pytester, "--require", "gqu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*invalid choice: 'gqu' (choose from*gpu*timing*"])


def test_the_header_names_the_device(pytester: pytest.Pytester) -> None:
    run_pytest(pytester).stdout.fnmatch_lines(["slimgate: *, device cpu:*, gpu: *"])


CASES = """
import pytest
@pytest.mark.parametrize("case", ["codes/int8@onnxruntime", "codes/int8@onnxruntime-cuda"])
def test_case(case): pass
def test_plain(): pass
"""


@pytest.mark.parametrize(
    ("expression", "passed"),
    [("codes/int8@onnxruntime", 1), ("codes/int8@openvino", 0), ("int8", 2), ("plain", 1)],
)
def test_a_case_id_selects_exactly_that_case(pytester: pytest.Pytester, expression: str, passed: int) -> None:
    pytester.makepyfile(CASES)
    run_pytest(pytester, "-k", expression).assert_outcomes(passed=passed, deselected=3 - passed)


def run_workers(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*QUIET, *MARKERS, "-n", "1", *options)


def test_timing_refuses_xdist_and_the_rest_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_workers(pytester, "-m", "not gpu and not slow")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*timing suites refuse xdist: run them without -n (1 not run)"])
    assert result.ret == pytest.ExitCode.OK


def test_asking_only_for_timing_under_xdist_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    result = run_workers(pytester, "-m", "timing")
    result.stdout.fnmatch_lines(["*timing suites refuse xdist: run them without -n*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_timing_runs_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KINDS)
    run_pytest(pytester, "-m", "timing").assert_outcomes(passed=1, deselected=3)


def write_tiers(pytester: pytest.Pytester, tiers: Sequence[str]) -> None:
    lines = "\n    ".join(tiers)
    pytester.makeini(f"[pytest]\ntestpaths = suites\nslimgate_tiers =\n    {lines}\n")
    for tier in ("unit", "nms"):
        folder = pytester.path / "suites" / tier
        folder.mkdir(parents=True)
        (folder / f"test_{tier}.py").write_text("import time\ndef test(): time.sleep(0.02)\n")


def test_a_tier_that_overran_its_budget_is_named(pytester: pytest.Pytester) -> None:
    write_tiers(pytester, ["unit 60", "nms 0.01"])
    result = run_pytest(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["slimgate: tier 'nms' took 0 s, its budget is 0 s"])
    result.stdout.no_fnmatch_line("*tier 'unit'*")


def test_sums_over_workers_are_not_compared(pytester: pytest.Pytester) -> None:
    write_tiers(pytester, ["unit 60", "nms 0.01"])
    result = run_workers(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*its budget is*")


def test_an_undeclared_tier_is_an_error(pytester: pytest.Pytester) -> None:
    write_tiers(pytester, ["unit 60"])
    result = run_pytest(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: slimgate_tiers: no time budget for nms",
            "  expected: one of unit",
            "  what to do: add a line 'nms <seconds>' to slimgate_tiers in pyproject.toml",
        ]
    )


@pytest.mark.parametrize("line", ["unit", "unit soon", "unit 0"])
def test_a_budget_that_cannot_be_read_is_refused(pytester: pytest.Pytester, line: str) -> None:
    write_tiers(pytester, [line])
    result = run_pytest(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: slimgate_tiers: cannot read '{line}'", "  expected: '<folder> <seconds>'*"]
    )


def test_projects_without_tiers_are_left_alone(pytester: pytest.Pytester) -> None:
    write_tiers(pytester, [])
    run_pytest(pytester).assert_outcomes(passed=2)
