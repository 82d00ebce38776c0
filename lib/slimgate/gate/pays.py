"""Does it pay: a variant that gave something up must be shown to be faster, or smaller, than what it replaces.

No floor is needed for that, and none can lower it: a compression that gains nothing is red whoever accepted its
numbers. What stays all the same for a while is waived, case by case, with a reason and a date.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slimgate.flow import Case, Status, Verdict
from slimgate.gate.kinds import PAYS
from slimgate.gate.message import compose_reproduce

SMALLEST_SHARE = 0.6
"""Half of the bytes, and some room for what stays in float32 and for the graph itself."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a variant is for, and what was measured of it.

    Attributes:
        case: the variant that claims it.
        what: ``int8``, ``int8_fp16`` (INT8 beside FP16), ``bf16``, ``fp16``, ``slim`` or ``sparse``: what was done.
        gain: ``faster``, by a ratio of times, or ``smaller``, by one of bytes.
        against: the case it is held against.
        batch: of the times; 0 for bytes.
        ratio: its time, or its bytes, over the other's.
        interval: of a ratio of times, at 95 %.
        simultaneous: the wider interval that holds in all comparisons of the run at once; without, ``interval`` counts.
        control: interval of the other against itself, in the same run: what this machine calls no difference.
        why_invalid: why this machine cannot tell, such as a control that is off; empty where it can.
    """

    case: Case
    what: str
    gain: str
    against: Case
    batch: int
    ratio: float
    interval: tuple[float, float] | None = None
    simultaneous: tuple[float, float] | None = None
    control: tuple[float, float] = (1.0, 1.0)
    why_invalid: str = ""

    @property
    def metric(self) -> str:
        """Name of the verdict: ``pays/int8_b1``, ``pays/fp16``."""
        return f"{PAYS}{self.what}_b{self.batch}" if self.batch else f"{PAYS}{self.what}"


_WHY = {
    "int8": "8-bit arithmetic that is not faster only costs accuracy: conversions between the layers eat what it "
    "saves, or the layers run in float",
    "int8_fp16": "FP16 is nearly as accurate as FP32, so INT8 that is not faster than it has nothing to offer but a "
    "smaller file",
    "bf16": "a CPU without bfloat16 arithmetic of its own emulates it, or the layers run in float32",
    "slim": "fewer channels that are not faster only cost accuracy: look at widths that are no multiple, and at "
    "what else the time goes to",
    "sparse": "a runtime without sparse kernels multiplies zeros like any other weight",
    "fp16": "the weights were not stored in half precision",
}


def judge_claim(claim: Claim, *, reproduce: str = "slimgate study") -> Verdict:
    """Return PASS when the gain is shown, FAIL when there is none, INCONCLUSIVE when the times cannot tell.

    INVALID where the A/A control is off, or no number was measured.

    Faster is an interval wholly below 1 and below the A/A control's. Not faster is one wholly above 1 that holds in all
    comparisons of the run at once. Smaller is ``SMALLEST_SHARE`` of the bytes or
    less.
    """
    status = _status(claim)
    return Verdict(
        case=claim.case,
        metric=claim.metric,
        status=status,
        measured=claim.ratio if math.isfinite(claim.ratio) else None,
        floor=_bound(claim),
        unit="ratio",
        message=_compose(claim, status, reproduce),
    )


def _bound(claim: Claim) -> float:
    return SMALLEST_SHARE if claim.gain == "smaller" else min(1.0, claim.control[0])


def _status(claim: Claim) -> Status:
    if claim.why_invalid or not all(
        math.isfinite(one) for one in (claim.ratio, *(claim.interval or ()), *claim.control)
    ):
        return Status.INVALID
    if claim.gain == "smaller":
        return Status.PASS if claim.ratio <= SMALLEST_SHARE else Status.FAIL
    if claim.interval is None:
        return Status.INVALID
    if claim.interval[1] < _bound(claim):
        return Status.PASS
    return Status.FAIL if (claim.simultaneous or claim.interval)[0] >= 1.0 else Status.INCONCLUSIVE


def _compose(claim: Claim, status: Status, reproduce: str) -> str:
    of = f" at batch {claim.batch}" if claim.batch else ""
    shown = f"{claim.ratio:.3f} of the {'time' if claim.gain == 'faster' else 'bytes'} of {claim.against}{of}"
    if claim.interval is not None:
        shown += f" (interval {claim.interval[0]:.3f} to {claim.interval[1]:.3f})"
    lines = [f"{claim.case} {claim.metric}: {status.value}"]
    if status is Status.INVALID:
        why = claim.why_invalid or "the ratio or its interval is no number to judge"
        lines.append(f"  cause      {why}")
    elif status is Status.INCONCLUSIVE:
        lines.append(f"  cause      {claim.what} is not shown to be {claim.gain}: {_WHY[claim.what]}")
    elif status is Status.FAIL:
        lines.append(f"  cause      {claim.what} is not {claim.gain}: {_WHY[claim.what]}")
    if math.isfinite(claim.ratio):
        lines.append(f"  measured   {shown}")
    if claim.gain == "faster":
        lines.append(
            f"  expected   an interval wholly below 1 and below that of the A/A control, "
            f"{claim.control[0]:.3f} to {claim.control[1]:.3f}"
        )
    else:
        lines.append(f"  expected   {SMALLEST_SHARE:g} or less")
    if status is Status.INVALID:
        lines.append(
            "  action     measure it again, alone on the machine: what cannot be judged cannot be waived"
        )
    elif status.is_red:
        lines.append(
            "  action     leave this step out, or waive the verdict with a reason and an expiry date"
        )
    lines.append(f"  reproduce  {compose_reproduce(claim.case, reproduce)}")
    return "\n".join(lines)
