"""A text file replaced whole."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> Path:
    """Write a text beside its place, move it there, and return the path.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the old file is as it was.
    """
    working = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        working.write_text(text, encoding="utf-8", newline="\n")
        working.replace(path)
    finally:
        working.unlink(missing_ok=True)
    return path
