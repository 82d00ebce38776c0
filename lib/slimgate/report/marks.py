"""What a detector got right and wrong on one picture, by the rules of ``slimgate.measure.confusion``."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.report.labels import Rectangle


class Kind(enum.StrEnum):
    """What a box on a picture is."""

    TRUTH = "truth"
    """An object of the ground truth, on the picture that shows nothing else."""
    FOUND = "found"
    """A detection that matches an object."""
    FALSE = "false"
    """A detection that matches none."""
    IGNORED = "ignored"
    """A detection in a crowd region, which counts neither way."""
    MISSED = "missed"
    """An object without a detection."""
    PARTIAL = "partial"
    """A missed object that a detection of its class covers too little of."""
    CROWD = "crowd"
    """A region of objects that nobody counted."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One box on a picture.

    Attributes:
        kind: what it is.
        label: index of its class.
        box: xyxy, pixels of the picture.
        score: of a detection; None for an object.
    """

    kind: Kind
    label: int
    box: Rectangle
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class PictureMarks:
    """One picture as one case sees it."""

    marks: tuple[Mark, ...]

    def count(self, kind: Kind) -> int:
        """Return how many marks are of a kind."""
        return Counter(mark.kind for mark in self.marks)[kind]

    @property
    def is_right(self) -> bool:
        """Whether every object is found and nothing is made up."""
        return not any(self.count(kind) for kind in (Kind.MISSED, Kind.PARTIAL, Kind.FALSE))

    def summary(self) -> str:
        """Return the counts in words: ``3 found, 1 missed``; nothing of what does not occur but ``found``."""
        parts = [f"{self.count(Kind.FOUND)} found"]
        parts += [
            f"{count} {kind}"
            for kind in (Kind.PARTIAL, Kind.MISSED, Kind.FALSE)
            if (count := self.count(kind))
        ]
        return ", ".join(parts)


def mark_truth(picture: Mapping[str, Any]) -> PictureMarks:
    """Return the ground truth of a ``pictures`` entry of ``run.json``."""
    return PictureMarks(
        marks=tuple(
            Mark(kind=Kind.CROWD if one.get("crowd") else Kind.TRUTH, label=one["class"], box=_box(one))
            for one in picture["ground_truth"]
        )
    )


def mark_detections(
    picture: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], *, conf: float, iou: float
) -> PictureMarks:
    """Return what a case found, missed and made up on a picture.

    Matching is per class and greedy by score, as where the counts of the report come from.

    Args:
        picture: a ``pictures`` entry of ``run.json``.
        detections: the case's entry for that picture.
        conf: only scores above this count.
        iou: overlap from which a detection has found an object.
    """
    shown = sorted((one for one in detections if one["score"] > conf), key=lambda one: -one["score"])
    truth = picture["ground_truth"]
    labels = sorted({one["class"] for one in (*truth, *shown)})
    marks: list[Mark] = []
    for label in labels:
        marks += _mark_class(
            label,
            [one for one in truth if one["class"] == label],
            [one for one in shown if one["class"] == label],
            iou,
        )
    return PictureMarks(marks=tuple(marks))


def _mark_class(
    label: int, truth: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]], iou: float
) -> list[Mark]:
    import numpy as np

    from slimgate.detect import box_areas, box_iou, intersections
    from slimgate.measure.confusion import PARTIAL_MAX_COVERAGE, PARTIAL_MIN_IOU, match_greedily

    def array(entries: Sequence[Mapping[str, Any]]) -> Any:
        return np.array([one["box"] for one in entries], dtype=np.float64).reshape(-1, 4)

    objects = [one for one in truth if not one.get("crowd")]
    crowds = [one for one in truth if one.get("crowd")]
    boxes, targets, regions = array(shown), array(objects), array(crowds)
    tiny = np.finfo(np.float64).tiny
    overlaps = box_iou(boxes, targets)
    taken = match_greedily(overlaps, iou)
    in_crowd = (
        intersections(boxes, regions).max(axis=1, initial=0) / np.maximum(box_areas(boxes), tiny) >= iou
    )
    marks = [Mark(kind=Kind.CROWD, label=label, box=_box(one)) for one in crowds]
    for row, one in enumerate(shown):
        kind = Kind.FOUND if taken[row] >= 0 else Kind.IGNORED if in_crowd[row] and crowds else Kind.FALSE
        marks.append(Mark(kind=kind, label=label, box=_box(one), score=float(one["score"])))
    coverage = intersections(boxes, targets) / np.maximum(box_areas(targets), tiny)
    for column, one in enumerate(objects):
        if column in taken:
            continue
        best = int(overlaps[:, column].argmax()) if len(shown) else -1
        near = best >= 0 and PARTIAL_MIN_IOU <= overlaps[best, column] < iou
        is_partial = near and coverage[best, column] < PARTIAL_MAX_COVERAGE
        marks.append(Mark(kind=Kind.PARTIAL if is_partial else Kind.MISSED, label=label, box=_box(one)))
    return marks


def _box(entry: Mapping[str, Any]) -> Rectangle:
    x1, y1, x2, y2 = (float(edge) for edge in entry["box"])
    return x1, y1, x2, y2
