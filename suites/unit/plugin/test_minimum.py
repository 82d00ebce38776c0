"""A night in which too little ran is red."""

from __future__ import annotations

import pytest
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Judgement, NotProven

from fixtures.goldens import FP32, INT8, STUDY_TOML, make_measurement, make_run

CUDA = Case(study="codes", variant="int8", runtime="onnxruntime-cuda")
SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts): assert_verdicts(gate_case, "accuracy")
def test_own(): pass
"""


@pytest.fixture
def night(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a session over two cases of the CPU, which ran, and one of the GPU, which did not."""
    pytester.makepyfile(SUITE)
    text = STUDY_TOML[::-1].replace('"onnxruntime"'[::-1], '"onnxruntime", "onnxruntime-cuda"'[::-1], 1)[::-1]
    (pytester.path / "study.toml").write_text(text)
    verdicts = [
        Verdict(
            case=case, metric="map50_95", status=status, measured=0.9, floor=0.8, unit="fraction", message="m"
        )
        for case, status in ((FP32, Status.PASS), (INT8, Status.FAIL))
    ]
    gaps = (NotProven(case=CUDA, metric="case", reason="built, not run: no NVIDIA GPU"),)
    make_run(
        pytester.path / "run", [make_measurement()], Judgement(verdicts=tuple(verdicts), not_proven=gaps)
    )
    return pytester


def run(night: pytest.Pytester, *options: str) -> pytest.RunResult:
    quiet = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
    return night.runpytest_inprocess(
        *quiet, "--slimgate-study", "study.toml", "--slimgate-run", "run", *options
    )


@pytest.mark.parametrize("options", [("cpu=1",), ("1",), ()])
def test_enough_cases_change_nothing(night: pytest.Pytester, options: tuple[str, ...]) -> None:
    chosen = [f"--slimgate-min-cases={least}" for least in options]
    result = run(night, "-k", str(FP32), *chosen)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*--slimgate-min-cases*")


@pytest.mark.parametrize(
    ("least", "message"),
    [
        ("cpu=2", "slimgate: 1 cases ran on cpu, --slimgate-min-cases asks for 2"),
        ("2", "slimgate: 1 cases ran, *2"),
    ],
)
def test_too_few_are_red(night: pytest.Pytester, least: str, message: str) -> None:
    result = run(night, "-k", str(FP32), "--slimgate-min-cases", least)
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines([message, "  what to do: look at the skipped tests above*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_case_that_fails_has_run(night: pytest.Pytester) -> None:
    result = run(night, "--slimgate-min-cases", "cpu=2")
    result.assert_outcomes(passed=2, failed=1, skipped=1)
    result.stdout.no_fnmatch_line("*--slimgate-min-cases*")


def test_a_case_that_was_only_built_has_not_run(night: pytest.Pytester) -> None:
    result = run(night, "--slimgate-min-cases", "gpu=1", "--slimgate-min-cases", "cpu=2")
    result.stdout.fnmatch_lines(["slimgate: 0 cases ran on gpu, --slimgate-min-cases asks for 1"])
    result.stdout.no_fnmatch_line("*ran on cpu*")


def test_a_session_without_any_test_is_red(night: pytest.Pytester) -> None:
    result = run(night, "-k", "nothing_is_called_so", "--slimgate-min-cases", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["slimgate: 0 cases ran, --slimgate-min-cases asks for 1"])


@pytest.mark.slow
def test_cases_that_ran_in_workers_count(night: pytest.Pytester) -> None:
    options = ("-n", "1", "--slimgate-study", "study.toml", "--slimgate-run", "run", "-p", "no:cacheprovider")
    result = night.runpytest_subprocess(*options, "--slimgate-min-cases=cpu=2", "--slimgate-min-cases=gpu=1")
    result.stdout.fnmatch_lines(["slimgate: 0 cases ran on gpu, --slimgate-min-cases asks for 1"])
    result.stdout.no_fnmatch_line("*ran on cpu*")


@pytest.mark.parametrize("text", ["0", "gpu=", "tpu=3", "many", "gpu=-1"])
def test_a_minimum_that_cannot_be_read_is_refused(night: pytest.Pytester, text: str) -> None:
    result = run(night, f"--slimgate-min-cases={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*'{text}' is no minimum", "  expected: N, cpu=N or gpu=N*"])


def test_require_gpu_makes_an_idle_case_of_the_gpu_a_failure(night: pytest.Pytester) -> None:
    result = run(night, "--require", "gpu", "-k", str(CUDA))
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["codes/int8@onnxruntime-cuda: --require gpu: built, not run: no NVIDIA GPU"])


def test_the_run_is_kept_where_asked(night: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_study(study: object, out: object, **options: object) -> None:
        asked.append((str(out), options["timing"]))
        make_run(night.path / str(out), [make_measurement()], Judgement())

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    quiet = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider")
    night.runpytest_inprocess(*quiet, "--slimgate-study", "study.toml", "--slimgate-out", "kept")
    assert asked == [("kept", False)], "nothing that measures time was selected"
    assert (night.path / "kept" / "run.json").is_file()
