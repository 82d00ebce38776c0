"""The three stages of one image, timed apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.detect import Protocol
from slimgate.errors import UsageError
from slimgate.measure.predict import ImageRunner, Prediction, iterate_predictions

_WARM_UP_IMAGES = 3


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Medians per image, seconds.

    Attributes:
        preprocess_s: letterbox and conversion to network input; reading and decoding the file are not in it.
        inference_s: the network, at the runner's batch size (1 where it takes any), divided by the images.
        nms_s: from raw prediction to detections in original pixels, deployed protocol.
        images: how many images were timed, the warm-up not counted.
    """

    preprocess_s: float
    inference_s: float
    nms_s: float
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return the ``stages`` part of a case record."""
        return asdict(self)


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
    """Return the median time of each stage over predictions that were made anyway."""
    return StageTimes(
        preprocess_s=float(np.median([p.preprocess_s for p in predictions])),
        inference_s=float(np.median([p.inference_s for p in predictions])),
        nms_s=float(np.median([p.nms_s for p in predictions])),
        images=len(predictions),
    )
