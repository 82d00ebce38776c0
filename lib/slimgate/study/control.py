"""What the A/A control says about the machine: how large an effect it can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.measure import PairResult

_SMALLEST_EFFECT = 1.05
"""A budget of "not slower" asks for no difference at all; 5 % is the smallest effect worth a verdict."""

_LARGEST_EFFECT = 1.10
"""However much a budget asks for: a speed-up of a half is no reason to believe a machine that is off by a quarter."""

CONTROL_WITHIN = math.sqrt(_SMALLEST_EFFECT)
"""Half of the smallest effect: no budget complains of a control that is nearer to 1 than this."""


def control_complaint(
    control: PairResult, budget: float | None, measured: tuple[float, float] | None = None
) -> str:
    """Return why the machine cannot judge a latency, or nothing.

    The A/A control times the baseline against itself. If it is off by more than half of what the budget asks
    for, the machine itself is the larger effect. If it is not even known to be within all of it, nobody can tell.
    Without a budget it is held against what was measured. At least 5 % are asked for, and at most 10 %: a machine that
    takes the same thing for a tenth faster is not believed about a half either.

    Args:
        control: the A/A measurement.
        budget: the highest ratio that passes; None when there is none.
        measured: interval of the ratio, looked at where there is no budget; at least the smallest effect is asked for.
    """
    asked = max(_size_of(budget, measured), math.log(_SMALLEST_EFFECT))
    most = math.log(_LARGEST_EFFECT)
    share = f"{math.expm1(min(asked, most)):.1%}"
    if asked > most:
        effect = f"the largest effect that a control is held against, {share}"
    elif budget is not None:
        effect = f"the {share} that the budget {budget:g} asks for"
    elif asked > math.log(_SMALLEST_EFFECT):
        effect = f"the {share} that were measured"
    else:
        effect = f"the smallest effect, {share}"
    asked = min(asked, most)
    if control.off() > asked / 2:
        return (
            f"the A/A control is off by {math.expm1(control.off()):.1%}, more than half of {effect}: "
            "this machine is too busy to judge"
        )
    if control.most_off() > asked:
        low, high = control.interval
        return (
            f"the A/A control is known to lie between {low:.3f} and {high:.3f} only, off by more than {effect}: "
            "this machine is too busy to judge"
        )
    return ""


def _size_of(budget: float | None, measured: tuple[float, float] | None) -> float:
    """Return what a control is compared with: the budget, or how far all of an interval lies from 1, as a logarithm."""
    if budget is not None:
        return abs(math.log(budget))
    if measured is None or measured[0] <= 1.0 <= measured[1]:
        return 0.0
    return min(abs(math.log(end)) for end in measured)
