"""One pass over a dataset: every accuracy number, and the time of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.data import Dataset, ImageCache
from slimgate.detect import Detections, Protocol
from slimgate.measure.accuracy import CocoResult, evaluate_coco
from slimgate.measure.confusion import Confusion, count_images, sum_counts
from slimgate.measure.curves import ConfidenceCurves, confidence_curves, curves_protocol
from slimgate.measure.matches import Matches, match_images
from slimgate.measure.predict import ImageRunner, Progress, iterate_predictions
from slimgate.measure.stages import StageTimes, summarise_stages


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one detector did on one dataset.

    Attributes:
        coco: COCO's numbers over all detections down to the protocol's confidence.
        confusion: counts at the deployed confidence.
        curves: precision, recall and F1 against confidence.
        stages: median times per image.
        deployed: detections at the deployed confidence, one per image, original pixels.
        everything: detections down to the protocol's confidence, one per image.
        matches: what became of each detection, image by image.
    """

    coco: CocoResult
    confusion: Confusion
    curves: ConfidenceCurves
    stages: StageTimes
    deployed: Sequence[Detections]
    everything: Sequence[Detections]
    matches: Matches

    def to_json(self) -> dict[str, Any]:
        """Return the ``accuracy``, ``confusion``, ``curves`` and ``stages`` parts of a case record."""
        return {
            "accuracy": self.coco.to_json(),
            "confusion": self.confusion.to_json(),
            "curves": self.curves.to_json(),
            "stages": self.stages.to_json(),
        }


def evaluate_runner(
    runner: ImageRunner,
    dataset: Dataset,
    protocol: Protocol,
    *,
    batch: int = 1,
    progress: Progress | None = None,
    cache: ImageCache | None = None,
) -> Evaluation:
    """Run a detector over a dataset once and return every number that comes out of it.

    Args:
        runner: runs the network.
        dataset: the evaluated images.
        protocol: how predictions become detections, and detections numbers.
        batch: images per network call.
        progress: called with the number of images that were just finished.
        cache: of images that were read before.

    Raises:
        InputError: an image cannot be read, or the network's output is not a prediction.
    """
    predictions = []
    paths = [sample.path for sample in dataset.samples]
    # The deployed protocol goes first: its suppression is what a user waits for, so it is the one that is timed.
    protocols = [protocol.deployed(), protocol, curves_protocol(protocol)]
    for prediction in iterate_predictions(runner, paths, protocols, batch=batch, cache=cache):
        predictions.append(prediction)
        if progress is not None:
            progress(1)
    deployed, everything, down = zip(*(prediction.detections for prediction in predictions), strict=True)
    conf, iou = protocol.deployed_conf, protocol.match_iou
    counts = count_images(dataset, deployed, conf=conf, iou=iou)
    return Evaluation(
        coco=evaluate_coco(dataset, everything),
        confusion=sum_counts(counts, dataset.class_names, conf=conf, iou=iou),
        curves=confidence_curves(dataset, down, iou=protocol.match_iou),
        stages=summarise_stages(predictions),
        deployed=deployed,
        everything=everything,
        matches=match_images(dataset, everything, counts, protocol),
    )
