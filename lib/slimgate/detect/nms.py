"""Exact class-aware non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import UsageError


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
    time limit: the result depends on the input alone. Arithmetic is float32, in torchvision's order of
    operations.

    Args:
        boxes: ``(n, 4)`` float32 xyxy.
        scores: ``(n,)`` float32.
        classes: ``(n,)`` class indices.
        iou: overlap above which the lesser box is dropped.
        max_det: stop when this many are kept.

    Raises:
        UsageError: the three arrays do not describe the same candidates, or hold NaN scores or negative
            classes.
    """
    from slimgate.detect.kernels import suppress

    _require_candidates(boxes, scores, classes)
    if not len(scores) or max_det < 1:
        return np.zeros(0, dtype=np.int64)
    kept: npt.NDArray[np.int64] = suppress(
        np.ascontiguousarray(boxes, dtype=np.float32),
        np.ascontiguousarray(classes, dtype=np.int32),
        order_by_score(scores),
        float(iou),
        min(max_det, len(scores)),
    )
    return kept


def order_by_score(scores: npt.NDArray[np.float32], limit: int | None = None) -> npt.NDArray[np.int64]:
    """Return the indices ``(n,)`` that sort scores descending, equal scores in their given order.

    One unsigned key holds both: inverted score bits above, position below. Keys are unique, so numpy's
    vectorised unstable sort gives the stable order, several times faster than a stable ``argsort``.

    Args:
        scores: ``(n,)`` float32 without NaN.
        limit: only the first ``limit`` indices; all when None.
    """
    bits = np.ascontiguousarray(scores, dtype=np.float32).view(np.int32).astype(np.int64)
    # Negative floats order backwards as integers: mirror them (-0.0 becomes 0.0's own key).
    bits = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    keys = ((np.int64(0x7FFFFFFF) - bits) << 31) | np.arange(len(bits), dtype=np.int64)
    if limit is not None and limit < len(keys):
        keys = np.partition(keys, limit)[:limit]
    keys.sort()
    keys &= 0x7FFFFFFF
    return keys


def _require_candidates(boxes: Any, scores: Any, classes: Any) -> None:
    shapes = f"boxes {boxes.shape}, scores {scores.shape}, classes {classes.shape}"
    if boxes.shape != (len(scores), 4) or scores.ndim != 1 or classes.shape != scores.shape:
        raise UsageError(
            "nms", found=shapes, expected="(n, 4), (n,) and (n,)", action="pass one row per candidate"
        )
    if np.isnan(scores).any():
        raise UsageError(
            "nms",
            found=f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN",
            expected="scores that can be ordered",
            action="check the exported model: overflow in half precision is the usual cause",
        )
    if len(classes) and classes.min() < 0:
        raise UsageError(
            "nms",
            found=f"class {int(classes.min())}",
            expected="class indices from 0",
            action="pass class indices, not category ids",
        )
