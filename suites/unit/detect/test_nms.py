from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from slimgate.detect import nms
from slimgate.detect.nms import order_by_score
from slimgate.errors import UsageError
from slimgate.measure import CANDIDATE_SETS, stored_candidates


def suppress(boxes: list[list[float]], scores: list[float], classes: list[int], **how: float) -> list[int]:
    settings = {"iou": 0.5, "max_det": 300, **how}
    return nms(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array(classes),
        iou=settings["iou"],
        max_det=int(settings["max_det"]),
    ).tolist()


A, A_HALF, FAR = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]


def test_lesser_box_of_the_same_class_goes() -> None:
    assert suppress([A, A, FAR], [0.5, 0.9, 0.1], [0, 0, 0]) == [1, 2]


def test_other_class_stays() -> None:
    assert suppress([A, A, A], [0.5, 0.9, 0.1], [0, 1, 0]) == [1, 0]


def test_overlap_must_exceed_the_threshold() -> None:
    assert suppress([A, A_HALF], [0.9, 0.8], [0, 0], iou=0.5) == [0, 1]
    assert suppress([A, A_HALF], [0.9, 0.8], [0, 0], iou=0.4999) == [0]


def test_suppressed_box_suppresses_nothing() -> None:
    chain = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]
    assert suppress(chain, [0.9, 0.8, 0.7], [0, 0, 0], iou=0.3) == [0, 2]


def test_equal_scores_go_by_position() -> None:
    assert suppress([FAR, A, A, FAR], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1]) == [0, 1, 3]


def test_limit_keeps_the_best() -> None:
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(6)]
    assert suppress(boxes, [0.1, 0.6, 0.5, 0.9, 0.2, 0.3], [0] * 6, max_det=3) == [3, 1, 2]
    assert suppress(boxes, [0.1] * 6, [0] * 6, max_det=0) == []


def test_nothing_in_nothing_out() -> None:
    assert suppress([], [], []) == []


def test_boxes_without_area_do_not_suppress_each_other() -> None:
    assert suppress([[1, 1, 1, 1], [1, 1, 1, 1]], [0.9, 0.8], [0, 0]) == [0, 1]


@pytest.mark.parametrize("max_det", [10, 300, 100_000])
@pytest.mark.parametrize("name", CANDIDATE_SETS)
def test_real_candidates_equal_torchvision_class_by_class(name: str, max_det: int) -> None:
    found = stored_candidates(name)
    boxes, scores = torch.from_numpy(found.boxes), torch.from_numpy(found.scores)
    keep = []
    for label in np.unique(found.classes):
        members = torch.from_numpy(np.flatnonzero(found.classes == label))
        keep.append(members[torchvision.ops.nms(boxes[members], scores[members], 0.6)])
    # By index first: the stable sort then breaks score ties by position.
    oracle = torch.cat(keep).sort().values
    oracle = oracle[scores[oracle].argsort(descending=True, stable=True)][:max_det]
    ours = nms(found.boxes, found.scores, found.classes, iou=0.6, max_det=max_det)
    np.testing.assert_array_equal(ours, oracle.numpy())


def test_memory_layout_and_integer_type_do_not_matter() -> None:
    found = stored_candidates("typical")
    expected = nms(found.boxes, found.scores, found.classes, iou=0.6, max_det=300)
    for classes in (found.classes.astype(np.int64), found.classes.astype(np.float32)):
        boxes = np.asfortranarray(found.boxes)
        assert nms(boxes, found.scores, classes, iou=0.6, max_det=300).tolist() == expected.tolist()


@pytest.mark.parametrize("limit", [None, 1, 7, 500, 5000])
def test_order_equals_a_stable_sort(limit: int | None) -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(0, 0.5, 3000), 2).astype(np.float32)
    scores[:5] = [0.0, -0.0, np.inf, -np.inf, 1e-40]
    oracle = np.argsort(-scores, kind="stable")[:limit]
    np.testing.assert_array_equal(order_by_score(scores, limit), oracle)


def test_what_cannot_be_suppressed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nms: boxes \(1, 4\), scores \(2,\), classes \(2,\)"):
        suppress([A], [0.5, 0.4], [0, 0])
    with pytest.raises(UsageError, match=r"nms: boxes \(2, 4\), scores \(2,\), classes \(1,\)"):
        suppress([A, A], [0.5, 0.4], [0])
    with pytest.raises(
        UsageError, match=r"nms: 1 of 2 scores are NaN\n  expected: scores that can be ordered"
    ):
        suppress([A, A], [0.5, float("nan")], [0, 0])
    with pytest.raises(UsageError, match="nms: class -1"):
        suppress([A], [0.5], [-1])
