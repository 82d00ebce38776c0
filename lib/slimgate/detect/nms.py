"""Exact class-aware non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    classes: npt.NDArray[Any],
    *,
    iou: float,
    max_det: int,
) -> npt.NDArray[np.int64]:
    """Return the indices ``(k,)`` of the boxes that survive, best first, ``k ≤ max_det``.

    Going through the candidates by descending score, equal scores in their given order, a box is dropped
    when its intersection over union with an already kept box of its class **exceeds** ``iou``. There is no
    time limit: the result depends on the input alone.

    Args:
        boxes: ``(n, 4)`` float32 xyxy.
        scores: ``(n,)`` float32.
        classes: ``(n,)`` class indices.
        iou: overlap above which the lesser box is dropped.
        max_det: stop when this many are kept.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    corners = boxes[order]
    labels = classes[order]
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    alive = np.ones(len(order), dtype=np.bool_)
    members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    position = 0
    while len(kept) < max_det:
        ahead = np.flatnonzero(alive[position:])
        if not len(ahead):
            break
        best = position + int(ahead[0])
        kept.append(int(order[best]))
        position = best + 1
        rest = members[int(labels[best])]
        low = np.maximum(corners[best, :2], corners[rest, :2])
        high = np.minimum(corners[best, 2:], corners[rest, 2:])
        sides = np.clip(high - low, 0, None)
        shared = sides[:, 0] * sides[:, 1]
        alive[rest[shared > np.float32(iou) * (areas[best] + areas[rest] - shared)]] = False
    return np.array(kept, dtype=np.int64)
