"""The compiled loop of calibration: billions of activations, each into its bin.

Imported on first use, as the loops of detection are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slimgate.detect.kernels import compiled

_CHUNK = 1024
"""Values whose bins are found in one vectorised step, few enough for the first cache."""


@compiled
def add_counts(values: Any, scale: Any, counts: Any) -> None:
    """Add to ``counts`` how many values fall into each bin; the middle of the bins is 0.

    Args:
        values: ``(n,)`` float32, contiguous, finite, within what the bins hold.
        scale: bins per unit, float32; a power of two, so that multiplying is exact.
        counts: ``(bins,)`` int64; the value at the upper end falls into the last one.
    """
    middle, last = np.int32(counts.size // 2), np.int32(counts.size - 1)
    bins = np.zeros(_CHUNK, np.int32)
    for start in range(0, values.size, _CHUNK):
        filled = min(_CHUNK, values.size - start)
        for index in range(filled):
            bins[index] = min(np.int32(np.floor(values[start + index] * scale)) + middle, last)
        for index in range(filled):
            counts[bins[index]] += 1
