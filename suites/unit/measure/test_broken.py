from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.data import Dataset, Sample
from slimgate.detect import Detections, Protocol
from slimgate.measure.broken import (
    OTHER_CLASSES,
    OTHER_PICTURES,
    break_classes,
    break_pictures,
    broken_records,
)


def make_dataset(count: int = 4, classes: int = 2) -> Dataset:
    """Return pictures with one object each; the second half is twice as wide."""
    samples = [
        Sample(
            image_id=index,
            path=Path(f"{index}.jpg"),
            width=100 if index < count // 2 or count == 1 else 200,
            height=100,
            sha256=f"{index}",
            boxes=np.array([[10, 10 + 20 * index, 30, 25 + 20 * index]], dtype=np.float64),
            classes=np.array([index % classes]),
            crowd=np.array([False]),
            areas=np.array([600.0]),
        )
        for index in range(count)
    ]
    names = tuple("abc"[:classes])
    return Dataset.from_samples(tuple(samples), name="made", class_names=names)


def perfect(dataset: Dataset) -> list[Detections]:
    return [
        Detections(one.boxes.astype(np.float32), np.array([0.9], np.float32), one.classes)
        for one in dataset.samples
    ]


def scores(dataset: Dataset) -> dict[str, Any]:
    found = perfect(dataset)
    protocol = Protocol(image_size=320, deployed_conf=0.5)
    return broken_records(dataset, found, found, protocol)


def test_every_class_becomes_the_next_and_the_last_the_first() -> None:
    found = break_classes(perfect(make_dataset(3, 3)), 3)
    assert [int(one.classes[0]) for one in found] == [1, 2, 0]


def test_a_picture_gets_what_was_found_in_another_scaled_to_its_size() -> None:
    dataset = make_dataset()
    found = break_pictures(dataset, perfect(dataset))
    np.testing.assert_allclose(found[0].boxes, [[5, 50, 15, 65]])
    np.testing.assert_allclose(found[2].boxes, [[20, 10, 60, 25]])
    assert [int(one.classes[0]) for one in found] == [0, 1, 0, 1]


def test_a_perfect_detector_scores_nothing_when_it_is_broken() -> None:
    broken = scores(make_dataset())
    assert set(broken) == {OTHER_CLASSES, OTHER_PICTURES}
    for record in broken.values():
        assert record["accuracy"]["coco"]["AP"] == 0
        assert record["confusion"]["all"]["recall"] == 0
        assert record["confusion"]["all"]["misses"] == 4
        assert record["confusion"]["all"]["fp"] == 4


@pytest.mark.parametrize(
    ("dataset", "ways"),
    [
        (make_dataset(4, 1), {OTHER_PICTURES}),
        (make_dataset(1, 2), {OTHER_CLASSES}),
        (make_dataset(1, 1), set()),
    ],
)
def test_a_way_that_the_data_cannot_show_is_left_out(dataset: Dataset, ways: set[str]) -> None:
    assert set(scores(dataset)) == ways
