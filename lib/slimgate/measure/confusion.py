"""What a user of one fixed confidence sees: hits, misses, false detections, and boxes that cover too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.data import Dataset, Sample
from slimgate.detect import Detections, box_areas, box_iou, intersections
from slimgate.measure.accuracy import require_aligned

PARTIAL_MIN_IOU = 0.1
"""From this overlap on, a box is about the object at all."""

PARTIAL_MAX_COVERAGE = 0.8
"""Below this share of its area covered, an object is not wholly in the box."""

COUNTED = ("instances", "tp", "fp", "misses", "partial")
"""What is counted image by image: the fields of ``ClassCounts`` that the others follow from."""


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """Counts of one class, or of all.

    Attributes:
        instances: objects in the ground truth, crowd regions not counted.
        tp: detections matched with an object.
        fp: detections that match no object and lie in no crowd region.
        fn: objects without a matched detection.
        misses: objects that no detection of their class overlaps by the matching IoU.
        partial: those misses that a box of their class covers only in part.
    """

    instances: int = 0
    tp: int = 0
    fp: int = 0
    fn: int = 0
    misses: int = 0
    partial: int = 0

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without detections."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Share of the objects that are found; None without objects."""
        return _share(self.tp, self.instances)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, ``2 tp / (2 tp + fp + fn)``; None without either."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def miss_rate(self) -> float | None:
        """Share of the objects that are missed; None without objects."""
        return _share(self.misses, self.instances)

    def to_json(self) -> dict[str, int | float]:
        """Return counts and rates; a rate that does not exist is absent."""
        rates = {name: getattr(self, name) for name in ("precision", "recall", "f1", "miss_rate")}
        return {**vars(self), **{name: value for name, value in rates.items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts at one fixed confidence.

    Attributes:
        conf: detections are those whose score exceeds this.
        iou: overlap from which a detection has found an object.
        per_class: counts by class name.
    """

    conf: float
    iou: float
    per_class: Mapping[str, ClassCounts]

    @property
    def overall(self) -> ClassCounts:
        """The counts of all classes together."""
        return sum(self.per_class.values(), ClassCounts())

    def to_json(self) -> dict[str, Any]:
        """Return the ``confusion`` part of a case record."""
        return {
            "conf": self.conf,
            "iou": self.iou,
            "per_class": {name: counts.to_json() for name, counts in self.per_class.items()},
            "all": self.overall.to_json(),
        }


def confusion_at(dataset: Dataset, detections: Sequence[Detections], *, conf: float, iou: float) -> Confusion:
    """Return hits, misses and false detections per class at one confidence.

    Per image and class, detections go by descending score; each takes the free object it overlaps most, if by
    ``iou`` or more, as in COCO's matching. What it leaves is a false detection, unless a share of at least
    ``iou`` of it lies in a crowd region of its class, which counts neither way.

    A **miss** is an object that no detection of its class overlaps by ``iou``, taken or not. A miss is
    **partial** when the detection of its class that overlaps it most does so by at least
    ``PARTIAL_MIN_IOU`` (0.1) and covers less than ``PARTIAL_MAX_COVERAGE`` (0.8) of the object's area: the
    detector saw the symbol, but a reader that gets the box gets too little of it. A box that is merely too
    large is a miss, not a partial one.

    Args:
        dataset: the ground truth.
        detections: one entry per image of the dataset, in its order, best first, pixels of the original
            images; of ``Protocol.deployed()``, so that each candidate answers for its best class only.
        conf: only scores above this count.
        iou: overlap from which a detection has found an object.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    counts = count_images(dataset, detections, conf=conf, iou=iou)
    return sum_counts(counts, dataset.class_names, conf=conf, iou=iou)


def count_images(
    dataset: Dataset, detections: Sequence[Detections], *, conf: float, iou: float
) -> npt.NDArray[np.int32]:
    """Return the counts of ``confusion_at`` image by image, ``(images, classes, 5)`` in the order of ``COUNTED``.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    require_aligned(dataset, detections)
    counts = np.zeros((len(dataset), len(dataset.class_names), len(COUNTED)), dtype=np.int32)
    for index, (sample, found) in enumerate(zip(dataset.samples, detections, strict=True)):
        shown = found.above(conf)
        for label in np.union1d(sample.classes, shown.classes).astype(int).tolist():
            one = _count_class(sample, shown, label, iou)
            counts[index, label] = [getattr(one, name) for name in COUNTED]
    return counts


def sum_counts(
    counts: npt.NDArray[np.int32], class_names: Sequence[str], *, conf: float, iou: float
) -> Confusion:
    """Return the counts of all images of ``count_images`` together."""
    per_class = {}
    for name, row in zip(class_names, counts.sum(axis=0).tolist(), strict=True):
        summed = dict(zip(COUNTED, row, strict=True))
        per_class[name] = ClassCounts(**summed, fn=summed["instances"] - summed["tp"])
    return Confusion(conf=conf, iou=iou, per_class=per_class)


def match_greedily(overlaps: npt.NDArray[np.floating[Any]], iou: float) -> npt.NDArray[np.int64]:
    """Return for each row (best first) the column it takes, or -1.

    Each row takes the free column with the highest overlap of at least ``iou``; of equal overlaps the last
    one, as pycocotools does.

    Args:
        overlaps: ``(n, m)`` IoU.
        iou: overlap from which a row may take a column.
    """
    taken = np.full(len(overlaps), -1, dtype=np.int64)
    free = np.ones(overlaps.shape[1], dtype=np.bool_)
    for row, values in enumerate(overlaps):
        usable = np.where(free, values, -1.0)
        if len(usable) and usable.max() >= iou:
            column = len(usable) - 1 - int(usable[::-1].argmax())
            taken[row], free[column] = column, False
    return taken


@dataclass(frozen=True, kw_only=True)
class SortedOut:
    """What the detections of one class in one image are, in their order.

    Attributes:
        boxes: ``(n, 4)`` of the detections, xyxy pixels.
        objects: ``(m, 4)`` of the objects, crowd regions not among them.
        overlaps: ``(n, m)`` IoU.
        hits: ``(n,)`` whether it took an object.
        false: ``(n,)`` whether it took none and lies in no crowd region.
    """

    boxes: npt.NDArray[np.float64]
    objects: npt.NDArray[np.float64]
    overlaps: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    false: npt.NDArray[np.bool_]


def sort_detections(sample: Sample, found: Detections, label: int, iou: float) -> SortedOut:
    """Return which detections of a class found an object, and which are false; see ``confusion_at``."""
    mine = sample.classes == label
    objects = sample.boxes[mine & ~sample.crowd]
    crowds = sample.boxes[mine & sample.crowd]
    boxes = found.boxes[found.classes == label].astype(np.float64)
    overlaps = box_iou(boxes, objects)
    hits = match_greedily(overlaps, iou) >= 0
    false = ~hits
    if false.any() and len(crowds):
        areas = np.maximum(box_areas(boxes), np.finfo(np.float64).tiny)
        false &= (intersections(boxes, crowds) / areas[:, None]).max(axis=1) < iou
    return SortedOut(boxes=boxes, objects=objects, overlaps=overlaps, hits=hits, false=false)


def _count_class(sample: Sample, found: Detections, label: int, iou: float) -> ClassCounts:
    sorted_out = sort_detections(sample, found, label, iou)
    boxes, objects, overlaps = sorted_out.boxes, sorted_out.objects, sorted_out.overlaps
    hits = int(sorted_out.hits.sum())
    misses = partial = 0
    if len(objects):
        missed = overlaps.max(axis=0, initial=0) < iou
        misses = int(missed.sum())
        if len(boxes) and misses:
            partial = int((missed & _is_covered_in_part(boxes, objects, overlaps)).sum())
    return ClassCounts(
        instances=len(objects),
        tp=hits,
        fp=int(sorted_out.false.sum()),
        fn=len(objects) - hits,
        misses=misses,
        partial=partial,
    )


def _is_covered_in_part(
    boxes: npt.NDArray[np.float64], objects: npt.NDArray[np.float64], overlaps: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return for each object whether its most overlapping box is about it and covers too little of it."""
    nearest = overlaps.argmax(axis=0)
    each = np.arange(len(objects))
    areas = np.maximum(box_areas(objects), np.finfo(np.float64).tiny)
    coverage = intersections(boxes, objects)[nearest, each] / areas
    partial: npt.NDArray[np.bool_] = (overlaps[nearest, each] >= PARTIAL_MIN_IOU) & (
        coverage < PARTIAL_MAX_COVERAGE
    )
    return partial


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
