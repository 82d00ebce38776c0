"""Which execution provider of ONNX Runtime runs which node; what a session offers says nothing about that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from slimgate.artifact.graph import CONVOLUTIONS
from slimgate.errors import InputError, name_offenders

CPU = "CPUExecutionProvider"

SHAPE_OPERATORS = frozenset(
    ("Shape", "Size", "Gather", "Unsqueeze", "Squeeze", "Cast", "Concat", "Slice", "ConstantOfShape", "Range")
)
"""Operators that ONNX Runtime itself keeps on the CPU when all they compute is a shape: a few integers."""

_KERNEL = "_kernel_time"


class Placed(NamedTuple):
    """A node's provider and operator."""

    provider: str
    operator: str


def placement_from_session(session: Any) -> dict[str, Placed]:
    """Return where each node of a session was put, as its partitioner recorded it."""
    return {
        node.name: Placed(subgraph.ep_name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    }


def placement_from_profile(path: Path) -> dict[str, Placed]:
    """Return where each node really ran, from the file that ``InferenceSession.end_profiling`` names.

    Raises:
        InputError: the file is no such profile, or nothing ran.
    """
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
        placement = {
            event["name"].removesuffix(_KERNEL): Placed(event["args"]["provider"], event["args"]["op_name"])
            for event in events
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_profile(path, f"not a profile ({type(error).__name__}: {error})") from error
    if not placement:
        raise _no_profile(path, "no node ran")
    return placement


def check_placement(subject: str, placement: Mapping[str, Placed], *, provider: str) -> None:
    """Refuse a silent fall back: a convolution that another provider runs, or arithmetic that the CPU runs.

    Args:
        subject: file and runtime, for the message.
        placement: by node name.
        provider: that was asked for.

    Raises:
        InputError: nodes run elsewhere; they are named.
    """
    convolutions = [
        name
        for name, placed in placement.items()
        if placed.operator in CONVOLUTIONS and placed.provider != provider
    ]
    if convolutions:
        raise InputError(
            subject,
            found=f"{len(convolutions)} convolutions left to another provider: {name_offenders(convolutions)}",
            expected=f"every convolution on {provider}",
            action="choose another runtime, or another precision for this one",
        )
    fallen = [
        f"{name} ({placed.operator})"
        for name, placed in placement.items()
        if provider != CPU and placed.provider == CPU and placed.operator not in SHAPE_OPERATORS
    ]
    if fallen:
        raise InputError(
            subject,
            found=f"{len(fallen)} nodes fell back to the CPU: {name_offenders(fallen)}",
            expected=f"nodes that compute on {provider}, or another GPU provider",
            action="export the model with 'slimgate export', or choose another runtime",
        )


def _no_profile(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected="the JSON that a profiled onnxruntime session writes",
        action="profile a session that runs at least once",
    )
