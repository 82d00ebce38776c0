"""The pytest plugin: markers and options; its modules add tiers, timing, the study run and the summary."""

from __future__ import annotations

import ctypes
import functools

import pytest

from slimgate import __version__

pytest_plugins = (
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
        choices=("gpu", "timing"),
        help="fail what would be skipped: 'gpu' (no GPU here), 'timing' (no latency floors for this device)",
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
        help="study TOML file, or name of a built-in study, that the gate's tests run (default: codes)",
    )
    group.addoption(
        "--slimgate-run",
        metavar="DIR",
        default=None,
        help="judge by the verdicts of a finished run directory instead of running the study",
    )
    group.addoption(
        "--slimgate-history",
        metavar="DIR",
        default=None,
        help="history that the study's run is added to; 'off' for none (default: SLIMGATE_HISTORY, else "
        ".slimgate/history beside the study's golden folder)",
    )
    group.addoption("--slimgate-slow", action="store_true", help="run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header() -> str:
    """Return the line that says which device the session ran on."""
    from slimgate.measure import device_key

    return f"slimgate: {__version__}, device {device_key()}, gpu: {why_no_gpu() or 'yes'}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, with the reason; ``--require gpu`` turns that into a failure."""
    if item.get_closest_marker("slow") and not item.config.getoption("--slimgate-slow"):
        pytest.skip("slow: runs with --slimgate-slow")
    if item.get_closest_marker("gpu"):
        reason = why_no_gpu()
        if reason and "gpu" in item.config.getoption("--require"):
            pytest.fail(f"--require gpu: {reason}", pytrace=False)
        if reason:
            pytest.skip(f"no GPU: {reason}")


@functools.cache
def why_no_gpu() -> str | None:
    """Return why no NVIDIA GPU can be used here, or None; asks the driver, loads no framework."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the NVIDIA driver is not installed (libcuda.so.1 does not load)"
    code = cuda.cuInit(0)
    if code != 0:
        return f"the NVIDIA driver does not start (cuInit returned {code})"
    count = ctypes.c_int(0)
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return None if count.value else "the NVIDIA driver sees no GPU"
