from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.data import Dataset, Sample
from slimgate.detect import Detections, box_areas
from slimgate.measure import confusion_at
from slimgate.report.marks import Kind, mark_detections, mark_truth

CLASSES = ("datamatrix", "qrcode", "barcode")


def entry(*objects: tuple[int, list[float]], crowd: int = -1) -> dict[str, Any]:
    return {
        "ground_truth": [
            {"class": label, "box": box, "crowd": index == crowd}
            for index, (label, box) in enumerate(objects)
        ]
    }


def seen(label: int, score: float, box: list[float]) -> dict[str, Any]:
    return {"class": label, "score": score, "box": box}


def kinds(picture: dict[str, Any], detections: list[dict[str, Any]], conf: float = 0.5) -> list[str]:
    marks = mark_detections(picture, detections, conf=conf, iou=0.5).marks
    return sorted(str(mark.kind) for mark in marks)


def test_a_box_of_the_same_class_that_overlaps_enough_is_found() -> None:
    assert kinds(entry((0, [0, 0, 10, 10])), [seen(0, 0.9, [0, 0, 10, 9])]) == ["found"]


def test_a_box_of_another_class_is_false_and_the_object_missed() -> None:
    assert kinds(entry((0, [0, 0, 10, 10])), [seen(1, 0.9, [0, 0, 10, 10])]) == ["false", "missed"]


def test_a_second_box_on_one_object_is_false() -> None:
    twice = [seen(0, 0.9, [0, 0, 10, 10]), seen(0, 0.8, [0, 0, 10, 10])]
    assert kinds(entry((0, [0, 0, 10, 10])), twice) == ["false", "found"]


def test_a_box_over_part_of_an_object_makes_it_partial() -> None:
    assert kinds(entry((2, [0, 0, 100, 20])), [seen(2, 0.9, [0, 0, 40, 20])]) == ["false", "partial"]


def test_a_box_that_is_too_large_is_no_partial() -> None:
    assert kinds(entry((2, [0, 0, 30, 20])), [seen(2, 0.9, [0, 0, 100, 20])]) == ["false", "missed"]


def test_scores_at_or_below_the_confidence_do_not_count() -> None:
    assert kinds(entry((0, [0, 0, 10, 10])), [seen(0, 0.5, [0, 0, 10, 10])]) == ["missed"]


def test_a_crowd_is_never_missed_and_boxes_in_it_are_ignored() -> None:
    picture = entry((0, [0, 0, 100, 100]), crowd=0)
    assert kinds(picture, [seen(0, 0.9, [10, 10, 30, 30])]) == ["crowd", "ignored"]
    assert [mark.kind for mark in mark_truth(picture).marks] == [Kind.CROWD]


def test_the_summary_leaves_out_what_does_not_occur() -> None:
    marks = mark_detections(
        entry((0, [0, 0, 10, 10]), (0, [50, 50, 60, 60])), [seen(0, 0.9, [0, 0, 10, 10])], conf=0.5, iou=0.5
    )
    assert marks.summary() == "1 found, 1 missed"
    assert not marks.is_right


@pytest.mark.parametrize("seed", range(40))
def test_marks_add_up_to_the_counts_of_the_evaluation(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    corners = numbers.uniform(0, 60, (9, 2))
    truth = np.concatenate([corners, corners + numbers.uniform(8, 40, (9, 2))], axis=1).round(2)
    labels = numbers.integers(0, 3, 9)
    crowd = numbers.random(9) < 0.2
    shifts = numbers.normal(0, 4, (14, 4))
    sources = numbers.integers(0, 9, 14)
    boxes = (truth[sources] + shifts).round(2)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = np.sort(numbers.uniform(0.3, 1, 14).round(4))[::-1]
    guessed = np.where(numbers.random(14) < 0.8, labels[sources], 2)
    sample = Sample(
        image_id=1,
        path=Path("1.jpg"),
        width=120,
        height=120,
        sha256="0" * 64,
        boxes=truth,
        classes=labels,
        crowd=crowd,
        areas=box_areas(truth),
    )
    dataset = Dataset(
        name="random", class_names=CLASSES, category_ids=(1, 2, 3), samples=(sample,), sha256="0" * 64
    )
    detections = Detections(boxes=boxes, scores=scores, classes=guessed)
    counts = confusion_at(dataset, [detections], conf=0.5, iou=0.5).overall
    marks = mark_detections(
        {
            "ground_truth": [
                {"class": int(label), "box": box.tolist(), "crowd": bool(is_crowd)}
                for label, box, is_crowd in zip(labels, truth, crowd, strict=True)
            ]
        },
        [
            seen(int(label), float(score), box.tolist())
            for label, score, box in zip(guessed, scores, boxes, strict=True)
        ],
        conf=0.5,
        iou=0.5,
    )
    assert marks.count(Kind.FOUND) == counts.tp
    assert marks.count(Kind.FALSE) == counts.fp
    assert marks.count(Kind.MISSED) + marks.count(Kind.PARTIAL) == counts.fn
    assert marks.count(Kind.PARTIAL) == counts.partial
    assert marks.count(Kind.CROWD) == int(crowd.sum())
