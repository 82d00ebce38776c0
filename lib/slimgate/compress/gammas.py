"""The scales (gamma) of batch norms: which ones slimming ranks channels by, and whether they were made sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from slimgate.errors import InputError
from slimgate.flow import Detector, Json

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
BINS = (0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Lower edges of the histogram of |gamma|; the last bin is open."""

LEAST_SPARSE_SHARE = 0.05
"""Share of scales under 0.01 below which no sparse training happened: an ordinary detector has none."""


@dataclass(frozen=True, kw_only=True)
class GammaSparsity:
    """How the magnitudes of a network's prunable scales are spread.

    Attributes:
        count: scales.
        share_zero: share that is exactly zero, 0..1.
        share_under_thousandth: share under a thousandth of the largest.
        share_under_hundredth: share under 0.01.
        largest: the largest magnitude.
        quantiles: by name: ``q01``, ``q10``, ..., ``q99``.
        histogram: scales per bin of ``BINS``.
    """

    count: int
    share_zero: float
    share_under_thousandth: float
    share_under_hundredth: float
    largest: float
    quantiles: Mapping[str, float]
    histogram: tuple[int, ...]

    @property
    def is_sparse(self) -> bool:
        """Whether enough scales are small for a ranking by them to mean something."""
        return self.share_under_hundredth >= LEAST_SPARSE_SHARE

    def describe(self) -> str:
        """Return the numbers in words, for messages."""
        return (
            f"{self.share_under_hundredth:.1%} of {self.count:,} scales under 0.01, "
            f"the median {self.quantiles['q50']:.3g}, the largest {self.largest:.3g}"
        )

    def to_json(self) -> dict[str, Json]:
        """Return the numbers as JSON values."""
        return {
            "count": self.count,
            "share_zero": round(self.share_zero, 6),
            "share_under_0.001_max": round(self.share_under_thousandth, 6),
            "share_under_0.01": round(self.share_under_hundredth, 6),
            "max": round(self.largest, 6),
            **{name: round(value, 6) for name, value in self.quantiles.items()},
            "bins": list(BINS),
            "histogram": list(self.histogram),
        }


def prunable_norms(module: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return the batch norms whose scales slimming ranks channels by, by module name.

    These are all there are: what must not be pruned (the head's outputs) has none.
    """
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def gamma_sparsity(detector: Detector) -> GammaSparsity:
    """Return how a detector's scales are spread.

    Raises:
        InputError: it has no batch norms, such as one whose convolutions were fused.
    """
    refuse_without_norms(detector)
    return measure_gammas(detector.module)


def refuse_without_norms(detector: Detector) -> None:
    """Refuse a detector without batch norms.

    Raises:
        InputError: it has none, such as one whose convolutions were fused.
    """
    if not prunable_norms(detector.module):
        raise InputError(
            f"batch norms of {detector.name}",
            found="none",
            expected="a network with batch norms: their scales rank its channels",
            action="use a checkpoint from before its convolutions were fused",
        )


def measure_gammas(module: nn.Module) -> GammaSparsity:
    """Return how the scales of a network that has some are spread."""
    scales = [layer.weight.detach().float().flatten() for layer in prunable_norms(module).values()]
    magnitudes = torch.cat(scales).abs()
    largest = float(magnitudes.max())
    edges = torch.tensor(BINS)
    counts = torch.bincount(torch.bucketize(magnitudes, edges, right=True) - 1, minlength=len(BINS))
    quantiles = torch.quantile(magnitudes.double(), torch.tensor(QUANTILES, dtype=torch.float64))
    return GammaSparsity(
        count=magnitudes.numel(),
        share_zero=float((magnitudes == 0).double().mean()),
        share_under_thousandth=float((magnitudes < 1e-3 * largest).double().mean()) if largest else 1.0,
        share_under_hundredth=float((magnitudes < 1e-2).double().mean()),
        largest=largest,
        quantiles={f"q{100 * q:02.0f}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)},
        histogram=tuple(int(count) for count in counts),
    )
