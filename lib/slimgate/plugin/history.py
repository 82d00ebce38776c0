"""The shared study run joins the history; where it cannot, the session is red and says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slimgate.errors import SlimgateError, name_offenders
from slimgate.plugin.complaints import complain
from slimgate.plugin.minimum import list_too_few
from slimgate.plugin.timing import NO_TIME_HELD, holds_times, is_under_xdist

if TYPE_CHECKING:
    from slimgate.gate import Judgement
    from slimgate.study import Study

_WHERE = pytest.StashKey[str]()
_COMPLAINT = pytest.StashKey[str]()
_OUTPUT = "slimgate_history"


def add_to_history(directory: Path, study: Study, config: pytest.Config) -> None:
    """Add a finished run to the history of its study; a complaint waits for the end of the session."""
    from slimgate.gate import load_run
    from slimgate.gate.history import History, entry_from_run
    from slimgate.study.spec import NO_HISTORY, history_folder

    given = config.getoption("--slimgate-history")
    folder = None if given == NO_HISTORY else history_folder(study, Path(given) if given else None)
    if folder is None:
        return
    try:
        files = load_run(directory)
        failed_by = list_failures(files.judgement, study, config)
        History(folder).append(entry_from_run(files, failed_by=failed_by))
        config.stash[_WHERE] = str(folder)
    except SlimgateError as error:
        config.stash[_COMPLAINT] = str(error)
    if is_under_xdist(config):
        config.workeroutput[_OUTPUT] = (  # type: ignore[attr-defined]
            config.stash.get(_WHERE, ""),
            config.stash.get(_COMPLAINT, ""),
        )


def list_failures(judgement: Judgement, study: Study, config: pytest.Config) -> list[str]:
    """Return what fails a session by its options alone: too little ran, whatever of it is green."""
    from slimgate.gate import WHOLE_CASE, kind_of

    required = config.getoption("--require")
    idle = {gap.case for gap in judgement.not_proven if gap.metric == WHOLE_CASE}
    no_gpu = sorted(str(case) for case in idle & study.gpu_cases)
    untimed = [
        gap for gap in judgement.not_proven if gap.metric == WHOLE_CASE or kind_of(gap.metric) == "latency"
    ]
    failures = []
    if "gpu" in required and no_gpu:
        failures.append(f"--require gpu: not run: {name_offenders(no_gpu)}")
    if "timing" in required and untimed:
        failures.append(f"--require timing: {len(untimed)} not proven, such as {untimed[0].reason}")
    elif "timing" in required and not holds_times(judgement):
        failures.append(f"--require timing: {NO_TIME_HELD}")
    ran = {verdict.case for verdict in judgement.verdicts} - idle
    on = {(str(case), "gpu" if case in study.gpu_cases else "cpu") for case in ran}
    return failures + list_too_few(on, dict(config.getoption("--slimgate-min-cases")))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over from the worker of pytest-xdist that ran the study what became of its run."""
    where, complaint = getattr(node, "workeroutput", {}).get(_OUTPUT, ("", ""))
    if where:
        node.config.stash[_WHERE] = where
    if complaint:
        node.config.stash[_COMPLAINT] = complaint


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a session red whose run is in no history: silence would be noticed when the history is needed."""
    complaint = session.config.stash.get(_COMPLAINT, "")
    if complaint:
        complain(session.config, f"slimgate: the run is in no history: {complaint}")
    if complaint and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the run went, or why it went nowhere."""
    where, complaint = config.stash.get(_WHERE, ""), config.stash.get(_COMPLAINT, "")
    if where:
        terminalreporter.write_line(f"history: {where}")
    if complaint:
        terminalreporter.write_line(f"slimgate: the run is in no history: {complaint}", red=True)
