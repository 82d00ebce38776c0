"""A session in which too little ran is red: ``--slimgate-min-cases``."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pytest

from slimgate.plugin.complaints import complain
from slimgate.plugin.timing import is_under_xdist

if TYPE_CHECKING:
    from slimgate.flow import Case

EXECUTED = pytest.StashKey[tuple[str, str]]()
"""On a test: the case it judged and the device the case ran on (``cpu``, ``gpu``)."""

_EVERY = ""
_DEVICES = ("cpu", "gpu")
_ON_REPORT = "slimgate_executed"
_WHAT_TO_DO = (
    "  what to do: look at the skipped tests above and at NOT PROVEN in the report; lower the number only with a case "
    "that left the study"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("slimgate").addoption(
        "--slimgate-min-cases",
        action="append",
        default=[],
        type=_parse_minimum,
        metavar="[DEVICE=]N",
        help="red unless the gate judged at least N cases that really ran, of those on DEVICE (cpu or gpu) or of "
        "all; may be given once per device: --slimgate-min-cases gpu=9",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Count where the reports reach the user."""
    if not is_under_xdist(config):
        config.pluginmanager.register(_Count(config), "slimgate-case-count")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Let the report say which case ran, so that workers of pytest-xdist are counted as well."""
    report = yield
    executed = item.stash.get(EXECUTED, None)
    if executed is not None and report.when == "call":  # type: ignore[attr-defined]
        setattr(report, _ON_REPORT, list(executed))
    return report


def note_execution(item: pytest.Item, case: Case, device: str) -> None:
    """Note that a test judged a case that ran on a device of this machine."""
    item.stash[EXECUTED] = (str(case), device)


def list_too_few(ran: Collection[tuple[str, str]], minima: Mapping[str, int]) -> list[str]:
    """Return a line for each minimum that is not reached.

    Args:
        ran: case ids that really ran, each with its device.
        minima: the least number of them by device; of all under the empty one.
    """
    lines = []
    for device, least in minima.items():
        count = sum(device in (_EVERY, ran_on) for _, ran_on in ran)
        if count < least:
            where = f" on {device}" if device else ""
            lines.append(f"{count} cases ran{where}, --slimgate-min-cases asks for {least}")
    return lines


class _Count:
    """Counts the cases that ran, and turns the session red where there are too few."""

    def __init__(self, config: pytest.Config) -> None:
        self.minima: dict[str, int] = dict(config.getoption("--slimgate-min-cases"))
        self.ran: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        executed = getattr(report, _ON_REPORT, None)
        if executed is not None:
            self.ran.add((executed[0], executed[1]))

    @property
    def too_few(self) -> list[str]:
        return [f"slimgate: {line}" for line in list_too_few(self.ran, self.minima)]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        complain(session.config, *self.too_few)
        green = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.too_few and session.exitstatus in green:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.too_few:
            terminalreporter.write_line(line, red=True)
        if self.too_few:
            terminalreporter.write_line(_WHAT_TO_DO, red=True)


def _parse_minimum(text: str) -> tuple[str, int]:
    device, _, number = text.rpartition("=")
    if not number.isdecimal() or int(number) < 1 or (device and device not in _DEVICES):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no minimum\n  expected: N, cpu=N or gpu=N, with N of 1 or more\n"
            "  what to do: such as --slimgate-min-cases gpu=9"
        )
    return device, int(number)
