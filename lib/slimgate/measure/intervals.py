"""Exact intervals of a median, and how sure each of several looks at several comparisons must be."""

from __future__ import annotations

import math
from typing import Any

from slimgate.errors import UsageError

CONFIDENCE = 0.95


def median_interval(values: Any, confidence: float) -> tuple[float, float]:
    """Return the exact (distribution-free) confidence interval of the median of ``values`` ``(n,)``.

    Minus infinity to infinity where even the smallest and the largest value hold the median less often than that.

    Source: order statistics and the binomial distribution, Conover, Practical Nonparametric Statistics, 3.2.
    """
    from scipy import stats

    if len(values) < fewest_values(confidence):
        return -math.inf, math.inf
    interval = stats.quantile_test(values, q=0, p=0.5).confidence_interval(confidence_level=confidence)
    return float(interval.low), float(interval.high)


def quantile_bounds(values: Any, quantile: float, confidence: float) -> tuple[float, float]:
    """Return the exact (distribution-free) lower and upper confidence bound of a quantile of ``values`` ``(n,)``.

    Each of the two holds with ``confidence``. Infinite where the values are too few: the upper bound of the 99 %
    quantile at 95 % takes 299.

    Source: as for ``median_interval``; one-sided.
    """
    import numpy as np
    from scipy import stats

    ordered, count = np.sort(values), len(values)
    # The quantile lies below the kth smallest value with the probability of fewer than k values below it.
    upper = int(stats.binom.ppf(confidence, count, quantile))
    lower = int(stats.binom.ppf(1 - confidence, count, quantile))
    return (
        float(ordered[lower - 1]) if lower > 0 else -math.inf,
        float(ordered[upper]) if upper < count else math.inf,
    )


def simultaneous_confidence(confidence: float, *, comparisons: int = 1, looks: int = 1) -> float:
    """Return the confidence that each interval needs for all of them to hold at once with ``confidence``.

    What may go wrong is shared out evenly over the comparisons and the looks at each. That needs no independence:
    looks at the same rounds are not independent, and comparisons with the same baseline need not be.

    Source: Bonferroni's inequality; Miller, Simultaneous Statistical Inference, 1981, 1.3.

    Args:
        confidence: of all intervals together.
        comparisons: how many there are.
        looks: how often each is looked at before it is decided.
    """
    return 1 - (1 - confidence) / (comparisons * looks)


def fewest_values(confidence: float) -> int:
    """Return how many values an exact interval of the median needs at least at this confidence."""
    needed = 2
    while 1 - 0.5 ** (needed - 1) < confidence:
        needed += 1
    return needed


def require_rounds(rounds: int, confidence: float) -> None:
    """Refuse fewer rounds than an exact interval of the median needs at this confidence.

    Raises:
        UsageError: even the interval from the smallest to the largest value covers the median less often.
    """
    needed = fewest_values(confidence)
    if rounds < needed:
        raise UsageError(
            f"rounds {rounds}",
            found=f"too few for an exact {show_confidence(confidence)} interval",
            expected=f"at least {needed}",
            action=f"measure {needed} rounds or more",
        )


def show_confidence(confidence: float) -> str:
    """Return a confidence in percent, with the digits that tell it from 100 %."""
    return f"{100 * confidence:.6g}%"
