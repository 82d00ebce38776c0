"""A history: a folder with one file of lines per study and machine."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimgate.errors import InputError, UsageError, name_offenders, nearest_name
from slimgate.gate.history.entry import Entry, entry_from_run
from slimgate.gate.history.files import (
    SUFFIX,
    Line,
    append_entry,
    locked,
    read_held_lines,
    read_lines,
    replace_lines,
    writing,
)
from slimgate.gate.serialise import RunFiles

BENCHMARKS = "benchmarks"
"""Folder of a history in which pytest-benchmark keeps what it saves."""

ASIDE = ".damaged"
"""What the name of a file of lines that cannot be read ends with."""

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a history holds.

    Attributes:
        entries: the runs, in the order in which they were added, each once.
        complaints: what could not be read, and clocks that jumped; one text each, for people.
    """

    entries: tuple[Entry, ...]
    complaints: tuple[str, ...]

    def find(self, run: str) -> Entry:
        """Return the run with an id, or with the one id that starts so.

        Raises:
            UsageError: there is none, or more than one.
        """
        exact = [entry for entry in self.entries if entry.run_id == run]
        found = exact or [entry for entry in self.entries if run and entry.run_id.startswith(run)]
        if len(found) == 1:
            return found[0]
        known = [entry.run_id for entry in self.entries]
        raise UsageError(
            f"run '{run}'",
            found=f"{len(found)} runs of the history start so: {name_offenders(one.run_id for one in found)}"
            if found
            else f"neither a run directory nor a run of the history{nearest_name(run, known)}",
            expected="a directory with a run.json, or the id of a run, or its beginning",
            action="'slimgate history' lists the ids",
        )


class History:
    """A folder of runs over time.

    Args:
        folder: where ``<study>/<device>.jsonl`` lie; made when the first run is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, run: RunFiles | Entry) -> bool:
        """Add a finished run, and return whether it was not in the history before.

        Raises:
            InputError: the folder cannot be written to.
        """
        entry = run if isinstance(run, Entry) else entry_from_run(run)
        return append_entry(self.folder / entry.file_name, entry)

    def files(self) -> list[Path]:
        """Return the history files of every study and machine.

        Raises:
            InputError: the folder is not there, or is no folder.
        """
        if not self.folder.is_dir():
            raise InputError(
                str(self.folder),
                found="no such folder",
                expected="a history, as 'slimgate study' writes one",
                action="run 'slimgate study' first, or name another folder with --history or SLIMGATE_HISTORY",
            )
        return sorted(
            path
            for path in self.folder.rglob(f"*{SUFFIX}")
            if BENCHMARKS not in path.parts and path.is_file()
        )

    def load(self) -> Loaded:
        """Return every run of every study and machine.

        A line that cannot be read is told about once, and costs no other line.

        Raises:
            InputError: the folder is not there, or a file as a whole cannot be read.
        """
        entries: dict[str, Entry] = {}
        complaints = []
        for path in self.files():
            lines = read_lines(path)
            complaints += complain(path, lines)
            here = [line.entry for line in lines if line.entry]
            complaints += find_clock_jumps(path, here)
            for entry in here:
                entries.setdefault(entry.run_id, entry)
        return Loaded(entries=tuple(entries.values()), complaints=tuple(complaints))

    def set_aside(self) -> dict[Path, int]:
        """Move every damaged line into ``<file>.jsonl.damaged``, and return how many by file.

        What a newer slimgate wrote is no damage, and stays.

        Raises:
            InputError: the folder is not there, or cannot be written to.
        """
        moved = {}
        for path in self.files():
            with writing(path), locked(path):
                lines = read_held_lines(path)
                damaged = [line.data for line in lines if _is_damaged(line)]
                if damaged:
                    aside = path.with_name(f"{path.name}{ASIDE}")
                    kept = aside.read_bytes().splitlines() if aside.exists() else []
                    replace_lines(aside, [*kept, *damaged])
                    replace_lines(path, [line.data for line in lines if not _is_damaged(line)])
                    moved[path] = len(damaged)
        return moved


def complain(path: Path, lines: Sequence[Line]) -> list[str]:
    """Return a text about the damaged lines of a file, and one about those of a newer format; none without."""
    kept = sum(line.entry is not None for line in lines)
    newer = [line for line in lines if line.newer]
    damaged = [line for line in lines if _is_damaged(line)]
    texts = []
    if newer:
        texts.append(
            f"{path}: {name_offenders(f'line {line.number} {line.complaint}' for line in newer)}\n"
            f"  expected: runs that this slimgate can read; they are kept as they are, and not shown\n"
            "  what to do: install a newer slimgate, as wrote them"
        )
    if damaged:
        texts.append(_complain_of_damage(path, damaged, kept))
    return texts


def _is_damaged(line: Line) -> bool:
    return line.entry is None and not line.newer


def _complain_of_damage(path: Path, damaged: Sequence[Line], kept: int) -> str:
    return (
        f"{path}: {name_offenders(f'line {line.number} {line.complaint}' for line in damaged)}\n"
        f"  expected: one whole run a line; the other {kept} {'is' if kept == 1 else 'are'} kept and shown\n"
        "  what to do: 'slimgate history --repair' sets such lines aside; '--add RUN_DIR' adds a run again"
    )


def find_clock_jumps(path: Path, entries: Sequence[Entry]) -> list[str]:
    """Return one text about runs whose clock contradicts the order in which they were added, or none.

    Runs that overlap are added in the order in which they end, so only a day and more is a contradiction.
    """
    jumps = []
    now = datetime.datetime.now(datetime.UTC)
    before: tuple[datetime.datetime, Entry] | None = None
    for entry in entries:
        started = read_time(entry.started)
        if started is None:
            jumps.append(f"{entry.run_id} started at '{entry.started}', which is no time")
            continue
        if started - now > _DAY:
            jumps.append(f"{entry.run_id} started in the future, {entry.started}")
        elif before is not None and before[0] - started > _DAY:
            jumps.append(f"{entry.run_id} ({entry.started}) was added after {before[1].run_id}")
        before = (started, entry)
    if not jumps:
        return []
    return [
        f"{path}: a clock jumped: {name_offenders(jumps)}\n"
        "  expected: each run to start after the one before it\n"
        "  what to do: set the machine's clock; nothing is lost, runs are kept in the order in which they were added"
    ]


def read_time(text: str) -> datetime.datetime | None:
    """Return a time in ISO 8601, in UTC where it names no zone; None where it is no time."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
