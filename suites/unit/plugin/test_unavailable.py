"""A study whose weights or images cannot be had: skipped with the reason, counted, and red as a session."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.goldens import STUDY_TOML

QUIET = ("-p", "no:randomly", "-p", "no:benchmark", "-p", "no:cacheprovider", "-rs")
SUITE = """
import pytest
@pytest.mark.gate
def test_accuracy(gate_case, assert_verdicts): assert_verdicts(gate_case, "accuracy")
def test_of_the_project(): pass
"""

pytestmark = pytest.mark.usefixtures("no_network")


def run_pytest(pytester: pytest.Pytester, *options: str, suite: str = SUITE) -> pytest.RunResult:
    pytester.makepyfile(suite)
    text = STUDY_TOML.replace("weights.safetensors", "fetch:yolov5n.pt")
    (pytester.path / "study.toml").write_text(text)
    return pytester.runpytest_inprocess(*QUIET, "--slimgate-study", "study.toml", *options)


def test_its_cases_are_skipped_with_the_reason_and_the_session_is_red(pytester: pytest.Pytester) -> None:
    result = run_pytest(pytester)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*not proven: yolov5n.pt: not on this machine, and https://*what to do: *"])
    result.stdout.fnmatch_lines(
        ["slimgate: the gate judged nothing: 2 skipped, such as: not proven: yolov5n.pt*"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("requirement", ["data", "gpu"])
def test_require_turns_the_skip_into_a_failure(pytester: pytest.Pytester, requirement: str) -> None:
    result = run_pytest(pytester, "--require", requirement)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines([f"--require {requirement}: yolov5n.pt: not on this machine*"])
    result.stdout.no_fnmatch_line("*Traceback*")


AGAIN = """
import pytest
from slimgate.errors import UnavailableError
from slimgate.plugin import study
def test_again(request, tmp_path_factory):
    with pytest.raises(UnavailableError):
        study._run_once(request.session, tmp_path_factory)
    with pytest.raises(pytest.skip.Exception, match="not proven: yolov5n.pt: not on this machine"):
        study._run_once(request.session, tmp_path_factory)
"""


def test_another_worker_is_told_and_does_not_try_again(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimgate.study import pipeline

    tried: list[object] = []
    prepare = pipeline.prepare_study

    def counted(*args: Any, **options: Any) -> object:
        tried.append(args)
        return prepare(*args, **options)

    monkeypatch.setattr(pipeline, "prepare_study", counted)
    run_pytest(pytester, suite=AGAIN).assert_outcomes(passed=1)
    assert len(tried) == 1
