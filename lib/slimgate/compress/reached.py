"""What was asked of ``slim``, what was reached, and what held it back: for the lineage, and in words."""

from __future__ import annotations

from collections.abc import Mapping

from slimgate.compress.allocation import HeldBack
from slimgate.flow import Json, Step

_ASKED = {
    "ratio": "of the channels to remove",
    "flops": "of the FLOPs to keep",
    "parameters": "of the parameters to keep",
    "latency": "of the latency to keep",
}


def reached_notes(target: str, asked: float, reached: float, held: HeldBack) -> dict[str, Json]:
    """Return the notes of a step.

    Args:
        target: ``ratio``, ``flops``, ``parameters`` or ``latency``.
        asked: the share that the setting of this name asks for.
        reached: the same share of what came out.
        held: what floors and rounding kept.
    """
    return {
        "asked": {target: asked},
        "reached": {target: reached},
        "held_back": {"floor": held.floor, "multiple": held.multiple, "groups": held.groups},
    }


def tell_reached(step: Step) -> str:
    """Return a step's notes as one sentence; nothing for a step that has none, such as one of an older lineage."""
    asked, held = step.notes.get("asked"), step.notes.get("held_back")
    if not isinstance(asked, Mapping) or not isinstance(held, Mapping):
        return ""
    ((target, share),) = asked.items()
    return (
        f"{step.operation}: {share:.1%} {_ASKED[target]} asked for, {step.notes['reached'][target]:.1%} reached; of "
        f"{held['groups']} groups of channels, {held['floor']} were held back by their floor, {held['multiple']} "
        f"more rounded up to a multiple of {step.settings['multiple']}"
    )
