"""The pytest plugin: markers and options; its modules add tiers, timing, the study run and the summary."""

from __future__ import annotations

import pytest

from slimgate import __version__
from slimgate.plugin.devices import count_gpus
from slimgate.plugin.marks import INI as MARKERS_INI
from slimgate.plugin.marks import is_meant
from slimgate.plugin.study import STUDY_INI
from slimgate.plugin.tiers import INI as TIERS_INI

pytest_plugins = (
    "slimgate.plugin.complaints",
    "slimgate.plugin.devices",
    "slimgate.plugin.marks",
    "slimgate.plugin.minimum",
    "slimgate.plugin.tiers",
    "slimgate.plugin.timing",
    "slimgate.plugin.selection",
    "slimgate.plugin.study",
    "slimgate.plugin.history",
    "slimgate.plugin.summary",
)

_MARKERS = (
    "gpu: needs an NVIDIA GPU; skipped with the reason where there is none, failed under --require gpu",
    "slow: takes minutes; runs only with --slimgate-slow",
    "timing: measures time, so it refuses pytest-xdist",
    "gate: asserts a verdict of the study; a session in which all of these were skipped is red",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ``slimgate`` group."""
    group = parser.getgroup("slimgate", "slimgate: compressed detectors and their gate")
    group.addoption(
        "--require",
        action="append",
        default=[],
        choices=("gpu", "timing", "data"),
        help="fail what would be skipped: 'gpu' (no GPU here), 'timing' (no latency floors for this device), 'data' "
        "(weights or images that cannot be fetched; the other two fail these as well)",
    )
    group.addoption(
        "--strict-floors",
        action="store_true",
        help="a measurement better than its floor by more than the slack (STALE) is red",
    )
    group.addoption(
        "--slimgate-study",
        metavar="STUDY",
        default=None,
        help=f"study TOML file, or name of a built-in study, that the gate's tests run (default: ini key {STUDY_INI})",
    )
    group.addoption(
        "--slimgate-run",
        metavar="DIR",
        default=None,
        help="judge by the verdicts of a finished run directory instead of running the study",
    )
    group.addoption(
        "--slimgate-out",
        metavar="DIR",
        default=None,
        help="new directory for the study's run and its report (default: in pytest's temporary folder)",
    )
    group.addoption(
        "--slimgate-history",
        metavar="DIR",
        default=None,
        help="history that the study's run is added to; 'off' for none (default: SLIMGATE_HISTORY, else "
        ".slimgate/history beside the study's golden folder)",
    )
    group.addoption("--slimgate-slow", action="store_true", help="run the tests marked slow")
    parser.addini(
        STUDY_INI,
        help="study of this project: a TOML file, relative to this file, or a built-in study's name",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return the line that says which device the session ran on; none in a project that does not use slimgate."""
    asked = [config.getoption(name) for name in ("--slimgate-study", "--slimgate-run", "--require")]
    if not any(asked) and not any(config.getini(key) for key in (STUDY_INI, MARKERS_INI, TIERS_INI)):
        return None
    from slimgate.measure import device_key

    return f"slimgate: {__version__}, device {device_key()}, gpu: {why_no_gpu() or 'yes'}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, with the reason; ``--require gpu`` turns that into a failure."""
    if is_meant(item, "slow") and not item.config.getoption("--slimgate-slow"):
        pytest.skip("slow: runs with --slimgate-slow")
    if is_meant(item, "gpu"):
        reason = why_no_gpu()
        if reason and "gpu" in item.config.getoption("--require"):
            pytest.fail(f"--require gpu: {reason}", pytrace=False)
        if reason:
            pytest.skip(f"no GPU: {reason}")


def why_no_gpu() -> str | None:
    """Return why no NVIDIA GPU can be used here, or None; asks the driver, loads no framework."""
    return count_gpus()[1]
