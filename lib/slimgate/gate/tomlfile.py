"""TOML that people write, with its lines: a complaint about a file has to say where in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgate.errors import InputError

_PLACE = re.compile(r" ?\(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_MOST_SHOWN = 60
_PLAIN = {
    "Cannot overwrite a value": "this key, or this table, stands here a second time",
    "Cannot declare": "this table, or this key, stands here a second time",
    "Cannot mutate immutable namespace": "an inline table { ... } cannot be added to later",
    "Cannot redefine namespace": "this table, or this key, stands here a second time",
}
"""Python's words for what people do most, in words that say what to look for."""


@dataclass(frozen=True, kw_only=True)
class TomlFile:
    """A TOML file, read.

    Attributes:
        shown: its name in messages.
        value: what it says.
        lines: its lines, without their ends.
    """

    shown: str
    value: Mapping[str, Any]
    lines: tuple[str, ...]

    def find_blocks(self, table: str) -> list[int]:
        """Return the line index of each ``[[table]]``; empty where they are written in another way."""
        header = re.compile(rf"^\s*\[\[\s*{re.escape(table)}\s*\]\]\s*(#.*)?$")
        found = [index for index, line in enumerate(self.lines) if header.match(line)]
        blocks = self.value.get(table, [])
        return found if isinstance(blocks, list) and len(found) == len(blocks) else []

    def place(self, key: str, headers: list[int], block: int | None) -> str:
        """Return ``file:line`` of a key: in the nth of the blocks, or above them all when ``block`` is None."""
        if block is not None and not headers:
            return self.shown
        start = 0 if block is None else headers[block]
        later = [header for header in headers if header > start or block is None]
        stop = later[0] if later else len(self.lines)
        wanted = re.compile(rf"""^\s*["']?{re.escape(key)}["']?\s*=""")
        for index in range(start, stop):
            if wanted.match(self.lines[index]):
                return f"{self.shown}:{index + 1}"
        return self.shown if block is None else f"{self.shown}:{start + 1}"


def read_toml(path: Path, *, shown: str, expected: str) -> TomlFile:
    """Return a TOML file with its lines.

    Args:
        path: the file.
        shown: its name in messages.
        expected: what it should be, for messages: ``a floors file``.

    Raises:
        InputError: it is not TOML, or not UTF-8; names file and line, and shows the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            shown,
            found=f"not TOML: {error}",
            expected=f"{expected}, in UTF-8",
            action="save it as UTF-8",
        ) from None
    lines = split_lines(text)
    try:
        return TomlFile(shown=shown, value=tomllib.loads(text), lines=lines)
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.search(str(error))
        # Where there is a fault there is a line: a text without any is TOML.
        number = int(match["line"]) if match and match["line"] else len(lines)
        line = lines[number - 1].strip()
        what = _PLACE.sub("", str(error))
        plain = next((words for start, words in _PLAIN.items() if what.startswith(start)), what)
        raise InputError(
            f"{shown}:{number}",
            found=f"not TOML: {plain}" + (f": {line[:_MOST_SHOWN]}" if line else ""),
            expected=expected,
            action="correct that line",
        ) from None


def split_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text as TOML and editors count them, without their ends.

    Unicode has more ends of lines, such as U+2028 in what was pasted from a document; TOML takes them for letters.
    """
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def last_line_of(lines: tuple[str, ...], first: int) -> int:
    """Return the line on which the value that starts on line ``first`` ends; both counted from 1.

    Only brackets count, so that a value over several lines is found as a whole.
    """
    depth = 0
    for number in range(first, len(lines) + 1):
        bare = re.sub(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', "", lines[number - 1]).partition("#")[0]
        depth += sum(bare.count(one) for one in "[{") - sum(bare.count(one) for one in "]}")
        if depth <= 0:
            return number
    return len(lines)
