"""What a file's format version says: older, newer, or something else; each asks for another remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_FORMAT = re.compile(r"(?P<name>[a-z][a-z-]*)/(?P<version>\d+)")


@dataclass(frozen=True, kw_only=True)
class OtherFormat:
    """Why a file cannot be read, in the words of an error message: the formats stand in quotes.

    Attributes:
        found: the format that was found.
        expected: the format that is understood.
        action: what to do.
        is_newer: whether it is a later version of the same format.
    """

    found: str
    expected: str
    action: str
    is_newer: bool = False


def find_other_format(found: Any, understood: str, *, older: str, other: str) -> OtherFormat | None:
    """Return why a file of format ``found`` cannot be read; None if it is the one that is understood.

    Args:
        found: the file's ``format``; None when it has none.
        understood: the format that this slimgate reads, such as ``slimgate-record/1``.
        older: what to do about a file of an older version.
        other: what to do about a file of no version of this format.
    """
    if found == understood:
        return None
    known, is_it = _FORMAT.fullmatch(understood), _FORMAT.fullmatch(str(found))
    if known is None or is_it is None or known["name"] != is_it["name"]:
        return OtherFormat(found=repr(found), expected=f"'{understood}'", action=other)
    if int(is_it["version"]) > int(known["version"]):
        return OtherFormat(
            found=f"'{found}', newer than this slimgate reads",
            expected=f"'{understood}'",
            action="install the slimgate that wrote it, or a newer one",
            is_newer=True,
        )
    return OtherFormat(
        found=f"'{found}', older than this slimgate reads",
        expected=f"'{understood}'",
        action=older,
    )
