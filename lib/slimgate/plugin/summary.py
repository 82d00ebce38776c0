"""The end of a session: the verdicts worst first, and red where the gate judged nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slimgate.plugin.complaints import complain
from slimgate.plugin.study import OF_GATE, RUN_DIRECTORY
from slimgate.plugin.timing import REFUSAL, is_under_xdist

if TYPE_CHECKING:
    from slimgate.gate import Judgement

_MOST_LINES = 20
_NO_GPU = "no GPU: "
_WHAT_TO_DO = (
    "  what to do: mend the reason for skipping, or select tests that can run here; a session without a verdict proves "
    "nothing"
)
_COLUMNS = ("verdict", "case", "metric", "measured", "floor")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the gate's reports where they reach the user."""
    if not is_under_xdist(config):
        config.pluginmanager.register(_Watch(), "slimgate-gate-watch")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the run directory from the workers of pytest-xdist."""
    directory = getattr(node, "workeroutput", {}).get("slimgate_run")
    if directory:
        node.config.stash[RUN_DIRECTORY] = Path(directory)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add the device key and the versions to what pytest-benchmark stores."""
    from slimgate.measure import environment

    facts = environment()
    machine_info["slimgate"] = {"device": facts["device"], "versions": facts["versions"]}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the verdicts of the study's run."""
    directory = config.stash.get(RUN_DIRECTORY, None)
    if directory is None:
        return
    from slimgate.gate import load_run

    judgement = load_run(directory).judgement
    strict = config.getoption("--strict-floors")
    terminalreporter.section("slimgate verdicts")
    for line in tabulate(judgement):
        terminalreporter.write_line(line)
    for verdict in judgement.waived:
        terminalreporter.write_line(f"waived: {verdict.case} {verdict.metric}: {verdict.waived}", yellow=True)
    for finding in judgement.findings:
        terminalreporter.write_line(finding.brief, yellow=True)
    red = judgement.is_red(strict_floors=strict)
    terminalreporter.write_line(judgement.summary(), red=red, green=not red)
    report = directory / "report.html"
    terminalreporter.write_line(f"report: {report if report.is_file() else directory}")


def tabulate(judgement: Judgement) -> list[str]:
    """Return the verdicts as aligned lines, worst first, at most twenty."""
    from slimgate.gate.message import show_number

    rows = [_COLUMNS]
    for verdict in judgement.worst_first[:_MOST_LINES]:
        measured, floor = (
            "-" if number is None else show_number(number, verdict.unit)
            for number in (verdict.measured, verdict.floor)
        )
        rows.append((verdict.label, str(verdict.case), verdict.metric, measured, floor))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    more = len(judgement.verdicts) - _MOST_LINES
    return [*lines, f"and {more} more, none of them worse"] if more > 0 else lines


def _list_untidy(config: pytest.Config) -> list[str]:
    """Return what strict floors do not forgive about the golden files; no single test says so."""
    directory = config.stash.get(RUN_DIRECTORY, None)
    if directory is None or not config.getoption("--strict-floors"):
        return []
    from slimgate.gate import load_run

    return [str(finding) for finding in load_run(directory).judgement.findings if finding.strict]


class _Watch:
    """Turns a session red in which every selected test of the gate was skipped, but for want of a GPU."""

    def __init__(self) -> None:
        self.judged = 0
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not getattr(report, OF_GATE, False):
            return
        if hasattr(report, "wasxfail"):
            self.judged += 1  # pytest calls it skipped; a waived verdict was judged
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped.append(reason.removeprefix("Skipped: "))
        elif report.when == "call" or report.failed:
            self.judged += 1

    @property
    def judged_nothing(self) -> bool:
        avoidable = [reason for reason in self.skipped if not reason.startswith((_NO_GPU, REFUSAL))]
        return bool(avoidable) and not self.judged

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        nothing = [self.told] if self.judged_nothing else []
        complaints = [*nothing, *_list_untidy(session.config)]
        complain(session.config, *complaints)
        if session.exitstatus == pytest.ExitCode.OK and complaints:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @property
    def told(self) -> str:
        return f"slimgate: the gate judged nothing: {len(self.skipped)} skipped, such as: {self.skipped[0]}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.judged_nothing:
            terminalreporter.write_line(self.told, red=True)
            terminalreporter.write_line(_WHAT_TO_DO, red=True)
