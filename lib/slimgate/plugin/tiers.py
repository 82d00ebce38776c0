"""Time budgets: every folder of the suites declares its seconds, and the summary names those that overran."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

import pytest

INI = "slimgate_tiers"
EXTRA_SECONDS = "slimgate_study_s"
"""User property of a report: seconds of it that were the shared study run, not the test."""

_SPENT = pytest.StashKey[defaultdict[str, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini key that holds the budgets."""
    parser.addini(
        INI,
        type="linelist",
        default=[],
        help="seconds per folder of the suites, '<folder> <seconds>' a line; an undeclared folder is an error",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the sums of this session."""
    config.stash[_SPENT] = defaultdict(float)
    config.pluginmanager.register(_Meter(config), "slimgate-tier-meter")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse tests in a folder without a budget."""
    budgets = budgets_s(config)
    if not budgets:
        return
    undeclared = sorted(
        {tier for item in items if (tier := _tier_of(config, item.nodeid)) not in budgets and tier}
    )
    if undeclared:
        raise pytest.UsageError(
            f"{INI}: no time budget for {', '.join(undeclared)}\n"
            f"  expected: one of {', '.join(budgets)}\n"
            f"  what to do: add a line '{undeclared[0]} <seconds>' to {INI} in pyproject.toml"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tiers that took longer than they declared; a busy machine is no failure."""
    if config.getoption("numprocesses", default=None):
        return  # workers wait for each other's cores: their sum is not what a tier takes
    spent = config.stash[_SPENT]
    for tier, budget_s in budgets_s(config).items():
        if spent[tier] > budget_s:
            terminalreporter.write_line(
                f"slimgate: tier '{tier}' took {spent[tier]:.0f} s, its budget is {budget_s:.0f} s",
                yellow=True,
            )


def budgets_s(config: pytest.Config) -> dict[str, float]:
    """Return the declared seconds per tier.

    Raises:
        pytest.UsageError: a line is not a name and a number of seconds above zero.
    """
    budgets = {}
    for line in config.getini(INI):
        tier, _, seconds = line.partition(" ")
        try:
            budgets[tier] = float(seconds)
        except ValueError:
            budgets[tier] = 0.0
        if budgets[tier] <= 0:
            raise pytest.UsageError(
                f"{INI}: cannot read '{line}'\n  expected: '<folder> <seconds>', such as 'unit 120'\n"
                "  what to do: correct the line in pyproject.toml"
            )
    return budgets


class _Meter:
    """Adds up the seconds of every report, on the process that reports to the user."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = self.config.stash[_SPENT]
        study_s = sum(float(str(value)) for name, value in report.user_properties if name == EXTRA_SECONDS)
        spent["study"] += study_s
        spent[_tier_of(self.config, report.nodeid)] += report.duration - study_s


def _tier_of(config: pytest.Config, nodeid: str) -> str:
    path = PurePosixPath(nodeid.split("::")[0])
    for root in config.getini("testpaths"):
        if path.is_relative_to(root) and len(path.relative_to(root).parts) > 1:
            return path.relative_to(root).parts[0]
    return ""
