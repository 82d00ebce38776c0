"""Whether the widths of a network are still the multiples that its lineage claims."""

from __future__ import annotations

from pathlib import Path

from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Step

OPERATIONS = ("slim", "align")
"""What makes widths multiples, and says so."""


def require_aligned_widths(path: Path, detector: Detector) -> None:
    """Check that a detector whose lineage claims widths of a multiple has them, wherever a width is free.

    An odd width costs what the next multiple costs, or is refused by an NPU, and no accuracy shows it. Left alone are
    the outputs of the head and what else has no width to choose, and widths that the operation itself lists as kept.

    Args:
        path: the file that is being written, for the message.
        detector: what is exported.

    Raises:
        InputError: it does not; the message names the convolutions and their widths.
    """
    claims = [step for step in detector.lineage if step.operation in OPERATIONS]
    multiple = claims[-1].settings.get("multiple") if claims else None
    if not isinstance(multiple, int):
        return
    odd = _odd_widths(detector, multiple, claims[-1])
    if odd:
        raise InputError(
            str(path),
            found=f"{len(odd)} convolutions have no multiple of {multiple} channels, which its lineage "
            f"({claims[-1].operation}) claims: {name_offenders(odd)}",
            expected=f"widths that are multiples of {multiple}",
            action=f"pad them: slimgate align --multiple {multiple}, or apply {claims[-1].operation} again",
        )


def _odd_widths(detector: Detector, multiple: int, claim: Step) -> list[str]:
    from slimgate.model.channels import trace_channels

    graph = trace_channels(detector.module, subject=detector.name)
    kept = set(dict(claim.notes.get("unaligned") or {}).values())
    widths = graph.widths(graph.all_channels())
    return [
        f"{name} ({width})"
        for name, width in widths.items()
        if width % multiple and name not in graph.exempt and width not in kept
    ]
