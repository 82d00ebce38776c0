"""Observers: how the range of an activation is taken from what it was seen to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from slimgate.compress.quantize.clip import least_divergence, least_squares_limit, least_squares_range
from slimgate.compress.quantize.histogram import BINS, Histogram

FloatArray = npt.NDArray[np.float32]

_STEP = 4
"""Bins between the thresholds that the entropy observer tries: a 500th of the range."""


class Observer(Protocol):
    """Watches one tensor over all calibration images, in constant memory."""

    def observe(self, values: FloatArray) -> None:
        """Take in the tensor's values for one more image."""

    def range(self) -> tuple[float, float]:
        """Return the lowest and highest value that an asymmetric mapping should represent."""

    def magnitude(self) -> float:
        """Return the largest absolute value that a symmetric mapping should represent."""


class MinMax:
    """The lowest and highest value ever seen."""

    def __init__(self) -> None:
        self._low = np.inf
        self._high = -np.inf

    def observe(self, values: FloatArray) -> None:
        """Take in the tensor's values for one more image."""
        # numpy's minimum keeps a NaN where Python's min may drop it.
        self._low = float(np.minimum(self._low, values.min()))
        self._high = float(np.maximum(self._high, values.max()))

    def range(self) -> tuple[float, float]:
        """Return the lowest and highest value seen."""
        return self._low, self._high

    def magnitude(self) -> float:
        """Return the largest absolute value seen."""
        return max(abs(self._low), abs(self._high))


class _Histogrammed(ABC):
    """An observer that decides from a histogram, unless nothing but zeros (or a NaN) was seen."""

    def __init__(self) -> None:
        self._histogram = Histogram()

    def observe(self, values: FloatArray) -> None:
        """Take in the tensor's values for one more image."""
        self._histogram.add(values)

    def range(self) -> tuple[float, float]:
        """Return the range, never wider than what was seen."""
        seen = self._histogram.low, self._histogram.high
        return self._range(*seen) if self._histogram.limit > 0.0 and np.isfinite(seen).all() else seen

    def magnitude(self) -> float:
        """Return the largest absolute value to represent, never more than was seen."""
        seen = max(abs(self._histogram.low), abs(self._histogram.high))
        return self._magnitude(seen) if self._histogram.limit > 0.0 and np.isfinite(seen) else seen

    @abstractmethod
    def _range(self, low: float, high: float) -> tuple[float, float]:
        """Return the range that the histogram speaks for, of what was seen from ``low`` to ``high``."""

    def _magnitude(self, largest: float) -> float:
        return max(abs(end) for end in self.range())


class Percentile(_Histogrammed):
    """The central share of all values seen.

    Args:
        share: share of the values inside the range; the rest is cut off evenly on both sides.
    """

    def __init__(self, share: float = 0.99999) -> None:
        super().__init__()
        self._share = share

    def _range(self, low: float, high: float) -> tuple[float, float]:
        cumulated = np.cumsum(self._histogram.counts) / self._histogram.counts.sum()
        cut = (1 - self._share) / 2
        edges = self._histogram.edges
        first = int(np.searchsorted(cumulated, cut, side="right"))
        last = int(np.searchsorted(cumulated, 1 - cut, side="left"))
        return max(low, float(edges[first])), min(high, float(edges[min(last + 1, BINS)]))


class Mse(_Histogrammed):
    """The range whose 8-bit rounding and cutting together leave the smallest mean squared error."""

    def _range(self, low: float, high: float) -> tuple[float, float]:
        return least_squares_range(*self._histogram.occupied())

    def _magnitude(self, largest: float) -> float:
        return least_squares_limit(*self._histogram.occupied())


class Entropy(_Histogrammed):
    """The range at which the distribution loses the least information to its 8-bit steps.

    Migacz 2017, "8-bit Inference with TensorRT": the threshold on absolute values of least Kullback-Leibler
    divergence. It cuts far: YOLO detectors lose points of mAP to it (YOLOv7: .457 where mean squared error has
    .510), which is why it is here to be compared and is nobody's default.
    """

    def _range(self, low: float, high: float) -> tuple[float, float]:
        # As many steps as an asymmetric mapping spends on the longer side of zero.
        low, high = min(low, 0.0), max(high, 0.0)
        threshold = self._threshold(round(255 * max(-low, high) / (high - low)))
        return max(low, -threshold), min(high, threshold)

    def _magnitude(self, largest: float) -> float:
        return min(largest, self._threshold(127))

    def _threshold(self, levels: int) -> float:
        kept = least_divergence(self._histogram.magnitudes(), levels, step=_STEP)
        return kept * self._histogram.limit / (BINS // 2)


OBSERVERS: dict[str, type[MinMax] | type[Percentile] | type[Mse] | type[Entropy]] = {
    "minmax": MinMax,
    "percentile": Percentile,
    "mse": Mse,
    "entropy": Entropy,
}
"""By the name that a plan records."""
