"""What a pytest session complained about as a whole, beside the run that it judged: ``session.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slimgate.gate.jsonfile import read_json, write_json

SESSION_FORMAT = "slimgate-session/1"
SESSION_FILE = "session.json"


def write_complaints(directory: Path, complaints: Sequence[str]) -> Path:
    """Write why a session was red beyond its verdicts into a run directory, and return the file."""
    return write_json(directory / SESSION_FILE, {"format": SESSION_FORMAT, "complaints": list(complaints)})


def read_complaints(directory: Path) -> list[str]:
    """Return why the session of a run was red beyond its verdicts; nothing where no session wrote.

    Raises:
        InputError: the file is cut off, or of another format version.
    """
    path = directory / SESSION_FILE
    if not path.exists():
        return []
    return [str(text) for text in read_json(path, format_name=SESSION_FORMAT)["complaints"]]
