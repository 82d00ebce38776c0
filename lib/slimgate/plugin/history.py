"""The shared study run joins the history; where it cannot, the session is red and says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slimgate.errors import SlimgateError
from slimgate.plugin.complaints import complain
from slimgate.plugin.timing import is_under_xdist

if TYPE_CHECKING:
    from slimgate.study import Study

_WHERE = pytest.StashKey[str]()
_COMPLAINT = pytest.StashKey[str]()
_OUTPUT = "slimgate_history"


def add_to_history(directory: Path, study: Study, config: pytest.Config) -> None:
    """Add a finished run to the history of its study; a complaint waits for the end of the session."""
    from slimgate.gate import load_run
    from slimgate.gate.history import History
    from slimgate.study.spec import NO_HISTORY, history_folder

    given = config.getoption("--slimgate-history")
    folder = None if given == NO_HISTORY else history_folder(study, Path(given) if given else None)
    if folder is None:
        return
    try:
        History(folder).append(load_run(directory))
        config.stash[_WHERE] = str(folder)
    except SlimgateError as error:
        config.stash[_COMPLAINT] = str(error)
    if is_under_xdist(config):
        config.workeroutput[_OUTPUT] = (  # type: ignore[attr-defined]
            config.stash.get(_WHERE, ""),
            config.stash.get(_COMPLAINT, ""),
        )


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
