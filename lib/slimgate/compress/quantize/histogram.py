"""A histogram of one tensor over all calibration images, in constant memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

BINS = 4096

_LEAST_LIMIT = 2.0**-100
"""Bins per unit are a float32, which ends where the limit falls under 2^-117."""


class Histogram:
    """Counts of values over ``-limit .. limit``; the limit is a power of two and doubles when it must.

    Attributes:
        limit: end of the range on both sides; 0 while nothing but zeros was seen.
        counts: ``(BINS,)`` int64.
        low: lowest value seen.
        high: highest value seen.
    """

    def __init__(self) -> None:
        self.limit = 0.0
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.low = np.inf
        self.high = -np.inf

    def add(self, values: FloatArray) -> None:
        """Count the values of one more image; a NaN makes ``low`` and ``high`` NaN."""
        from slimgate.compress.quantize.histogram_kernel import add_counts

        low, high = values.min(), values.max()
        # numpy's minimum keeps a NaN where Python's min may drop it.
        self.low = float(np.minimum(self.low, low))
        self.high = float(np.maximum(self.high, high))
        largest = float(np.maximum(-low, high))
        if not np.isfinite(largest):
            return
        if self.limit == 0.0 and largest > 0:
            # A power of two keeps every doubling exact: two old bins make one new bin.
            self.limit = max(float(2.0 ** np.ceil(np.log2(largest))), _LEAST_LIMIT)
        while 0.0 < self.limit < largest:
            self.limit *= 2
            halved = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[BINS // 4 : BINS * 3 // 4] = halved
        # All zeros so far: any range would hold them, so one is chosen when something else comes.
        if self.limit > 0.0:
            # Scaling by a power of two is exact in float32, so no value falls into its neighbour's bin.
            add_counts(np.ascontiguousarray(values).ravel(), np.float32(BINS / 2 / self.limit), self.counts)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Edges of the bins, ``(BINS + 1,)``."""
        return np.linspace(-self.limit, self.limit, BINS + 1)

    def occupied(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return centres and counts of the bins that hold something."""
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        held = self.counts > 0
        # No centre lies outside what was seen: the outermost bins are wider than their values.
        return np.clip(centres[held], self.low, self.high), self.counts[held]

    def magnitudes(self) -> npt.NDArray[np.int64]:
        """Return the counts of absolute values, ``(BINS // 2,)`` over ``0 .. limit``."""
        return self.counts[BINS // 2 :] + self.counts[: BINS // 2][::-1]
