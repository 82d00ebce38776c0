"""JSON files with a format version, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from slimgate.errors import InputError
from slimgate.flow import Json
from slimgate.gate.formats import find_other_format


def write_json(path: Path, value: Json) -> Path:
    """Write a value as readable JSON, atomically, and return the path.

    Raises:
        ValueError: a number in it is not finite; those have no place in JSON.
        OSError: the folder cannot be written.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    working = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        working.write_text(text, encoding="utf-8")
        working.replace(path)
    finally:
        working.unlink(missing_ok=True)
    return path


def read_json(
    path: Path, *, format_name: str, shown: str = "", action: str = "", older: str = ""
) -> dict[str, Any]:
    """Return a JSON object, after checking its format version.

    Args:
        path: the file.
        format_name: the version that is understood, such as ``slimgate-record/1``.
        shown: its name in messages.
        action: what the user can do when it cannot be used.
        older: what the user can do when it is of an older version.

    Raises:
        InputError: the file is missing, is cut off or no JSON, or has another format version.
    """
    shown = shown or str(path)
    action = action or "restore it from version control"
    if not path.is_file():
        raise InputError(shown, found="no such file", expected=f"a {format_name} file", action=action)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            shown, found=f"cut off, or not JSON: {error}", expected=f"a {format_name} file", action=action
        ) from None
    found = value.get("format") if isinstance(value, dict) else None
    strange = find_other_format(found, format_name, older=older or action, other=action)
    if strange is not None:
        raise InputError(
            shown,
            found=f"format {strange.found}",
            expected=f"format {strange.expected}",
            action=strange.action,
        )
    return dict(value)
