from __future__ import annotations

import numpy as np
import pytest
import torch
from slimgate.detect import Detections, Protocol, candidates_from_prediction, detections_from_prediction
from slimgate.errors import InputError
from ultralytics.utils.nms import non_max_suppression


def prediction(classes: int, anchors: int, seed: int) -> np.ndarray:
    """Return clustered boxes with distinct scores, as a detector emits them: ``(4 + classes, anchors)``."""
    rng = np.random.default_rng(seed)
    objects = rng.integers(0, 25, anchors)
    centres, sizes = rng.random((25, 2)) * 300, 20 + rng.random((25, 2)) * 80
    output = np.empty((4 + classes, anchors), dtype=np.float32)
    output[:2] = (centres[objects] + rng.normal(0, 5, (anchors, 2))).T
    output[2:4] = (sizes[objects] * np.exp(rng.normal(0, 0.1, (anchors, 2)))).T
    # A permutation: upstream's sort is not stable, so only distinct scores can be compared.
    output[4:] = (rng.permutation(classes * anchors).reshape(classes, anchors) / (classes * anchors)) ** 4
    return output


@pytest.mark.parametrize(
    ("conf", "iou", "multi_label", "classes"),
    [
        (0.001, 0.6, True, 80),
        (0.25, 0.45, False, 80),
        (0.25, 0.45, True, 3),
        (0.4, 0.7, True, 1),
        (0.9999, 0.5, False, 5),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_detections_equal_ultralytics(
    conf: float, iou: float, multi_label: bool, classes: int, seed: int
) -> None:
    output = prediction(classes, 700, seed)
    tensor = torch.from_numpy(output)[None]
    oracle = non_max_suppression(tensor, conf, iou, multi_label=multi_label, nc=classes, max_time_img=60)[0]
    protocol = Protocol(image_size=320, conf=conf, iou=iou, multi_label=multi_label)
    found = detections_from_prediction(output, protocol)
    np.testing.assert_array_equal(found.boxes, oracle[:, :4].numpy())
    np.testing.assert_array_equal(found.scores, oracle[:, 4].numpy())
    np.testing.assert_array_equal(found.classes, oracle[:, 5].numpy())


def test_cap_on_candidates_equals_ultralytics() -> None:
    output = prediction(80, 700, 9)
    oracle = non_max_suppression(
        torch.from_numpy(output)[None], 0.001, 0.6, multi_label=True, max_nms=100, max_time_img=60
    )[0]
    found = detections_from_prediction(output, Protocol(image_size=320, max_candidates=100))
    np.testing.assert_array_equal(found.boxes, oracle[:, :4].numpy())
    unlimited = detections_from_prediction(output, Protocol(image_size=320, max_candidates=10**9))
    assert len(unlimited) > len(found)


def test_candidates_by_hand_in_order_of_anchor_then_class() -> None:
    output = np.array(
        [[10, 30], [10, 40], [4, 8], [6, 2], [0.5, 0.2], [0.1, 0.9], [0.6, 0.4]], dtype=np.float32
    )
    every = candidates_from_prediction(output, conf=0.3, multi_label=True)
    assert every.classes.tolist() == [0, 2, 1, 2]
    np.testing.assert_allclose(every.scores, [0.5, 0.6, 0.9, 0.4])
    assert every.boxes.tolist() == [[8, 7, 12, 13], [8, 7, 12, 13], [26, 39, 34, 41], [26, 39, 34, 41]]
    best = candidates_from_prediction(output, conf=0.3, multi_label=False)
    assert best.classes.tolist() == [2, 1]
    assert candidates_from_prediction(output, conf=0.3, multi_label=True, limit=2).classes.tolist() == [1, 2]
    assert len(candidates_from_prediction(output, conf=0.9, multi_label=True)) == 0


def test_equal_classes_give_the_first_as_upstream() -> None:
    output = np.array([[10], [10], [4], [6], [0.5], [0.5]], dtype=np.float32)
    assert candidates_from_prediction(output, conf=0.1, multi_label=False).classes.tolist() == [0]


def test_deployed_is_best_class_at_the_fixed_confidence() -> None:
    output = np.array([[10], [10], [4], [6], [0.8], [0.7]], dtype=np.float32)
    protocol = Protocol(image_size=320, deployed_conf=0.6)
    assert detections_from_prediction(output, protocol).classes.tolist() == [0, 1]
    assert detections_from_prediction(output, protocol.deployed()).classes.tolist() == [0]


@pytest.mark.parametrize("multi_label", [True, False])
def test_nan_scores_are_refused(multi_label: bool) -> None:
    output = prediction(3, 50, 0)
    output[5, 7] = np.nan
    with pytest.raises(InputError, match=r"prediction: 1 of 150 scores are NaN\n  expected: scores in 0..1"):
        candidates_from_prediction(output, conf=0.25, multi_label=multi_label)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_candidate_without_a_finite_box_is_refused(multi_label: bool, value: float) -> None:
    """Such a box overlaps nothing: suppression keeps it, and it was counted as a detection."""
    output = np.array([[10, 10], [10, 10], [4, 4], [6, 6], [0.9, 0.1], [0.1, 0.1]], dtype=np.float32)
    output[2, 0] = value
    with pytest.raises(InputError, match="prediction: 1 of 1 candidates have a box that is NaN or infinite"):
        candidates_from_prediction(output, conf=0.25, multi_label=multi_label)
    output[2] = 4, value  # nobody sees the box of what is below the confidence
    assert len(candidates_from_prediction(output, conf=0.25, multi_label=multi_label)) == 1


def test_above_keeps_scores_that_exceed() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32), np.array([0.9, 0.5, 0.4], np.float32), np.array([2, 1, 0])
    )
    assert found.above(0.5).classes.tolist() == [2]
    assert len(found.above(0.0)) == 3
