"""How well a difference between two detectors is known from these images: the paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import UsageError, name_offenders
from slimgate.flow import Json
from slimgate.measure.confusion import COUNTED
from slimgate.measure.matches import Matches
from slimgate.measure.parity import ScoreShift

RESAMPLES = 1000
SEED = 20261123
CONFIDENCE = 0.95
METHOD = "paired percentile bootstrap over images"

FEWEST_IMAGES = 50
"""A bootstrap of fewer images than this calls its intervals narrower than they are."""

_MOST_UNDEFINED = 0.01


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Every accuracy metric of one detector, as measured and in every resample of the images.

    Attributes:
        measured: by metric, on the images as they are; NaN where it does not exist.
        resampled: by metric, ``(resamples,)``; NaN where it does not exist.
        support: by metric, how many images it is about: for the recall of a class, those with such an object.
        images: how many images there are.
        seed: of the draws.
        made_from: what two detectors must share for their resamples to be of the same images.
    """

    measured: Mapping[str, float]
    resampled: Mapping[str, npt.NDArray[np.float64]]
    support: Mapping[str, int]
    images: int
    seed: int
    made_from: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """A detector against a reference on the same images.

    Attributes:
        values: variant minus reference, by metric.
        intervals: by metric; absent where the images are too few to say.
        images: how many images there are.
        resamples: how often they were drawn.
        seed: of the draws.
        confidence: of the intervals.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    images: int
    resamples: int
    seed: int
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Return an entry of ``differences`` in a case record, without its reference."""
        return {
            "method": METHOD,
            "images": self.images,
            "resamples": self.resamples,
            "seed": self.seed,
            "confidence": self.confidence,
            "metrics": {
                name: {"value": value}
                | ({"interval": list(self.intervals[name])} if name in self.intervals else {})
                for name, value in self.values.items()
            },
        }


def resample_metrics(matches: Matches, *, resamples: int = RESAMPLES, seed: int = SEED) -> Resampled:
    """Return every accuracy metric of a detector in resamples of its images.

    Two detectors on the same dataset with the same seed are given the same resamples: their difference is paired.

    Args:
        matches: of the detector.
        resamples: how often the images are drawn, with replacement.
        seed: of the draws.
    """
    drawn = draw_copies(len(matches), resamples=resamples, seed=seed)
    as_they_are = np.ones((1, len(matches)), dtype=drawn.dtype)
    metrics = measure_resamples(matches, np.concatenate([as_they_are, drawn]))
    with_objects = (matches.objects > 0).sum(axis=0).tolist()
    support = dict.fromkeys(metrics, len(matches)) | {
        f"recall/{name}": count for name, count in zip(matches.class_names, with_objects, strict=True)
    }
    return Resampled(
        measured={name: float(values[0]) for name, values in metrics.items()},
        resampled={name: values[1:] for name, values in metrics.items()},
        support=support,
        images=len(matches),
        seed=seed,
        made_from={
            "dataset_sha256": matches.dataset_sha256,
            "images": len(matches),
            "class_names": list(matches.class_names),
            "protocol": dict(matches.protocol),
            "resamples": resamples,
            "seed": seed,
        },
    )


def compare_resampled(
    reference: Resampled, variant: Resampled, *, confidence: float = CONFIDENCE
) -> Differences:
    """Return how far a variant is from a reference in every metric, with intervals.

    The interval is the percentile interval of the paired bootstrap (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13): the images are drawn with replacement, both detectors are measured on the same draw,
    and the middle ``confidence`` of the differences is kept. A metric has none when it is about fewer than
    ``FEWEST_IMAGES`` images, or does not exist in more than 1 % of the draws.

    Args:
        reference: of ``resample_metrics``.
        variant: of ``resample_metrics``, on the same images with the same seed.
        confidence: of the intervals.

    Raises:
        UsageError: the two are not about the same draws of the same images under the same protocol.
    """
    differing = [key for key, value in reference.made_from.items() if variant.made_from[key] != value]
    if differing:
        raise UsageError(
            "bootstrap",
            found=f"a reference and a variant with another {name_offenders(differing)}",
            expected="the same images, drawn alike, under the same protocol",
            action="evaluate both on the same dataset with the same settings",
        )
    values, intervals = {}, {}
    for name, measured in variant.measured.items():
        value = measured - reference.measured[name]
        if np.isnan(value):
            continue
        values[name] = value
        drawn = variant.resampled[name] - reference.resampled[name]
        interval = _percentile_interval(drawn, variant.support[name], confidence)
        if interval is not None:
            intervals[name] = interval
    return Differences(
        values=values,
        intervals=intervals,
        images=variant.images,
        resamples=len(next(iter(variant.resampled.values()))),
        seed=variant.seed,
        confidence=confidence,
    )


def compare_scores(shift: ScoreShift, *, resamples: int = RESAMPLES, seed: int = SEED) -> Differences:
    """Return the mean shift of the scores as a difference, in draws of the same images.

    Args:
        shift: of a variant's scores against a reference's.
        resamples: how often the images are drawn, with replacement.
        seed: of the draws.
    """
    copies = draw_copies(len(shift.sums), resamples=resamples, seed=seed)
    drawn = _share(copies @ shift.sums, (copies @ shift.counts).astype(np.float64))
    interval = _percentile_interval(drawn, int((shift.counts > 0).sum()), CONFIDENCE)
    return Differences(
        values={} if shift.mean is None else {"score_shift": shift.mean},
        intervals={} if interval is None else {"score_shift": interval},
        images=len(shift.sums),
        resamples=resamples,
        seed=seed,
        confidence=CONFIDENCE,
    )


def _percentile_interval(
    drawn: npt.NDArray[np.float64], support: int, confidence: float
) -> tuple[float, float] | None:
    exists = ~np.isnan(drawn)
    if support < FEWEST_IMAGES or exists.mean() < 1 - _MOST_UNDEFINED:
        return None
    low, high = np.quantile(drawn[exists], ((1 - confidence) / 2, (1 + confidence) / 2)).tolist()
    return low, high


def draw_copies(images: int, *, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how often each image is in each resample, ``(resamples, images)``; every row sums to ``images``."""
    drawn = np.random.default_rng(seed).integers(0, images, (resamples, images))
    places = drawn + images * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * images).reshape(resamples, images)


def measure_resamples(
    matches: Matches, copies: npt.NDArray[np.integer[Any]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return every accuracy metric of every resample, ``(resamples,)`` each; NaN where it does not exist.

    Args:
        matches: of one detector.
        copies: ``(resamples, images)`` how often each image is in each resample.
    """
    return {**_average_precisions(matches, copies), **_rates(matches, copies)}


def _average_precisions(
    matches: Matches, copies: npt.NDArray[np.integer[Any]]
) -> dict[str, npt.NDArray[np.float64]]:
    from slimgate.measure.resample_kernel import average_precisions

    # Stable, so that equal scores stay in the order of the images.
    order = np.lexsort((-matches.scores, matches.classes))
    images, scores = matches.images[order], matches.scores[order]
    labels = matches.classes[order]
    count = len(matches.class_names)
    starts = np.searchsorted(labels, np.arange(count + 1))
    breaks = (np.diff(images) != 0) | (np.diff(scores) != 0) | (np.diff(labels) != 0)
    runs = np.concatenate([np.flatnonzero(breaks) + 1, [len(order)]])
    ends = runs[np.searchsorted(runs, np.arange(len(order)), side="right")]
    found = average_precisions(
        np.ascontiguousarray(copies, dtype=np.int32),
        images.astype(np.int32),
        ends.astype(np.int64),
        matches.hits[order],
        matches.ignored[order],
        starts.astype(np.int64),
        np.ascontiguousarray(matches.objects, dtype=np.int32),
        np.linspace(0.0, 1.0, 101),
    )
    known = ~np.isnan(found[:, 0])
    classes = np.maximum(known.sum(axis=1), 1)
    exists = known.any(axis=1)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(exists, np.where(known, values, 0.0).sum(axis=1) / classes, np.nan)

    return {"map50_95": mean(found.mean(axis=1)), "map50": mean(found[:, 0]), "map75": mean(found[:, 5])}


def _rates(matches: Matches, copies: npt.NDArray[np.integer[Any]]) -> dict[str, npt.NDArray[np.float64]]:
    images, classes, kinds = matches.deployed.shape
    flat = matches.deployed.reshape(images, classes * kinds).astype(np.float64)
    counts = (copies.astype(np.float64) @ flat).reshape(len(copies), classes, kinds)
    per_class = {name: counts[..., index] for index, name in enumerate(COUNTED)}
    total = {name: values.sum(axis=1) for name, values in per_class.items()}
    shown = total["tp"] + total["fp"]
    recalls = {
        f"recall/{name}": _share(per_class["tp"][:, label], per_class["instances"][:, label])
        for label, name in enumerate(matches.class_names)
    }
    return {
        "precision": _share(total["tp"], shown),
        "recall": _share(total["tp"], total["instances"]),
        "f1": _share(2 * total["tp"], shown + total["instances"]),
        "miss_rate": _share(total["misses"], total["instances"]),
        "misses": total["misses"],
        "false_detections": total["fp"],
        "partial": total["partial"],
        **recalls,
    }


def _share(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
