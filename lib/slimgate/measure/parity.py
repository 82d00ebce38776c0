"""How far two executions of one detector are apart: raw outputs, and scores of matched detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.detect import Detections, box_iou
from slimgate.errors import InputError
from slimgate.measure.confusion import match_greedily

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class ScoreShift:
    """How scores moved against a reference, over detections that both have.

    mAP hides this: it only ranks. A quantised detector whose every score fell by .2 keeps its mAP and loses
    its detections at a fixed confidence.

    Attributes:
        mean: mean of (score - reference score) over matched detections; None when nothing matched.
        quantiles: of the same differences, by level (``"0.05"`` ... ``"0.95"``).
        matched: reference detections that were found again.
        lost: reference detections that were not found again at any score.
        sums: ``(images,)`` sum of the differences in each image.
        counts: ``(images,)`` matched detections in each image.
    """

    mean: float | None
    quantiles: Mapping[str, float]
    matched: int
    lost: int
    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return the ``score_shift`` part of a case record; a mean that does not exist is absent."""
        mean = {} if self.mean is None else {"mean": self.mean}
        return {**mean, "quantiles": dict(self.quantiles), "matched": self.matched, "lost": self.lost}


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """Largest and mean differences of two raw predictions of the same images.

    Attributes:
        score_max_abs: largest absolute difference of any class score.
        score_mean_abs: mean absolute difference of the class scores.
        box_max_abs: largest absolute difference of a coordinate, pixels of the network input, over
            positions that either side scores above ``conf``; 0 when there is none.
        positions: how many such positions there are.
    """

    score_max_abs: float
    score_mean_abs: float
    box_max_abs: float
    positions: int

    def to_json(self, *, image_size: int) -> dict[str, Any]:
        """Return the numbers of the ``parity`` part of a case record; boxes also as a share of the image side.

        Without a position that is compared there is no difference of boxes, and none is in the result.
        """
        boxes = {"box_max_px": self.box_max_abs, "box_max_share": self.box_max_abs / image_size}
        return {
            "score_max_abs": self.score_max_abs,
            "score_mean_abs": self.score_mean_abs,
            "positions": self.positions,
            **(boxes if self.positions else {}),
        }


def score_shift(
    reference: Sequence[Detections], detections: Sequence[Detections], *, conf: float = 0.25, iou: float = 0.5
) -> ScoreShift:
    """Return how the scores of a detector moved against a reference detector on the same images.

    Per image and class, reference detections above ``conf`` go by descending score; each takes the free
    detection it overlaps most, by ``iou`` or more.

    Args:
        reference: one entry per image, best first.
        detections: one entry per image, best first, with low scores still in: what fell below a threshold
            must be there to be matched.
        conf: reference detections count above this.
        iou: overlap from which two detections are the same.

    Raises:
        InputError: the two lists are not about the same number of images.
    """
    if len(reference) != len(detections):
        raise InputError(
            "score shift",
            found=f"{len(reference)} and {len(detections)} images",
            expected="detections of the same images",
            action="predict the same dataset with both",
        )
    shifts: list[npt.NDArray[np.float32]] = []
    images: list[int] = []
    lost = 0
    for image, (theirs, ours) in enumerate(zip(reference, detections, strict=True)):
        shown = theirs.above(conf)
        for label in np.unique(shown.classes):
            before, after = shown.classes == label, ours.classes == label
            taken = match_greedily(box_iou(shown.boxes[before], ours.boxes[after]), iou)
            lost += int((taken < 0).sum())
            shifts.append(ours.scores[after][taken[taken >= 0]] - shown.scores[before][taken >= 0])
            images += [image] * len(shifts[-1])
    moved = np.concatenate([np.zeros(0), *shifts])
    places = np.array(images, dtype=np.int64)
    return ScoreShift(
        mean=float(moved.mean()) if len(moved) else None,
        quantiles={f"{q:.2f}": float(np.quantile(moved, q)) for q in QUANTILES} if len(moved) else {},
        matched=len(moved),
        lost=lost,
        sums=np.bincount(places, weights=moved, minlength=len(reference)).astype(np.float64),
        counts=np.bincount(places, minlength=len(reference)),
    )


def compare_predictions(
    reference: npt.NDArray[np.float32], prediction: npt.NDArray[np.float32], *, conf: float = 0.05
) -> OutputParity:
    """Return how far two raw predictions ``(n, 4 + classes, anchors)`` of the same images are apart.

    Boxes are compared where they mean something: at positions that either side scores above ``conf``.

    Raises:
        InputError: shapes differ, or a value is NaN or infinite.
    """
    if reference.shape != prediction.shape:
        raise InputError(
            "prediction",
            found=f"shapes {reference.shape} and {prediction.shape}",
            expected="two predictions of the same images by the same detector",
            action="run both at the same image size",
        )
    if not (np.isfinite(reference).all() and np.isfinite(prediction).all()):
        raise InputError(
            "prediction",
            found="NaN or infinite values",
            expected="finite numbers from both runtimes",
            action="check the exported model: overflow in half precision is the usual cause",
        )
    scores = np.abs(reference[:, 4:] - prediction[:, 4:])
    shown = np.maximum(reference[:, 4:], prediction[:, 4:]).max(axis=1) > conf
    boxes = np.abs(reference[:, :4] - prediction[:, :4]).transpose(0, 2, 1)[shown]
    return OutputParity(
        score_max_abs=float(scores.max()),
        score_mean_abs=float(scores.mean()),
        box_max_abs=float(boxes.max(initial=0)),
        positions=int(shown.sum()),
    )
