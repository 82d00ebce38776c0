"""Geometry that must hold for every picture size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from slimgate.data.letterbox import plan_letterbox
from slimgate.detect import box_iou

SIDES = st.integers(1, 5000)
STRIDED = st.integers(1, 40).map(lambda count: 32 * count)


@given(SIDES, SIDES, STRIDED)
def test_image_lies_centred_on_the_canvas_and_touches_two_edges(width: int, height: int, size: int) -> None:
    placement, (w, h), _ = plan_letterbox(width, height, size)
    right, below = size - w - placement.left, size - h - placement.top
    assert min(placement.left, placement.top, right, below) >= 0
    assert 0 <= right - placement.left <= 1
    assert 0 <= below - placement.top <= 1
    assert size in (w, h)


@given(SIDES, SIDES, STRIDED)
def test_corners_of_the_picture_come_back_exactly(width: int, height: int, size: int) -> None:
    placement, _, _ = plan_letterbox(width, height, size)
    whole = np.array([[0, 0, width, height]], dtype=np.float64)
    returned = placement.to_original(placement.to_canvas(whole).astype(np.float32))
    np.testing.assert_allclose(returned, whole, rtol=2e-6, atol=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_overlap_is_symmetric_bounded_and_one_only_for_equal_boxes(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = (
        np.concatenate([low, low + rng.integers(1, 9, low.shape)], axis=1)
        for low in (rng.integers(0, 9, (n, 2)), rng.integers(0, 9, (m, 2)))
    )
    overlaps = box_iou(ours.astype(np.float64), theirs.astype(np.float64))
    np.testing.assert_array_equal(overlaps, box_iou(theirs.astype(np.float64), ours.astype(np.float64)).T)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    np.testing.assert_array_equal(overlaps == 1, (ours[:, None] == theirs[None]).all(axis=2))
