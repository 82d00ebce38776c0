"""Operations that compress a detector, each in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimgate.compress import align, deconv, prune, rederive, semi_structured, slim
from slimgate.compress.apply import apply_steps, parse_step
from slimgate.compress.operation import Operation, Setting
from slimgate.flow import Detector, Step

OPERATIONS: Mapping[str, Operation] = {
    "deconv": deconv.OPERATION,
    "slim": slim.OPERATION,
    "align": align.OPERATION,
    "rederive": rederive.OPERATION,
    "prune": prune.OPERATION,
    "prune24": semi_structured.OPERATION,
}
"""Every operation by name; ``successors`` of each say what may follow it."""


def parse_operation(text: str) -> Step:
    """Return the step that a text such as ``prune:0.3,scope=layer`` names; see ``parse_step``."""
    return parse_step(text, OPERATIONS)


def apply_operations(detector: Detector, steps: Sequence[Step]) -> Detector:
    """Return the detector after all steps, in a new module; see ``apply_steps``."""
    return apply_steps(detector, steps, OPERATIONS)


__all__ = ["OPERATIONS", "Operation", "Setting", "apply_operations", "parse_operation"]
