"""Ctrl-C in a real process: one message, exit code 2, and nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slimgate.flow import Detector

from fixtures.tiny_project import STUDY, write_project

PATIENCE_S = 90
# What a shell starts in the background ignores Ctrl-C, and so do its children: the tests may have been started there.
SLIMGATE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("slimgate", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_an_interrupted_study_leaves_its_store_and_nothing_else(
    tiny_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project(tmp_path / "project", tiny_detector, STUDY)
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path / "cache"))
    before = {path.name for path in project.iterdir()}
    command = [sys.executable, "-c", SLIMGATE, "study", "tiny.toml", "--out", "run", "--no-history"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        # The first finished artifact: from here on files are being written.
        while not list((tmp_path / "cache" / "store").glob("*/*/entry.json")):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert list(project.glob(".run-*")), "the run is written beside its place"
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert shown.endswith(
        "slimgate: interrupted\n  expected: the command to finish\n"
        "  what to do: run it again; finished artifacts are kept and reused\n"
    )
    assert shown.count("slimgate: ") == 1
    assert "Traceback" not in shown
    assert {path.name for path in project.iterdir()} == before
    entries = [path for path in (tmp_path / "cache" / "store").glob("*/*") if path.is_dir()]
    assert all((entry / "entry.json").is_file() for entry in entries)
