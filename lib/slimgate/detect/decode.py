"""From a network's raw output to detections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from slimgate.detect.boxes import xyxy_from_xywh
from slimgate.detect.nms import nms, order_by_score
from slimgate.detect.protocol import Protocol
from slimgate.errors import InputError

Float32Array = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Scored boxes before suppression.

    Attributes:
        boxes: ``(n, 4)`` float32 xyxy, pixels of the network input.
        scores: ``(n,)`` float32 in 0..1.
        classes: ``(n,)`` class indices.
    """

    boxes: Float32Array
    scores: Float32Array
    classes: IndexArray

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector says about one image, best first.

    Attributes:
        boxes: ``(n, 4)`` float32 xyxy; pixels of the original image unless a function says otherwise.
        scores: ``(n,)`` float32 in 0..1, descending.
        classes: ``(n,)`` class indices.
    """

    boxes: Float32Array
    scores: Float32Array
    classes: IndexArray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, conf: float) -> Detections:
        """Return the detections whose score exceeds ``conf``."""
        keep = self.scores > np.float32(conf)
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])

    def with_boxes(self, boxes: Float32Array) -> Detections:
        """Return the same detections in other coordinates."""
        return replace(self, boxes=boxes)


def candidates_from_prediction(
    prediction: Float32Array, *, conf: float, multi_label: bool, limit: int | None = None
) -> Candidates:
    """Return the candidates of one image whose score exceeds ``conf``.

    Ordered by position in the prediction, then by class, as in YOLOv5: ties in score are later broken by this
    order.

    Args:
        prediction: ``(4 + classes, anchors)`` float32: centre x, centre y, width, height in pixels of the
            network input, then one score per class.
        conf: scores must exceed this.
        multi_label: one candidate per class above ``conf``; else only each position's best class.
        limit: keep only this many, best first with ties in order; all when None.

    Raises:
        InputError: scores are NaN, which every comparison would silently drop; or a candidate has a box that is NaN
            or infinite, which overlaps nothing, so that suppression would keep it.
    """
    from slimgate.detect.kernels import pick_all, pick_best

    scores = np.ascontiguousarray(prediction[4:], dtype=np.float32)
    pick = pick_all if multi_label and len(scores) > 1 else pick_best
    anchors, classes, values, broken = pick(scores, np.float32(conf))
    if broken:
        raise InputError(
            "prediction",
            found=f"{broken} of {scores.size} scores are NaN",
            expected="scores in 0..1",
            action="check the exported model: overflow in half precision is the usual cause",
        )
    if limit is not None and len(values) > limit:
        order = order_by_score(values, limit)
        anchors, classes, values = anchors[order], classes[order], values[order]
    placed = prediction[:4].take(anchors, axis=1).T
    require_finite_boxes(placed)
    boxes = xyxy_from_xywh(placed)
    return Candidates(boxes=boxes, scores=values, classes=classes)


def require_finite_boxes(boxes: Float32Array) -> None:
    """Refuse boxes ``(n, 4)`` of candidates that are NaN or infinite.

    Raises:
        InputError: some are; the message counts them.
    """
    broken = ~np.isfinite(boxes).all(axis=1)
    if broken.any():
        raise InputError(
            "prediction",
            found=f"{int(broken.sum())} of {len(boxes)} candidates have a box that is NaN or infinite",
            expected="boxes in pixels of the network input",
            action="check the exported model: overflow in half precision is the usual cause",
        )


def detections_from_prediction(prediction: Float32Array, protocol: Protocol) -> Detections:
    """Return the detections of one image, in pixels of the network input.

    Args:
        prediction: ``(4 + classes, anchors)`` float32, see ``candidates_from_prediction``.
        protocol: confidence, suppression and limits.
    """
    found = candidates_from_prediction(
        prediction, conf=protocol.conf, multi_label=protocol.multi_label, limit=protocol.max_candidates
    )
    kept = nms(found.boxes, found.scores, found.classes, iou=protocol.iou, max_det=protocol.max_det)
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


@cache
def compile_kernels() -> None:
    """Load the compiled loops, or compile them: on a new machine that takes seconds, which no image should pay."""
    prediction = np.array([[8, 8], [8, 8], [4, 4], [4, 4], [0.9, 0.8], [0.7, 0.6]], dtype=np.float32)
    protocol = Protocol(image_size=32)
    detections_from_prediction(prediction, protocol)
    detections_from_prediction(prediction, protocol.deployed())
