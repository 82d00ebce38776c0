"""Rows of a file that suppresses inside, and which protocols they can answer."""

import dataclasses

import numpy as np
import pytest
from slimgate.detect import GraphNms, Protocol, detections_from_rows
from slimgate.errors import InputError, UsageError

SETTINGS = GraphNms(conf=0.1, iou=0.6, max_det=4)
PROTOCOL = Protocol(image_size=64, conf=0.1, iou=0.6, max_det=4, multi_label=False)
ROWS = np.array(
    [[0, 0, 10, 10, 0.9, 2], [5, 5, 9, 9, 0.5, 0], [1, 1, 2, 2, 0.2, 1], [0, 0, 0, 0, 0, 0]], np.float32
)


def test_zeros_are_no_detections():
    found = detections_from_rows(ROWS, PROTOCOL, SETTINGS)
    np.testing.assert_array_equal(found.boxes, ROWS[:3, :4])
    assert found.classes.tolist() == [2, 0, 1]
    assert found.classes.dtype == np.int32


def test_a_higher_confidence_and_fewer_detections():
    higher = dataclasses.replace(PROTOCOL, conf=0.5)
    assert detections_from_rows(ROWS, higher, SETTINGS).classes.tolist() == [2]
    fewer = dataclasses.replace(PROTOCOL, max_det=2)
    assert detections_from_rows(ROWS, fewer, SETTINGS).classes.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"iou": 0.5}, "iou 0.6\n  expected: iou 0.5, as is asked for"),
        ({"conf": 0.05}, "conf 0.1\n  expected: conf at most 0.05"),
        ({"max_det": 5}, "max_det 4\n  expected: max_det at least 5"),
        ({"multi_label": True}, "classes per position 1\n  expected: classes per position all"),
    ],
)
def test_what_the_rows_cannot_answer(change, text):
    with pytest.raises(InputError, match=f"NMS inside the file: {text}"):
        detections_from_rows(ROWS, dataclasses.replace(PROTOCOL, **change), SETTINGS)


def test_nan_scores_are_told():
    rows = ROWS.copy()
    rows[1, 4] = np.nan
    with pytest.raises(InputError, match="1 of 4 scores are NaN"):
        detections_from_rows(rows, PROTOCOL, SETTINGS)


def test_nan_boxes_are_told():
    rows = ROWS.copy()
    rows[0, 2] = np.nan
    with pytest.raises(InputError, match="candidates have a box that is NaN or infinite"):
        detections_from_rows(rows, PROTOCOL, SETTINGS)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"conf": 1.5}, "NMS conf: 1.5\n  expected: a fraction"),
        ({"iou": -0.1}, "NMS iou: -0.1\n  expected: a fraction"),
        ({"max_det": 0}, "NMS max_det: 0\n  expected: at least 1"),
    ],
)
def test_settings_out_of_range(settings, text):
    with pytest.raises(UsageError, match=text):
        GraphNms(**settings)


def test_the_ends_of_the_range_are_settings():
    for end in (0, 1):
        assert (GraphNms(conf=end, iou=end).conf, GraphNms(max_det=1).max_det) == (end, 1)


def test_settings_as_json():
    assert GraphNms.from_json(SETTINGS.to_json()) == SETTINGS
    assert SETTINGS.judging(Protocol(image_size=64)).multi_label is False
