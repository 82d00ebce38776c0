from __future__ import annotations

import numpy as np
import pytest
from slimgate.detect import Detections
from slimgate.errors import InputError
from slimgate.measure import compare_predictions, score_shift

from fixtures.datasets import noisy_detections, peculiar_dataset


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int32)
    )


A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 60, 60]


def test_shift_by_hand() -> None:
    reference = found([A, B, C], [0.9, 0.8, 0.1], [0, 1, 0])
    shifted = found([B, [0, 0, 10, 9]], [0.6, 0.5], [1, 0])
    shift = score_shift([reference], [shifted], conf=0.25)
    assert shift.mean == pytest.approx(((0.6 - 0.8) + (0.5 - 0.9)) / 2)
    assert (shift.matched, shift.lost) == (2, 0)
    assert shift.quantiles["0.50"] == pytest.approx(-0.3)
    assert list(shift.quantiles) == ["0.05", "0.25", "0.50", "0.75", "0.95"]


def test_other_class_or_place_is_lost() -> None:
    shift = score_shift([found([A, B], [0.9, 0.8], [0, 0])], [found([A, C], [0.9, 0.8], [1, 0])])
    assert (shift.mean, shift.matched, shift.lost) == (None, 0, 2)
    assert shift.to_json() == {"quantiles": {}, "matched": 0, "lost": 2}


def test_uniform_fall_is_seen_that_ranking_hides() -> None:
    dataset = peculiar_dataset(4)
    reference = noisy_detections(dataset, 4)
    fallen = [Detections(d.boxes, d.scores * np.float32(0.5), d.classes) for d in reference]
    same = score_shift(reference, reference)
    assert (same.mean, same.lost) == (0.0, 0)
    shift = score_shift(reference, fallen)
    shown = np.concatenate([d.above(0.25).scores for d in reference])
    assert shift.matched == len(shown)
    assert shift.mean == pytest.approx(float(-shown.mean() / 2))


def test_shift_needs_the_same_images() -> None:
    with pytest.raises(InputError, match="score shift: 1 and 2 images"):
        score_shift([found([], [], [])], [found([], [], [])] * 2)


def test_raw_outputs_are_compared_where_something_is_seen() -> None:
    reference = np.zeros((1, 6, 3), np.float32)
    reference[0, 4:, 0] = [0.9, 0.1]
    other = reference.copy()
    other[0, 4, 0] = 0.8
    other[0, 0, 0] = 2.0  # a coordinate of the seen position
    other[0, 1, 2] = 77.0  # a coordinate where nobody sees anything
    parity = compare_predictions(reference, other)
    assert parity.score_max_abs == pytest.approx(0.1)
    assert parity.score_mean_abs == pytest.approx(0.1 / 6)
    assert (parity.box_max_abs, parity.positions) == (2.0, 1)
    assert compare_predictions(reference * 0, reference * 0).positions == 0


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    output = np.zeros((1, 6, 3), np.float32)
    with pytest.raises(InputError, match=r"shapes \(1, 6, 3\) and \(1, 6, 2\)"):
        compare_predictions(output, output[..., :2])
    broken = output.copy()
    broken[0, 0, 0] = np.inf
    with pytest.raises(InputError, match="prediction: NaN or infinite values"):
        compare_predictions(output, broken)
