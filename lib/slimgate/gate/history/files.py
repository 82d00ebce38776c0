"""History files: lines that are read one by one, appended whole, and never rewritten in place."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from slimgate.errors import InputError
from slimgate.gate.history.entry import Entry, NewerFormatError, entry_from_json

SUFFIX = ".jsonl"
LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a history file.

    Attributes:
        number: its place in the file, from 1.
        data: its bytes, without the line end.
        entry: the run, or None where the line cannot be read.
        complaint: why it cannot be read, else empty.
        newer: whether a newer slimgate wrote it: it is kept as it is, and no damage.
    """

    number: int
    data: bytes
    entry: Entry | None = None
    complaint: str = ""
    newer: bool = False


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a history file; one that cannot be read takes no other with it.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    data = _read(path)
    if data and not data.endswith(b"\n") and _is_writable(path):
        # The last line is cut, or somebody is just writing it: that ends when the lock is free.
        with locked(path):
            return read_held_lines(path)
    return _split(data)


def read_held_lines(path: Path) -> list[Line]:
    """Return the lines of a history file to a caller who holds its lock."""
    return _split(_read(path))


def append_entry(path: Path, entry: Entry) -> bool:
    """Add a run as the last line of a file, and return whether it was not there before.

    The line is on the disk when this returns. A line that a killed writer left unfinished is ended first, so that
    it damages no other. Where writing fails, the file is left as it was.

    Raises:
        InputError: the place cannot be written to, or stays locked.
    """
    with writing(path), locked(path):
        if path.exists() and _holds(_read(path), entry.run_id):
            return False
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _append(descriptor, entry.to_line())
        finally:
            os.close(descriptor)
    return True


def replace_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write a file anew, whole or not at all; the caller holds its lock."""
    descriptor, working = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        Path(working).chmod(0o644)
        Path(working).replace(path)
    except BaseException:
        Path(working).unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock of a history file; the system frees that of a process that was killed.

    Raises:
        InputError: another process holds it for longer than ``timeout_s`` seconds.
    """
    timeout_s = LOCK_TIMEOUT_S if timeout_s is None else timeout_s
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=timeout_s):
            yield
    except Timeout:
        raise InputError(
            str(path),
            found=f"another process has held its lock for {timeout_s:g} s",
            expected="a history that is written to for moments only",
            action="wait for that process, or end it, then try again",
        ) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about a place that cannot be written to into one message.

    Raises:
        InputError: names the place and the reason.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            str(path),
            found=f"cannot be written ({error.strerror or error})",
            expected="a writable folder for the history, with room in it",
            action="name another with --history or SLIMGATE_HISTORY, or write none: SLIMGATE_HISTORY=off",
        ) from None


def _append(descriptor: int, line: bytes) -> None:
    end = os.fstat(descriptor).st_size
    if end:
        os.lseek(descriptor, end - 1, os.SEEK_SET)
        # Whatever is read, writing goes to the end: the file is open for appending.
        line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
    try:
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, end)
        raise


def _holds(data: bytes, run_id: str) -> bool:
    """Return whether a run is in a file; only lines that name it are parsed."""
    named = [line for line in data.split(b"\n") if run_id.encode("utf-8") in line]
    lines = (_line(number, line) for number, line in enumerate(named, 1))
    return any(line.entry is not None and line.entry.run_id == run_id for line in lines)


def _split(data: bytes) -> list[Line]:
    return [_line(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]


def _line(number: int, data: bytes) -> Line:
    try:
        return Line(number=number, data=data, entry=entry_from_json(json.loads(data)))
    except (json.JSONDecodeError, RecursionError):
        return Line(number=number, data=data, complaint="is cut off, or not JSON")
    except UnicodeDecodeError:
        return Line(number=number, data=data, complaint="is not UTF-8")
    except NewerFormatError as error:
        return Line(number=number, data=data, complaint=str(error), newer=True)
    except ValueError as error:
        return Line(number=number, data=data, complaint=str(error))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            str(path),
            found=f"cannot be read ({error.strerror or error})",
            expected="a history file",
            action="correct its permissions, or name another folder with --history",
        ) from None


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
