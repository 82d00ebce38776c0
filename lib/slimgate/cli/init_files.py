"""What ``slimgate init`` writes, and never overwrites; and where pytest has its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slimgate.errors import InputError, UsageError, name_offenders

_CONFIGURATIONS = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
"""Where pytest looks for its settings, and the table that makes such a file one of pytest's."""


def refuse_existing(paths: Sequence[Path]) -> None:
    """Refuse to overwrite.

    Raises:
        UsageError: one of the files is there; all that are, are named.
    """
    there = [path for path in paths if path.exists()]
    if there:
        raise UsageError(
            "slimgate init",
            found=f"exists already: {name_offenders(there)}",
            expected="files that are not there yet: nothing is overwritten",
            action="choose another folder or --name, or move those files away",
        )


def write_all(texts: Mapping[Path, str]) -> None:
    """Write every file, or none of them.

    Raises:
        InputError: one of them cannot be written.
    """
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for done in written:
            done.unlink(missing_ok=True)
        raise InputError(
            str(path),
            found=f"cannot be written ({error.strerror})",
            expected="a folder that files can be written to",
            action="choose another DIR; nothing was written",
        ) from None


def find_pytest_configuration(folder: Path) -> Path | None:
    """Return the file that pytest takes its settings from for tests in a folder, or None."""
    here = folder.resolve()
    for place in (here, *here.parents):
        for name, table in _CONFIGURATIONS.items():
            path = place / name
            if path.is_file() and table in path.read_text(encoding="utf-8", errors="replace"):
                return path
    return None
