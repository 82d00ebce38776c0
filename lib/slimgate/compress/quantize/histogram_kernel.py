"""The compiled loop of calibration: billions of activations, each into its bin.

Imported on first use, as the loops of detection are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slimgate.detect.kernels import compiled

_LANES = 4
"""Neighbouring values often share a bin: added up in turn they would wait for one another."""


@compiled
def add_counts(values: Any, scale: Any, counts: Any) -> None:
    """Add to ``counts`` how many values fall into each bin; the middle of the bins is 0.

    Args:
        values: ``(n,)`` float32, contiguous, finite, within what the bins hold.
        scale: bins per unit, float32; a power of two, so that multiplying is exact.
        counts: ``(bins,)`` int64; the value at the upper end falls into the last one.
    """
    bins = counts.size
    middle, last = bins // 2, bins - 1
    lanes = np.zeros((_LANES, bins), np.int32)
    whole = values.size - values.size % _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane, min(np.int32(np.floor(values[start + lane] * scale)) + middle, last)] += 1
    for index in range(whole, values.size):
        lanes[0, min(np.int32(np.floor(values[index] * scale)) + middle, last)] += 1
    for lane in range(_LANES):
        for index in range(bins):
            counts[index] += lanes[lane, index]
