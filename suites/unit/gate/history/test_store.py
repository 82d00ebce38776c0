from __future__ import annotations

import datetime as dt
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from filelock import FileLock
from slimgate.errors import InputError, UsageError
from slimgate.gate import load_run
from slimgate.gate.history import Entry, History, files, merge_history

from fixtures.histories import FILE, run_name, started_at, write_run

MakeEntry = Callable[..., Entry]


def ids(history: History) -> list[str]:
    return [entry.run_id for entry in history.load().entries]


def test_runs_are_kept_in_the_order_in_which_they_were_added(history: History, make_entry: MakeEntry) -> None:
    assert [history.append(make_entry(number)) for number in (2, 0, 1)] == [True] * 3
    assert ids(history) == [run_name(number) for number in (2, 0, 1)]
    assert history.files() == [history.folder / FILE]


def test_a_run_directory_is_added_once(history: History, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", 1))
    assert [history.append(run), history.append(run)] == [True, False]
    assert ids(history) == [run_name(1)]


def test_every_study_and_machine_has_a_file(history: History, make_entry: MakeEntry) -> None:
    for number, device in enumerate(("cpu:A", "cpu:B", "cpu:A")):
        history.append(make_entry(number, device=device))
    assert [path.name for path in history.files()] == ["cpu-a.jsonl", "cpu-b.jsonl"]
    assert ids(history) == [run_name(number) for number in (0, 2, 1)]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 1.0])
def test_a_last_line_that_was_cut_costs_only_itself(
    history: History, make_entry: MakeEntry, share: float
) -> None:
    for number in range(3):
        history.append(make_entry(number))
    path = history.folder / FILE
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    path.write_bytes(data[: last + int(share * (len(data) - last - 1))])
    whole = share == 1.0  # only the line's end is missing
    kept = [0, 1, 2] if whole else [0, 1]
    assert ids(history) == [run_name(number) for number in kept]
    assert history.append(make_entry(3))
    assert history.append(make_entry(2)) is not whole
    assert ids(history) == [run_name(number) for number in ([*kept, 3] if whole else [*kept, 3, 2])]
    assert len(history.load().complaints) == (0 < share < 1)


def test_a_damaged_line_is_told_about_once_with_what_to_do(history: History, make_entry: MakeEntry) -> None:
    for number in range(4):
        history.append(make_entry(number))
    path = history.folder / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:200] + b"\n"
    lines[2] = lines[2].replace(b"slimgate-history/1", b"slimgate-history/7")
    path.write_bytes(b"".join([*lines, b"\xe9\n", b"[]\n"]))
    newer, complaint = history.load().complaints
    assert newer == (
        f"{path}: line 3 format 'slimgate-history/7', newer than this slimgate reads, not 'slimgate-history/1'\n"
        "  expected: runs that this slimgate can read; they are kept as they are, and not shown\n"
        "  what to do: install a newer slimgate, as wrote them"
    )
    assert complaint == (
        f"{path}: line 2 is cut off, or not JSON, "
        "line 5 is not UTF-8, line 6 no JSON object\n"
        "  expected: one whole run a line; the other 2 are kept and shown\n"
        "  what to do: 'slimgate history --repair' sets such lines aside; '--add RUN_DIR' adds a run again"
    )
    assert ids(history) == [run_name(0), run_name(3)]


def test_damaged_lines_are_set_aside_and_not_lost(history: History, make_entry: MakeEntry) -> None:
    path = history.folder / FILE
    for number in range(3):
        history.append(make_entry(number))
        with path.open("ab") as file:
            file.write(b'{"format": "slimg')
    assert history.set_aside() == {path: 3}
    assert history.load().complaints == ()
    assert ids(history) == [run_name(number) for number in range(3)]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == b'{"format": "slimg\n' * 3
    assert history.set_aside() == {}


def test_a_file_is_written_anew_beside_itself(
    history: History, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on another file system cannot take a file's place at once."""
    history.append(make_entry(0))
    with (history.folder / FILE).open("ab") as file:
        file.write(b'{"cut\n')
    monkeypatch.setattr(tempfile, "tempdir", str(history.folder / "no such folder"))
    assert history.set_aside() == {history.folder / FILE: 1}
    assert ids(history) == [run_name(0)]


def test_what_a_newer_slimgate_wrote_is_kept_by_every_command(
    history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    path = history.folder / FILE
    history.append(make_entry(0))
    newer = make_entry(1).to_line().replace(b"slimgate-history/1", b"slimgate-history/2")
    with path.open("ab") as file:
        file.write(newer + b'{"cut\n')
    assert history.set_aside() == {path: 1}
    assert history.append(make_entry(2))
    assert path.read_bytes().splitlines(keepends=True)[1] == newer
    other = History(tmp_path / "other")
    merge_history(other, history)
    assert newer in (other.folder / FILE).read_bytes().splitlines(keepends=True)
    assert ids(other) == [run_name(0), run_name(2)]


def test_where_writing_fails_the_file_is_left_as_it_was(
    history: History, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append(make_entry(0))
    path, write = history.folder / FILE, os.write
    before = path.read_bytes()

    def fill_up(descriptor: int, data: bytes) -> int:
        write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", fill_up)
    with pytest.raises(InputError) as raised:
        history.append(make_entry(1))
    monkeypatch.undo()
    assert str(raised.value) == (
        f"{path}: cannot be written (No space left on device)\n"
        "  expected: a writable folder for the history, with room in it\n"
        "  what to do: name another with --history or SLIMGATE_HISTORY, or write none: SLIMGATE_HISTORY=off"
    )
    assert path.read_bytes() == before


def test_a_place_that_is_no_folder_is_one_message(tmp_path: Path, make_entry: MakeEntry) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"):
        History(tmp_path / "file").append(make_entry(0))
    with pytest.raises(
        InputError, match="no such folder\n  expected: a history, as 'slimgate study' writes one"
    ):
        History(tmp_path / "file").load()


def test_a_file_that_cannot_be_read_is_one_message(history: History) -> None:
    path = history.folder / "codes" / "x.jsonl"
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    assert history.files() == []
    with pytest.raises(InputError, match=r"x.jsonl: cannot be read \(Too many levels of symbolic links\)"):
        files.read_lines(path)


def test_a_lock_that_is_never_freed_is_one_message(
    history: History, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.05)
    history.append(make_entry(0))
    path = history.folder / FILE
    with FileLock(path.with_name(f".{path.name}.lock")):
        with pytest.raises(InputError, match=r"another process has held its lock for 0.05 s"):
            history.append(make_entry(1))
        assert ids(history) == [run_name(0)], "reading needs no lock"


def test_a_clock_that_jumps_loses_nothing_and_is_told(history: History, make_entry: MakeEntry) -> None:
    future = (dt.datetime.now(dt.UTC) + dt.timedelta(days=40)).isoformat()
    starts = [started_at(100), started_at(20), started_at(21), future, "yesterday", started_at(22)]
    for number, started in enumerate(starts):
        history.append(make_entry(number, started=started))
    assert ids(history) == [run_name(number) for number in range(6)]
    (complaint,) = history.load().complaints
    assert complaint.startswith(
        f"{history.folder / FILE}: a clock jumped: "
        f"{run_name(1)} ({started_at(20)}) was added after {run_name(0)}, "
        f"{run_name(3)} started in the future, {future}, "
        f"{run_name(4)} started at 'yesterday', which is no time, "
    )
    assert complaint.endswith("nothing is lost, runs are kept in the order in which they were added")


def test_runs_that_overlap_are_no_jump(history: History, make_entry: MakeEntry) -> None:
    for number, started in enumerate(
        ("2026-01-01T02:00:00+00:00", "2026-01-01T01:00:00", "2026-01-01T03:00:00Z")
    ):
        history.append(make_entry(number, started=started))
    assert history.load().complaints == ()


def test_a_run_is_found_by_the_beginning_of_its_id(history: History, make_entry: MakeEntry) -> None:
    for number in (0, 1, 30):
        history.append(make_entry(number))
    loaded = history.load()
    assert loaded.find(run_name(1)[:8]).run_id == run_name(1)
    with pytest.raises(UsageError, match="2 runs of the history start so: 20260101T0200"):
        loaded.find("202601")
    with pytest.raises(
        UsageError, match="neither a run directory nor a run of the history; did you mean '2026"
    ):
        loaded.find(f"x{run_name(1)}")
    with pytest.raises(UsageError, match="run '': neither a run directory"):
        loaded.find("")


WRITER = """
import json, os, signal, sys, time
from slimgate.gate.history import History, entry_from_json
from pathlib import Path
folder, name, log, template, die_after = sys.argv[1:]
value = json.loads(Path(template).read_text())
write, left = os.write, int(die_after)

def write_a_little(descriptor, data):
    # What the system may do at any time: write a part. So a kill can hit the middle of a line.
    global left
    if left == 0:
        write(descriptor, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    time.sleep(0.01)
    return write(descriptor, data[:256])

os.write = write_a_little
with open(log, "a") as done:
    for number in range(1_000_000):
        value["run_id"] = f"{name}-{number}"
        History(Path(folder)).append(entry_from_json(value))
        done.write(value["run_id"] + "\\n")
        done.flush()
"""


def start_writer(folder: Path, name: str, template: Path, die_after: int = -1) -> subprocess.Popen[bytes]:
    log = folder.parent / f"{name}.log"
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(log), str(template), str(die_after)]
    )


def acknowledged(folder: Path) -> set[str]:
    """Return the runs that a writer was told are kept; a kill may cut the last line of its own log."""
    return {
        line
        for log in folder.parent.glob("*.log")
        for line in log.read_text().splitlines(keepends=True)
        if line.endswith("\n")
        for line in [line.strip()]
    }


def test_a_writer_that_is_killed_in_the_middle_of_a_line_costs_nobody_else_anything(
    history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    template = tmp_path / "template.json"
    template.write_bytes(make_entry(0).to_line())
    with start_writer(history.folder, "killed", template, die_after=13) as writer:
        assert writer.wait(60) == -signal.SIGKILL
    assert history.append(make_entry(1)), "the lock died with its holder"
    loaded = history.load()
    assert {entry.run_id for entry in loaded.entries} == acknowledged(history.folder) | {run_name(1)}
    assert acknowledged(history.folder)
    (complaint,) = loaded.complaints
    assert "is cut off, or not JSON" in complaint


def wait_for_writers(folder: Path, writers: Mapping[str, object]) -> list[str]:
    """Return the names of those that have written something, as soon as there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        ready = [name for name in sorted(writers) if (folder.parent / f"{name}.log").exists()]
        ready = [name for name in ready if (folder.parent / f"{name}.log").stat().st_size]
        if ready:
            return ready
        time.sleep(0.02)
    raise AssertionError("no writer wrote anything")


@pytest.mark.slow
def test_eight_writers_and_forty_kills_lose_no_run(
    history: History, make_entry: MakeEntry, tmp_path: Path
) -> None:
    template = tmp_path / "template.json"
    template.write_bytes(make_entry(0).to_line())
    chance = random.Random(5)
    writers = {f"w{index}": start_writer(history.folder, f"w{index}", template) for index in range(8)}
    try:
        for kill in range(40):
            name = chance.choice(wait_for_writers(history.folder, writers))
            time.sleep(chance.uniform(0.0, 0.1))
            writers[name].kill()
            writers[name].wait()
            del writers[name]
            writers[f"r{kill}"] = start_writer(history.folder, f"r{kill}", template)
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait()
    loaded = history.load()
    kept = [entry.run_id for entry in loaded.entries]
    told = acknowledged(history.folder)
    assert len(told) >= 40, "each was killed after it had written something"
    assert told <= set(kept)
    # A writer may die after its line is whole and before it says so: at most one run each.
    assert len(set(kept) - told) <= 48
    lines = files.read_lines(history.folder / FILE)
    assert 0 < sum(line.entry is None for line in lines) <= 48, "kills hit the middle of lines"
    assert {line.complaint for line in lines} <= {"", "is cut off, or not JSON"}
