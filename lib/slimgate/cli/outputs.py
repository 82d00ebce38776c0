"""Places that a command is told to write to, tried before the work is done and not after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from slimgate.errors import InputError, UsageError


def require_file_place(option: str, path: Path, *, example: str) -> None:
    """Make the folder of a file that is to be written, and try that it can be written to.

    Args:
        option: that named the file, for messages.
        path: the file; there already or not.
        example: a file name, for who named a folder.

    Raises:
        UsageError: it is a folder.
        InputError: nothing can be written there.
    """
    if path.is_dir():
        raise UsageError(
            f"{option} {path}",
            found="a folder",
            expected="the name of a file",
            action=f"write {option} {path / example}",
        )
    _try_folder(option, path, path.parent)


def require_folder_place(option: str, path: Path) -> None:
    """Make a folder that is to be written to, and try that it can be.

    Raises:
        UsageError: it is a file.
        InputError: nothing can be written there.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"{option} {path}",
            found="a file",
            expected="a folder, or the name of a new one",
            action=f"name another with {option}",
        )
    _try_folder(option, path, path)


def _try_folder(option: str, path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{option} {path}",
            found=f"cannot be written ({error.strerror})",
            expected="a folder with room that this user may write to",
            action=f"name another place with {option}",
        ) from None
