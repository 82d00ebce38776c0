"""Time is measured alone: tests marked ``timing`` refuse pytest-xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slimgate.plugin.marks import is_meant

if TYPE_CHECKING:
    from slimgate.gate import Judgement

REFUSAL = "timing suites refuse xdist: run them without -n"
NO_TIME_HELD = "no time of this run was held against a floor: 'slimgate accept RUN_DIR' prints them"


def is_under_xdist(config: pytest.Config) -> bool:
    """Return whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def holds_times(judgement: Judgement) -> bool:
    """Return whether any time of a run was held against a floor; whether a variant pays is asked without one."""
    from slimgate.gate import kind_of
    from slimgate.measure import is_metric

    return any(is_metric(one.metric) and kind_of(one.metric) == "latency" for one in judgement.verdicts)


def pytest_configure(config: pytest.Config) -> None:
    """Watch the reports where they reach the user."""
    if not is_under_xdist(config):
        config.pluginmanager.register(_Watch(), "slimgate-timing-watch")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a timing test in a worker, saying why."""
    if is_under_xdist(item.config) and is_meant(item, "timing"):
        pytest.skip(REFUSAL)


class _Watch:
    """Turns a session that asked only for timing tests under xdist into a usage error (exit code 4)."""

    def __init__(self) -> None:
        self.refused = 0
        self.executed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and REFUSAL in str(report.longrepr):
            self.refused += 1
        elif report.when == "call" or report.failed:
            self.executed += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and not self.executed:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.refused:
            terminalreporter.write_line(f"slimgate: {REFUSAL} ({self.refused} not run)", yellow=True)
