"""The evaluation sets of a run: the first one, and those that every case was also evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.report.rows import Row

FIRST_SET = ""
"""The set that the run names as its own; the others go by their names."""


def list_sets(rows: Sequence[Row]) -> list[str]:
    """Return the sets that cases were evaluated on, the first one first."""
    return [FIRST_SET, *dict.fromkeys(name for row in rows for name in row.record.get("also", {}))]


def part_of(row: Row, name: str) -> Mapping[str, Any]:
    """Return what a case record says about one set: ``accuracy``, ``confusion`` and ``curves``, where measured."""
    part: Mapping[str, Any] = row.record if name == FIRST_SET else row.record.get("also", {}).get(name, {})
    return part
