from __future__ import annotations

import numpy as np
import torch
import torchvision
from slimgate.detect import box_areas, box_iou, intersections, xyxy_from_xywh


def random_boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.random((count, 2)) * 80
    return np.concatenate([low, low + rng.random((count, 2)) * 40], axis=1)


def test_corners_of_a_centre_box_by_hand() -> None:
    np.testing.assert_array_equal(
        xyxy_from_xywh(np.array([[10.0, 20.0, 4.0, 6.0]])), [[8.0, 17.0, 12.0, 23.0]]
    )


def test_areas_and_overlap_by_hand() -> None:
    ours, theirs = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10], [10, 10, 20, 20], [2, 2, 4, 4]])
    np.testing.assert_array_equal(box_areas(theirs), [100, 100, 4])
    np.testing.assert_array_equal(intersections(ours, theirs), [[50, 0, 4]])
    np.testing.assert_allclose(box_iou(ours, theirs), [[50 / 150, 0, 4 / 100]])


def test_iou_equals_torchvision() -> None:
    ours, theirs = random_boxes(40, 1), random_boxes(30, 2)
    oracle = torchvision.ops.box_iou(torch.from_numpy(ours), torch.from_numpy(theirs)).numpy()
    np.testing.assert_allclose(box_iou(ours, theirs), oracle, rtol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    point = np.array([[3.0, 3, 3, 3]])
    assert box_iou(point, point).tolist() == [[0.0]]
    assert box_iou(point, np.zeros((0, 4))).shape == (1, 0)
