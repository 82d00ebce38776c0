"""Box arithmetic on arrays: corners, areas, overlaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def xyxy_from_xywh(boxes: Array) -> Array:
    """Return corner boxes ``(n, 4)`` of centre boxes ``(n, 4)`` (centre x, centre y, width, height)."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def box_areas(boxes: Array) -> Array:
    """Return the areas ``(n,)`` of xyxy boxes ``(n, 4)``, in square units of their coordinates."""
    areas: Array = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def intersections(ours: Array, theirs: Array) -> Array:
    """Return the overlap areas ``(n, m)`` of xyxy boxes ``(n, 4)`` and ``(m, 4)``."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    area: Array = sides[..., 0] * sides[..., 1]
    return area


def box_iou(ours: Array, theirs: Array) -> Array:
    """Return intersection over union ``(n, m)`` of xyxy boxes ``(n, 4)`` and ``(m, 4)``.

    Two boxes without area have overlap 0, not NaN.
    """
    shared = intersections(ours, theirs)
    union = box_areas(ours)[:, None] + box_areas(theirs)[None, :] - shared
    overlap: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap
