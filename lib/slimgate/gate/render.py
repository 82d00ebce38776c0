"""Floors as TOML text, for people to paste."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from slimgate.gate.bounds import ABSOLUTE, RELATIVE
from slimgate.gate.floors import Floor

Bounds = Mapping[str, str]
"""The bounds of one floor, slack included, as TOML numbers by key."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def render_metric(metric: str, entries: Sequence[str]) -> str:
    """Return ``metric = ...`` of one floor, or of several on a line each."""
    if len(entries) == 1:
        return f"{render_key(metric)} = {entries[0]}"
    return "\n".join([f"{render_key(metric)} = [", *(f"    {entry}," for entry in entries), "]"])


def render_entry(
    bounds: Bounds, unit: str, *, relative_to: object = None, reason: str = "", date: str = ""
) -> str:
    """Return the inline table of one floor."""
    parts = [f"relative_to = {render_text(str(relative_to))}"] if relative_to is not None else []
    parts += [f"{key} = {number}" for key, number in bounds.items()]
    parts.append(f"unit = {render_text(unit)}")
    parts += [f"reason = {render_text(reason)}"] if reason else []
    parts += [f"date = {date}"] if date else []
    return f"{{ {', '.join(parts)} }}"


def render_floor(floor: Floor) -> str:
    """Return the inline table of a floor as it stands, with its own reason and date."""
    return render_entry(
        bounds_of(floor),
        floor.unit,
        relative_to=floor.relative_to,
        reason=floor.reason,
        date=floor.date.isoformat(),
    )


def bounds_of(floor: Floor) -> dict[str, str]:
    """Return the bounds of a floor as TOML numbers."""
    named = {key: getattr(floor, key) for key in (*ABSOLUTE, *RELATIVE, "slack")}
    return {key: render_number(number) for key, number in named.items() if number is not None}


def render_key(metric: str) -> str:
    """Return a metric as a TOML key."""
    return metric if _BARE.fullmatch(metric) else render_text(metric)


def render_text(text: str) -> str:
    """Return a TOML string; JSON's are the same but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def render_number(number: float) -> str:
    """Return a TOML number, whole where it is."""
    return str(int(number)) if float(number).is_integer() and abs(number) >= 2 else f"{number:.12g}"
