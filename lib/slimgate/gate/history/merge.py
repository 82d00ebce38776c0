"""Two histories become one: a union by run id, that keeps the order of both."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimgate.gate.history.files import (
    SUFFIX,
    Line,
    locked,
    read_held_lines,
    read_lines,
    replace_lines,
    writing,
)
from slimgate.gate.history.store import ASIDE, BENCHMARKS, History, complain


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What merging did.

    Attributes:
        added: runs that were new.
        known: runs that both histories had.
        benchmarks: files of pytest-benchmark that were new.
        complaints: lines that cannot be read; they stay where they are.
    """

    added: int
    known: int
    benchmarks: int
    complaints: tuple[str, ...]


def merge_history(target: History, source: History) -> Merged:
    """Add every run of another history to this one.

    Runs that both have are kept once. The order of runs within each history is kept; between the two it goes by
    when they started. The other history is only read.

    Raises:
        InputError: the other folder is not there, or this one cannot be written to.
    """
    added = known = 0
    complaints: list[str] = []
    incoming: dict[str, list[Line]] = {}
    for path in source.files():
        lines = read_lines(path)
        complaints += complain(path, lines)
        for line in lines:
            # Nobody knows whose a line is that cannot be read: it stays with the file that it was in.
            name = line.entry.file_name if line.entry else f"{path.parent.name}/{path.name}"
            incoming.setdefault(name, []).append(line)
    for name, lines in incoming.items():
        path = target.folder / name
        with writing(path), locked(path):
            present = read_held_lines(path) if path.exists() else []
            aside = set(_lines_aside(path))
            keys = {_key(line) for line in present}
            wanted = [line for line in lines if line.data not in aside]
            new = {_key(line) for line in wanted} - keys
            ids = {line.entry.run_id for line in lines if line.entry}
            added, known = added + len(ids & new), known + len(ids - new)
            if new:
                replace_lines(path, [line.data for line in interleave(present, wanted)])
    _merge_aside(target, source)
    return Merged(
        added=added,
        known=known,
        benchmarks=_merge_benchmarks(target.folder / BENCHMARKS, source.folder),
        complaints=tuple(complaints),
    )


def find_lost(before: Path, after: Path) -> list[str]:
    """Return the files of one history of which another lacks something, relative to its folder.

    Runs and lines may have moved to another file, and files of pytest-benchmark may have another number.

    Args:
        before: folder of the history that must be in the other.
        after: folder of the other.
    """
    lines = {key for path in _files(after, SUFFIX, ASIDE) for key in _keys(path)}
    benchmarks = {path.read_bytes() for path in _files(after, ".json")}
    lost = [path for path in _files(before, SUFFIX, ASIDE) if not _keys(path) <= lines]
    lost += [path for path in _files(before, ".json") if path.read_bytes() not in benchmarks]
    return [path.relative_to(before).as_posix() for path in lost]


def _files(folder: Path, *endings: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name.endswith(endings) and path.is_file())


def _keys(path: Path) -> set[str | bytes]:
    return {_key(line) for line in read_lines(path)}


def interleave(first: Sequence[Line], second: Sequence[Line]) -> list[Line]:
    """Return the lines of both, each run once, in an order that contradicts neither.

    Lines that cannot be read stay behind the line that they follow. Where the two disagree about the order of runs
    that both have, that of ``first`` counts.
    """
    first, second = _once(first), _once(second)
    shared = {_key(line) for line in first} & {_key(line) for line in second}
    merged: list[Line] = []
    seen: set[str | bytes] = set()
    # What both have are fixed points; between two of them, the start decides.
    for left, right in zip(*_align(first, second, shared), strict=True):
        for _, line in heapq.merge(_timed(left), _timed(right), key=lambda one: one[0]):
            if _key(line) not in seen:
                merged.append(line)
            seen.add(_key(line))
    return merged


def _key(line: Line) -> str | bytes:
    return line.entry.run_id if line.entry else line.data


def _once(lines: Sequence[Line]) -> list[Line]:
    """Return lines without what stands there a second time: files put together by hand, two writers killed alike."""
    kept: dict[str | bytes, Line] = {}
    for line in lines:
        kept.setdefault(_key(line), line)
    return list(kept.values())


def _align(
    first: Sequence[Line], second: Sequence[Line], shared: set[str | bytes]
) -> tuple[list[list[Line]], list[list[Line]]]:
    """Cut both sequences before each run that they share, while they agree on the order of those."""
    orders = [[_key(line) for line in lines if _key(line) in shared] for lines in (first, second)]
    fixed = set()
    for left, right in zip(*orders, strict=True):
        if left != right:
            break
        fixed.add(left)
    parts = []
    # What the second has in another order is in its place already.
    for lines in (first, [line for line in second if _key(line) in fixed or _key(line) not in shared]):
        blocks: list[list[Line]] = [[]]
        for line in lines:
            if _key(line) in fixed:
                blocks.append([])
            blocks[-1].append(line)
        parts.append(blocks)
    return parts[0], parts[1]


def _timed(lines: Iterable[Line]) -> list[tuple[str, Line]]:
    """Return lines with the latest start so far, so that a clock that was set back does not turn an order round."""
    timed = []
    latest = ""
    for line in lines:
        latest = max(latest, line.entry.started if line.entry else latest)
        timed.append((latest, line))
    return timed


def _lines_aside(path: Path) -> list[bytes]:
    aside = path.with_name(f"{path.name}{ASIDE}")
    return aside.read_bytes().splitlines() if aside.exists() else []


def _merge_aside(target: History, source: History) -> None:
    """Take over the lines that somebody set aside in the other history."""
    for aside in sorted(source.folder.rglob(f"*{SUFFIX}{ASIDE}")):
        path = target.folder / aside.parent.name / aside.name.removesuffix(ASIDE)
        with writing(path), locked(path):
            present = _lines_aside(path)
            new = [data for data in aside.read_bytes().splitlines() if data not in present]
            if new:
                replace_lines(path.with_name(aside.name), [*present, *new])
            if path.exists():
                lines = read_held_lines(path)
                kept = [line.data for line in lines if line.entry or line.data not in {*present, *new}]
                if len(kept) < len(lines):
                    replace_lines(path, kept)


def _merge_benchmarks(target: Path, source: Path) -> int:
    """Copy what pytest-benchmark saved; its files are numbered, and a number that is taken is counted on from."""
    copied = 0
    for path in sorted(source.rglob(f"{BENCHMARKS}/*/*.json")):
        folder = target / path.parent.name
        present = list(folder.glob("*.json")) if folder.is_dir() else []
        if any(other.read_bytes() == path.read_bytes() for other in present):
            continue
        taken = [int(other.name[:4]) for other in present if other.name[:4].isdecimal()]
        number, rest = path.name[:4], path.name[4:]
        if not number.isdecimal():
            rest = f"_{path.name}"
        is_free = number.isdecimal() and int(number) not in taken
        name = path.name if is_free else f"{max(taken, default=0) + 1:04}{rest}"
        with writing(folder / name):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        copied += 1
    return copied
