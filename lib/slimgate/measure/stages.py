"""The three stages of one image, timed apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.detect import Protocol
from slimgate.errors import UsageError
from slimgate.measure.intervals import CONFIDENCE, median_interval, quantile_bounds
from slimgate.measure.predict import ImageRunner, Prediction, iterate_predictions

_WARM_UP_IMAGES = 3
_HIGH = 0.99


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Medians per image, and what is known of them, seconds.

    Attributes:
        preprocess_s: letterbox and conversion to network input; reading and decoding the file are not in it.
        inference_s: the network, at the runner's batch size (1 where it takes any), divided by the images.
        nms_s: from raw prediction to detections in original pixels, deployed protocol.
        inference_p99_s: what 99 of 100 images take at most.
        images: how many images were timed, the warm-up not counted.
        intervals: exact, at 95 %, by the name of the time; each end by itself for the 99 % quantile. Absent are those
            that the images are too few for: 6 for a median, 299 for the quantile.
    """

    preprocess_s: float
    inference_s: float
    nms_s: float
    inference_p99_s: float
    images: int
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the ``stages`` part of a case record."""
        return {**asdict(self), "intervals": {name: list(ends) for name, ends in self.intervals.items()}}


def measure_stages(runner: ImageRunner, paths: Sequence[Path], protocol: Protocol) -> StageTimes:
    """Return the median time of each stage over image files, under the deployed protocol.

    The first images are run twice: the first time only warms up.

    Raises:
        UsageError: there are no images.
        InputError: an image cannot be read.
    """
    if not paths:
        raise UsageError("stages", found="no images", expected="at least one", action="name images to time")
    deployed = [protocol.deployed()]
    for _ in iterate_predictions(runner, paths[:_WARM_UP_IMAGES], deployed):
        pass
    return summarise_stages(list(iterate_predictions(runner, paths, deployed)))


def summarise_stages(predictions: Sequence[Prediction]) -> StageTimes:
    """Return the times of each stage over predictions that were made anyway."""
    times = {
        name: [getattr(one, name) for one in predictions] for name in ("preprocess_s", "inference_s", "nms_s")
    }
    known = {name: median_interval(values, CONFIDENCE) for name, values in times.items()}
    known["inference_p99_s"] = quantile_bounds(times["inference_s"], _HIGH, CONFIDENCE)
    return StageTimes(
        **{name: float(np.median(values)) for name, values in times.items()},
        inference_p99_s=float(np.quantile(times["inference_s"], _HIGH, method="inverted_cdf")),
        images=len(predictions),
        intervals={name: ends for name, ends in known.items() if all(map(math.isfinite, ends))},
    )
