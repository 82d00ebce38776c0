"""A run directory appears whole or not at all, and killed runs do not pile up."""

import subprocess
import sys

import pytest
from slimgate.errors import InputError
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


def test_a_second_run_to_the_same_place_is_refused_before_it_starts(tmp_path):
    with RunWriter(tmp_path / "run") as first:
        with pytest.raises(
            InputError, match=r"run: another run is being written to this place\n.*\n.*choose another"
        ):
            RunWriter(tmp_path / "run")
        assert (first.directory / "cases").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("one", "other"), [("run", "run-2"), ("run-2", "run"), ("a.b", "a_b"), ("[a]", "a")])
def test_a_run_to_another_place_is_left_alone(tmp_path, one, other):
    with RunWriter(tmp_path / one) as first, RunWriter(tmp_path / other):
        assert (first.directory / "cases").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([one, other])


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_finished_run_whose_place_was_taken_is_kept_and_named(tmp_path, kind):
    out = tmp_path / "run"
    writer = RunWriter(out)
    kept = writer.directory
    (kept / "run.json").write_text("{}")
    if kind == "file":
        out.write_text("taken")
    else:
        (out / "cases").mkdir(parents=True)
    with pytest.raises(InputError) as caught, writer:
        pass
    assert str(caught.value).startswith(f"{out}: the run is finished and cannot be moved here (")
    assert f"it is whole in {kept}\n" in str(caught.value)
    assert str(caught.value).endswith(f"mv {kept} NAME")
    assert sorted(path.name for path in kept.iterdir()) == ["cases", "pictures", "run.json"]
    with RunWriter(tmp_path / "other"):
        pass
    (out.unlink if kind == "file" else (out / "cases").rmdir)()
    with RunWriter(out):
        pass
    assert (kept / "run.json").is_file(), "it is nobody's leftover"
