"""Where in a study's TOML file a key stands, for messages."""

from __future__ import annotations

import re

from slimgate.gate.tomlfile import TomlFile

_HEADER = re.compile(r"^\s*\[{1,2}\s*(?P<name>[^\[\]]+?)\s*\]{1,2}\s*(#.*)?$")
_BLOCK = re.compile(r"(?P<table>\w+)\[(?P<index>\d+)\](?:\.(?P<rest>.+))?")


def locate(file: TomlFile, key: str) -> str:
    """Return ``file:line`` of a key, or of the nearest table around it; the file alone where nobody can say.

    Args:
        file: the file.
        key: as messages name it: ``title``, ``data.also``, ``variant[1].int8.observer``, ``[detector]``.
    """
    block = _BLOCK.fullmatch(key)
    stop = len(file.lines)
    if block:
        blocks = file.find_blocks(block["table"])
        if not blocks:
            return file.shown
        index = int(block["index"])
        table, place = block["table"], blocks[index]
        stop = blocks[index + 1] if index + 1 < len(blocks) else stop
        names = block["rest"].split(".") if block["rest"] else []
    else:
        table, place, names = "", -1, key.strip("[]").split(".")
    for name in names:
        table = f"{table}.{name}".lstrip(".")
        header = _find_header(file.lines, table, place + 1, stop)
        if header is None:
            # What is named further stands on the same line: an inline table has no other.
            found = _find_assignment(file.lines, name, place + 1, stop)
            place = place if found is None else found
            break
        place = header
    return file.shown if place < 0 else f"{file.shown}:{place + 1}"


def _find_header(lines: tuple[str, ...], table: str, start: int, stop: int) -> int | None:
    for index in range(start, stop):
        header = _HEADER.match(lines[index])
        if header and header["name"] == table:
            return index
    return None


def _find_assignment(lines: tuple[str, ...], name: str, start: int, stop: int) -> int | None:
    wanted = re.compile(rf"""^\s*["']?{re.escape(name)}["']?\s*[=.]""")
    for index in range(start, stop):
        if _HEADER.match(lines[index]):
            return None
        if wanted.match(lines[index]):
            return index
    return None
