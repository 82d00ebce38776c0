"""The two compiled loops of detection: picking candidates, and suppressing them.

Imported on first use: numba takes a third of a second to import. Compiled code is cached on disk beside
this file or in the user's cache folder, so only the first run on a machine waits for the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is compiled when it is first called, and kept on disk where there is room."""
    # error_model: two boxes without area give 0/0 = NaN, which suppresses nothing, as in torchvision.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        kernel: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # Nowhere to write a cache (read-only installation, no home): compile in every process instead.
        kernel = numba.njit(**options)(function)
    return kernel


@compiled
def pick_all(scores: Any, conf: Any) -> Any:
    """Return anchors, classes and values of every score above ``conf``, and how many scores are NaN.

    The order is by anchor, then class.

    Args:
        scores: ``(classes, anchors)`` float32, contiguous.
        conf: float32.
    """
    class_count, anchor_count = scores.shape
    starts = np.zeros(anchor_count, np.int32)
    broken = 0
    # Class by class, as the scores lie in memory: the inner loop then vectorises.
    for label in range(class_count):
        row = scores[label]
        for anchor in range(anchor_count):
            starts[anchor] += row[anchor] > conf
            broken += row[anchor] != row[anchor]
    total = 0
    for anchor in range(anchor_count):
        here = starts[anchor]
        starts[anchor] = total
        total += here
    anchors = np.empty(total, np.int32)
    classes = np.empty(total, np.int32)
    values = np.empty(total, np.float32)
    for label in range(class_count):
        row = scores[label]
        for anchor in range(anchor_count):
            if row[anchor] > conf:
                slot = starts[anchor]
                starts[anchor] = slot + 1
                anchors[slot] = anchor
                classes[slot] = label
                values[slot] = row[anchor]
    return anchors, classes, values, broken


@compiled
def pick_best(scores: Any, conf: Any) -> Any:
    """Return anchors, classes and values of each anchor's best class, if above ``conf``, and the NaN count.

    Args:
        scores: ``(classes, anchors)`` float32, contiguous.
        conf: float32.
    """
    class_count, anchor_count = scores.shape
    best = np.zeros(anchor_count, np.int32)
    top = scores[0].copy()
    broken = 0
    for label in range(class_count):
        row = scores[label]
        for anchor in range(anchor_count):
            value = row[anchor]
            broken += value != value
            better = value > top[anchor]
            top[anchor] = value if better else top[anchor]
            best[anchor] = label if better else best[anchor]
    total = 0
    for anchor in range(anchor_count):
        total += top[anchor] > conf
    anchors = np.empty(total, np.int32)
    slot = 0
    for anchor in range(anchor_count):
        if top[anchor] > conf:
            anchors[slot] = anchor
            slot += 1
    return anchors, best[anchors], top[anchors], broken


@compiled
def suppress(boxes: Any, classes: Any, order: Any, iou: float, max_det: int) -> Any:
    """Return the kept indices among candidates visited in ``order``, at most ``max_det``.

    A candidate meets only the kept boxes of its own class, newest first, through linked lists; the first
    overlap ends its walk, and the ``max_det``-th kept box ends everything.

    Args:
        boxes: ``(n, 4)`` float32 xyxy, contiguous.
        classes: ``(n,)`` int32, not negative.
        order: ``(m,)`` indices into both, best first.
        iou: overlap above which the lesser box is dropped.
        max_det: at most this many are kept.
    """
    most_labels = 0
    for label in classes:
        most_labels = max(most_labels, label + 1)
    newest = np.full(most_labels, -1, np.int32)
    before = np.empty(max_det, np.int32)
    corners = np.empty((max_det, 4), np.float32)
    areas = np.empty(max_det, np.float32)
    kept = np.empty(max_det, np.int64)
    count = 0
    zero = np.float32(0)
    for index in order:
        if count == max_det:
            break
        left, top, right, bottom = boxes[index, 0], boxes[index, 1], boxes[index, 2], boxes[index, 3]
        area = (right - left) * (bottom - top)
        label = classes[index]
        rival = newest[label]
        while rival >= 0:
            width = max(zero, min(right, corners[rival, 2]) - max(left, corners[rival, 0]))
            height = max(zero, min(bottom, corners[rival, 3]) - max(top, corners[rival, 1]))
            shared = width * height
            if shared / (areas[rival] + area - shared) > iou:
                break
            rival = before[rival]
        if rival < 0:
            corners[count, 0], corners[count, 1] = left, top
            corners[count, 2], corners[count, 3] = right, bottom
            areas[count] = area
            before[count] = newest[label]
            newest[label] = count
            kept[count] = index
            count += 1
    return kept[:count]
