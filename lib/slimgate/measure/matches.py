"""What became of every detection in every image: enough to compute accuracy again for any choice of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.data import Dataset
from slimgate.detect import Detections, Protocol
from slimgate.flow import Json
from slimgate.measure.accuracy import open_evaluation
from slimgate.measure.confusion import COUNTED

IOU_THRESHOLDS = 10
"""COCO's: 0.50, 0.55, ..., 0.95."""

_ANY_AREA = [0.0, 1e10]
_MOST_DETECTIONS = 100
_BITS = (1 << np.arange(IOU_THRESHOLDS)).astype(np.uint16)
_ROW = [("image", "i4"), ("class", "i4"), ("score", "f4"), ("hits", "u2"), ("ignored", "u2")]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The matching of one detector's detections on one dataset, image by image.

    Images go by ascending image id, as COCO takes them: equal scores are ranked by that order. Detections go by
    image, then class, then score, best first; at most 100 per image and class, as in COCO's AP.

    Attributes:
        class_names: one per class.
        dataset_sha256: of the dataset.
        image_ids: ``(images,)`` ascending.
        objects: ``(images, classes)`` objects that can be found; crowd regions are none.
        images: ``(n,)`` index into ``image_ids`` of each detection.
        classes: ``(n,)`` class of each detection.
        scores: ``(n,)`` float32.
        hits: ``(n,)`` bit t: it took an object at the t-th IoU threshold.
        ignored: ``(n,)`` bit t: it lies in a crowd region there, and counts neither way.
        deployed: ``(images, classes, 5)`` counts at the deployed confidence, in the order of ``COUNTED``.
        protocol: what the detections were made under.
    """

    class_names: tuple[str, ...]
    dataset_sha256: str
    image_ids: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int32]
    images: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    hits: npt.NDArray[np.uint16]
    ignored: npt.NDArray[np.uint16]
    deployed: npt.NDArray[np.int32]
    protocol: Mapping[str, Json]

    def __len__(self) -> int:
        return len(self.image_ids)


def match_images(
    dataset: Dataset, everything: Sequence[Detections], counts: npt.NDArray[np.int32], protocol: Protocol
) -> Matches:
    """Return what became of every detection in every image.

    The matching is the evaluator's own, the one that average precision is computed from.

    Args:
        dataset: the ground truth.
        everything: detections down to the protocol's confidence, one entry per image, in its order.
        counts: of ``count_images`` at the deployed confidence, in the dataset's order.
        protocol: what the detections were made under.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    evaluation = open_evaluation(dataset, everything)
    # Objects of every size, and the one limit that AP has: the other areas and limits would only cost time.
    evaluation.params.area_rng, evaluation.params.area_rng_lbl = [_ANY_AREA], ["all"]
    evaluation.params.max_dets = [_MOST_DETECTIONS]
    evaluation.evaluate()
    ids = np.array([sample.image_id for sample in dataset.samples], dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    image_of = {int(ids[place]): index for index, place in enumerate(order)}
    class_of = {category: label for label, category in enumerate(dataset.category_ids)}
    found = [_matched_from_evaluation(entry, image_of, class_of) for entry in evaluation.eval_imgs if entry]
    rows = np.concatenate([np.zeros(0, dtype=_ROW), *found])
    rows = rows[np.lexsort((rows["class"], rows["image"]))]
    return Matches(
        class_names=dataset.class_names,
        dataset_sha256=dataset.sha256,
        image_ids=ids[order],
        objects=counts[order, :, COUNTED.index("instances")],
        images=rows["image"],
        classes=rows["class"],
        scores=rows["score"],
        hits=rows["hits"],
        ignored=rows["ignored"],
        deployed=counts[order],
        protocol=protocol.to_json(),
    )


def _matched_from_evaluation(
    entry: Mapping[str, Any], image_of: Mapping[int, int], class_of: Mapping[int, int]
) -> npt.NDArray[Any]:
    """Return the detections of one image and class, best first."""
    rows = np.zeros(len(entry["dtScores"]), dtype=_ROW)
    rows["image"], rows["class"] = image_of[entry["image_id"]], class_of[entry["category_id"]]
    rows["score"] = entry["dtScores"]
    if len(rows):
        rows["hits"] = _BITS @ np.array(entry["dtMatched"], dtype=np.uint16)
        rows["ignored"] = _BITS @ np.array(entry["dtIgnore"], dtype=np.uint16)
    return rows
