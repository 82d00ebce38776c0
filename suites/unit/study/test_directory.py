"""A run directory appears whole or not at all, and killed runs do not pile up."""

import subprocess
import sys

import pytest
from slimgate.study.directory import RunWriter

_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from slimgate.study.directory import RunWriter
with RunWriter(Path(sys.argv[1])) as writer:
    (writer.directory / "run.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_appears_whole(tmp_path):
    with RunWriter(tmp_path / "run") as writer:
        (writer.directory / "run.json").write_text("{}")
        assert not (tmp_path / "run").exists()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["cases", "pictures", "run.json"]


def test_a_failed_run_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path / "run"):
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_run(tmp_path):
    out = tmp_path / "run"
    subprocess.run([sys.executable, "-c", _KILLED_RUN, str(out)], check=False)
    left = list(tmp_path.glob(".run-*"))
    assert left

    with RunWriter(out):
        assert not left[0].exists()


def test_a_run_that_lives_is_left_alone(tmp_path):
    with RunWriter(tmp_path / "run") as first, RunWriter(tmp_path / "run"):
        assert (first.directory / "cases").is_dir()
        first.out = tmp_path / "other"
