"""Which pictures a report shows side by side: those in which the variants disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slimgate.flow import Json

if TYPE_CHECKING:
    from slimgate.data import Dataset, Sample
    from slimgate.detect import Detections

_MATCH_IOU = 0.5
_PLAIN_SHARE = 3
"""One picture in three shows the ordinary case, so that the page is not only a list of mishaps."""


def choose_pictures(dataset: Dataset, runs: Mapping[str, Sequence[Detections]], *, count: int) -> list[int]:
    """Return the indices of the images to show, in the dataset's order.

    A third are images with most objects that every case gets right; the rest are those where the numbers of
    found objects differ most between the cases.

    Args:
        dataset: the evaluated images.
        runs: detections at the deployed confidence, one per image, by case.
        count: how many pictures.
    """
    if not runs or count == 0:
        return []
    candidates = [index for index, sample in enumerate(dataset.samples) if len(sample.boxes)]
    found = {
        index: [_count_found(dataset.samples[index], detections[index]) for detections in runs.values()]
        for index in candidates
    }
    spread = {index: max(found[index]) - min(found[index]) for index in candidates}
    objects = {index: len(dataset.samples[index].boxes) for index in candidates}
    by_spread = sorted(candidates, key=lambda index: (-spread[index], objects[index], index))
    plain = sorted(
        (index for index in candidates if spread[index] == 0 and min(found[index]) == objects[index]),
        key=lambda index: (-objects[index], index),
    )[: count // _PLAIN_SHARE]
    differing = [index for index in by_spread if index not in plain][: count - len(plain)]
    return sorted({*plain, *differing})


def detections_to_json(detections: Detections) -> list[dict[str, Json]]:
    """Return detections as the report reads them: class index, score, box in original pixels."""
    return [
        {
            "class": int(label),
            "score": round(float(score), 4),
            "box": [round(float(edge), 2) for edge in box],
        }
        for label, score, box in zip(detections.classes, detections.scores, detections.boxes, strict=True)
    ]


def _count_found(sample: Sample, detections: Detections) -> int:
    from slimgate.detect import box_iou

    if not len(detections.boxes):
        return 0
    overlaps = box_iou(sample.boxes, detections.boxes)
    same = sample.classes[:, None] == detections.classes[None, :]
    return int(((overlaps >= _MATCH_IOU) & same).any(axis=1).sum())
