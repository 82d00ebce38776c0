"""The plugin in a project that is not slimgate: it serves the gate's tests and leaves every other one alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from slimgate import plugin
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement
from slimgate.study.draft import draft_test

from fixtures.goldens import FP32, INT8, STUDY_TOML, make_measurement, make_run

QUIET = ("-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
OWN = """
import pytest
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.gpu
def test_gpu(): pass
@pytest.mark.timing
def test_timing(): pass
@pytest.mark.gate
def test_gate_of_a_transistor(): pytest.skip("no transistor")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """Return a project with a study, a finished run of it, the test that init writes, and its own settings."""
    (pytester.path / "tests").mkdir()
    (pytester.path / "study.toml").write_text(STUDY_TOML)
    (pytester.path / "tests" / "test_codes.py").write_text(draft_test("study.toml"))
    pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config\nslimgate_study = study.toml\n")
    verdicts = [
        Verdict(
            case=case,
            metric=metric,
            status=Status.PASS,
            measured=1.0,
            floor=0.8,
            unit="fraction",
            message="held",
        )
        for case in (FP32, INT8)
        for metric in ("map50_95", "size_bytes", "latency_ratio_b1")
    ]
    make_run(pytester.path / "run", [make_measurement()], Judgement(verdicts=tuple(verdicts)))
    return pytester.path


def run_gate(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*QUIET, "--slimgate-run", str(pytester.path / "run"), *options)


@pytest.mark.usefixtures("project")
def test_the_written_test_and_one_ini_key_are_a_gate(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "-p", "no:randomly", "-v")
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["slimgate: *, device cpu:*"])
    result.stdout.fnmatch_lines(["*test_floors_hold[[]codes/int8@onnxruntime-accuracy[]] PASSED*"])


@pytest.mark.usefixtures("project")
def test_neither_xdist_nor_benchmark_nor_random_order_is_needed(pytester: pytest.Pytester) -> None:
    absent = ("-p", "no:xdist", "-p", "no:randomly", "-p", "no:hypothesispytest")
    run_gate(pytester, *absent, "-W", "error").assert_outcomes(passed=7)


@pytest.mark.parametrize(
    ("expression", "passed"),
    [("codes/int8@onnxruntime", 3), ("latency", 2), ("int8 and not latency", 2), ("orphan or case", 1)],
)
@pytest.mark.usefixtures("project")
def test_k_selects_cases_and_kinds(pytester: pytest.Pytester, expression: str, passed: int) -> None:
    run_gate(pytester, "-k", expression).assert_outcomes(passed=passed, deselected=7 - passed)


@pytest.mark.parametrize("seed", ["1", "2"])
@pytest.mark.usefixtures("project")
def test_any_order_gives_the_same_outcome(pytester: pytest.Pytester, seed: str) -> None:
    result = run_gate(pytester, f"--randomly-seed={seed}")
    result.assert_outcomes(passed=7)


@pytest.mark.usefixtures("project")
def test_workers_share_the_gate_and_refuse_only_its_times(pytester: pytest.Pytester) -> None:
    (pytester.path / "tests" / "test_own.py").write_text(OWN.replace('pytest.skip("no transistor")', "pass"))
    options = (*QUIET, "-o", "markers=own", "-n", "2", "--slimgate-run", str(pytester.path / "run"))
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=9, skipped=2)
    result.stdout.fnmatch_lines(["*timing suites refuse xdist: run them without -n (2 not run)"])


def test_the_marks_of_a_project_are_its_own(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "why_no_gpu", lambda: "no driver here")
    pytester.makepyfile(OWN)
    result = pytester.runpytest_inprocess(*QUIET)
    result.assert_outcomes(passed=3, skipped=1)
    assert result.ret == pytest.ExitCode.OK, "a gate of another kind that judged nothing is none of ours"
    result.stdout.no_fnmatch_line("*slimgate:*")


def test_a_project_may_ask_for_the_meaning_that_slimgate_gives_its_marks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(OWN)
    pytester.makeini("[pytest]\nslimgate_markers = slow\n")
    result = pytester.runpytest_inprocess(*QUIET)
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["*slow: runs with --slimgate-slow"])


def test_an_unknown_mark_in_the_settings_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nslimgate_markers = slow fast\n")
    result = pytester.runpytest_inprocess(*QUIET)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: slimgate_markers: unknown mark 'fast'",
            "  expected: some of gpu, slow, timing",
            "  what to do: correct slimgate_markers*",
        ]
    )


def test_without_a_study_the_gate_says_how_to_name_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(draft_test("study.toml"))
    result = pytester.runpytest_inprocess(*QUIET)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*no study is named", "*expected: --slimgate-study STUDY, or slimgate_study*"]
    )
    result.stdout.fnmatch_lines(["*slimgate init --model MODEL --data DATA*"])


def test_the_study_is_found_from_a_folder_below(
    pytester: pytest.Pytester, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "tests")
    run_gate(pytester).assert_outcomes(passed=7)


@pytest.mark.parametrize(
    "found",
    [
        "--slimgate-study=STUDY",
        "--slimgate-run=DIR",
        "--slimgate-out=DIR",
        "--slimgate-slow",
        "--slimgate-min-cases=*N",
        "--strict-floors",
        "--require={gpu,timing,data}",
        "slimgate_study (string):*",
        "slimgate_markers (args):*",
        "slimgate_tiers (linelist):*",
    ],
)
def test_help_documents_every_option_and_key(help_lines: Sequence[str], found: str) -> None:
    pytest.LineMatcher(list(help_lines)).fnmatch_lines([f"*{found.replace('[', '[[]')}*"])


@pytest.fixture(scope="module")
def help_lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("empty"),
    )
    return done.stdout.splitlines()
