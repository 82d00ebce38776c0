"""Where to cut a distribution before it is quantised: pure functions on histograms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from slimgate.compress.quantize.scheme import Affine, asymmetric_uint8, symmetric_int8

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FRACTIONS = np.linspace(1.0, 0.02, 99)
"""Shares of the whole range that are tried, in hundredths, the whole first: ties keep more."""

_SWEEPS = 3


def squared_error(values: Values, counts: Counts, affine: Affine, *, lowest: int, highest: int) -> float:
    """Return the sum of squared differences that a mapping makes of values.

    Args:
        values: ``(n,)`` real numbers.
        counts: ``(n,)`` how often each occurs.
        affine: scale and zero point.
        lowest: smallest integer of the type.
        highest: largest integer of the type.
    """
    steps = np.clip(np.rint(values / affine.scale) + affine.zero_point, lowest, highest)
    error = (steps - affine.zero_point) * affine.scale - values
    return float(np.dot(counts, error * error))


def least_squares_range(values: Values, counts: Counts) -> tuple[float, float]:
    """Return the range whose uint8 mapping leaves the smallest squared error.

    Both ends are shares of what was seen (``FRACTIONS``), found by turns: one end is searched whole while the
    other is held.

    Args:
        values: ``(n,)`` real numbers, at least one.
        counts: ``(n,)`` how often each occurs.
    """
    ends = [min(float(values.min()), 0.0), max(float(values.max()), 0.0)]
    whole = tuple(ends)

    def error_at(index: int, fraction: float) -> float:
        tried = list(ends)
        tried[index] = whole[index] * fraction
        return squared_error(values, counts, asymmetric_uint8(*tried), lowest=0, highest=255)

    for _ in range(_SWEEPS):
        before = tuple(ends)
        # The longer side first: it decides the step, and the shorter side is then worth what it costs.
        for index in sorted((0, 1), key=lambda side: -abs(whole[side])):
            if whole[index]:
                ends[index] = whole[index] * _best(partial(error_at, index))
        if tuple(ends) == before:
            break
    return ends[0], ends[1]


def least_squares_limit(values: Values, counts: Counts) -> float:
    """Return the magnitude whose symmetric int8 mapping leaves the smallest squared error.

    Args:
        values: ``(n,)`` real numbers, at least one.
        counts: ``(n,)`` how often each occurs.
    """
    largest = float(np.abs(values).max())
    return largest * _best(
        lambda share: squared_error(
            values, counts, symmetric_int8(-largest * share, largest * share), lowest=-127, highest=127
        )
    )


def least_divergence(counts: Counts, levels: int, *, step: int = 1) -> int:
    """Return how many bins to keep so that quantising what is kept loses the least information.

    Migacz 2017, "8-bit Inference with TensorRT". For every number of bins kept, what lies beyond is counted in the
    last bin (the reference), what is kept is merged into ``levels`` steps and spread again over the bins that were
    not empty (the candidate), and the Kullback-Leibler divergence of the two is taken.

    Args:
        counts: ``(bins,)`` over equal bins from zero outwards.
        levels: steps of the quantised type over the kept range; fewer than bins.
        step: distance between the numbers of bins that are tried.

    Returns:
        Bins to keep, from ``levels`` to all.
    """
    occupied = np.flatnonzero(counts)
    last = int(occupied[-1]) + 1 if occupied.size else counts.size
    tried = [*range(levels, last, step), max(last, levels)]
    best = int(np.argmin([_divergence(counts, kept, levels) for kept in tried]))
    return int(tried[best])


def _divergence(counts: Counts, kept: int, levels: int) -> float:
    inside = counts[:kept].astype(np.float64)
    reference = inside.copy()
    reference[-1] += counts[kept:].sum()
    full = inside > 0
    starts = np.arange(levels) * kept // levels
    sums = np.add.reduceat(inside, starts)
    holders = np.add.reduceat(full.astype(np.float64), starts)
    means = np.divide(sums, holders, out=np.zeros(levels), where=holders > 0)
    candidate = np.where(full, np.repeat(means, np.diff([*starts, kept])), 0.0)
    if not candidate.sum() or (candidate[reference > 0] == 0).any():
        # What the candidate calls impossible was seen: only outliers fall into an empty last bin.
        return np.inf
    p, q = reference / reference.sum(), candidate / candidate.sum()
    held = p > 0
    return float(np.dot(p[held], np.log(p[held] / q[held])))


def _best(error_of: Callable[[float], float]) -> float:
    return float(FRACTIONS[int(np.argmin([error_of(float(share)) for share in FRACTIONS]))])
