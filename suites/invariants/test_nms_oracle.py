"""Suppression against a naive O(n²) loop, on scenes that hypothesis makes as nasty as it can."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from slimgate.detect import nms

COORDINATES = st.integers(0, 12)
ROWS = st.lists(
    st.tuples(
        COORDINATES,
        COORDINATES,
        st.integers(0, 8),
        st.integers(0, 8),
        st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0]),
        st.integers(0, 3),
    ),
    max_size=40,
)


def naive_nms(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float, max_det: int
) -> list[int]:
    """Return the kept indices by comparing every candidate with every kept one, in plain Python floats."""
    order = sorted(range(len(scores)), key=lambda index: (-float(scores[index]), index))
    kept: list[int] = []
    for index in order:
        x1, y1, x2, y2 = (float(value) for value in boxes[index])
        free = True
        for other in kept:
            a1, b1, a2, b2 = (float(value) for value in boxes[other])
            shared = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
            if (
                classes[index] == classes[other]
                and union > 0
                # As torchvision: the share is a float32, the limit is not, so 15 / 25 is over 0.6.
                and float(np.float32(shared) / np.float32(union)) > iou
            ):
                free = False
        if free:
            kept.append(index)
    return kept[:max_det]


def arrays(rows: list[tuple[int, int, int, int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Whole coordinates are exact in float32, so the oracle's overlap is the kernel's to the last bit.
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1).astype(np.float32)
    return boxes, table[:, 4].astype(np.float32), table[:, 5].astype(np.int32)


@given(ROWS, st.sampled_from([0.0, 0.25, 0.45, 0.5, 0.6, 1.0]), st.integers(1, 45))
@example(rows=[(0, 5, 3, 5, 0.5, 0), (0, 5, 5, 5, 0.5, 0)], iou=0.6, max_det=2)
def test_equals_the_naive_loop(rows: list[tuple[int, ...]], iou: float, max_det: int) -> None:
    boxes, scores, classes = arrays(rows)
    ours = nms(boxes, scores, classes, iou=iou, max_det=max_det).tolist()
    assert ours == naive_nms(boxes, scores, classes, iou, max_det)


@given(ROWS, st.integers(1, 45))
def test_smaller_limit_is_a_prefix(rows: list[tuple[int, ...]], max_det: int) -> None:
    boxes, scores, classes = arrays(rows)
    everything = nms(boxes, scores, classes, iou=0.5, max_det=10_000).tolist()
    assert nms(boxes, scores, classes, iou=0.5, max_det=max_det).tolist() == everything[:max_det]


@given(ROWS, st.permutations(range(4)))
def test_renaming_classes_changes_nothing(rows: list[tuple[int, ...]], names: list[int]) -> None:
    boxes, scores, classes = arrays(rows)
    renamed = np.array(names, dtype=np.int32)[classes]
    before = nms(boxes, scores, classes, iou=0.5, max_det=300).tolist()
    assert nms(boxes, scores, renamed, iou=0.5, max_det=300).tolist() == before


@given(ROWS)
def test_suppressing_again_drops_nothing(rows: list[tuple[int, ...]]) -> None:
    boxes, scores, classes = arrays(rows)
    kept = nms(boxes, scores, classes, iou=0.5, max_det=300)
    again = nms(boxes[kept], scores[kept], classes[kept], iou=0.5, max_det=300)
    assert again.tolist() == list(range(len(kept)))
