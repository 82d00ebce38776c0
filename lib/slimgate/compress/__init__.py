"""Operations that compress a detector, each in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimgate.compress import (
    align,
    deconv,
    drop_levels,
    finetune,
    prune,
    recalibrate,
    rederive,
    semi_structured,
    shallow,
    slim,
    sparsify,
    swap_activation,
    transfer_head,
)
from slimgate.compress.apply import apply_steps, parse_step
from slimgate.compress.operation import Operation, Setting, Workspace
from slimgate.flow import Detector, Step

OPERATIONS: Mapping[str, Operation] = {
    "sparsify": sparsify.OPERATION,
    "finetune": finetune.OPERATION,
    "transfer-head": transfer_head.OPERATION,
    "swap-activation": swap_activation.OPERATION,
    "recalibrate": recalibrate.OPERATION,
    "deconv": deconv.OPERATION,
    "drop-levels": drop_levels.OPERATION,
    "shallow": shallow.OPERATION,
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


def apply_operations(
    detector: Detector, steps: Sequence[Step], workspace: Workspace | None = None
) -> Detector:
    """Return the detector after all steps, in a new module; see ``apply_steps``.

    Args:
        detector: what to compress; it stays as it is.
        steps: what to do, in order.
        workspace: where operations that train do so; needed by them only.
    """
    return apply_steps(detector, steps, OPERATIONS, workspace or Workspace())


__all__ = ["OPERATIONS", "Operation", "Setting", "Workspace", "apply_operations", "parse_operation"]
