from __future__ import annotations

import json

import pytest
from slimgate.detect import Protocol
from slimgate.errors import InputError
from slimgate.measure import CONFIDENCES, confidence_curves, confusion_at, curves_protocol

from fixtures.datasets import noisy_detections, peculiar_dataset


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_those_of_the_confusion_at_every_confidence(seed: int) -> None:
    dataset = peculiar_dataset(seed)
    detections = noisy_detections(dataset, seed)
    curves = confidence_curves(dataset, detections, iou=0.5)
    for index in (0, 9, 29, 49, 89, 98):
        counted = confusion_at(dataset, detections, conf=CONFIDENCES[index], iou=0.5)
        for name, expected in counted.per_class.items():
            found = curves.at(index, name)
            assert (found.tp, found.fp, found.fn) == (expected.tp, expected.fp, expected.fn)
        assert curves.at(index).f1 == counted.overall.f1


def test_the_best_f1_is_the_highest_and_its_lowest_confidence() -> None:
    dataset = peculiar_dataset(1)
    detections = noisy_detections(dataset, 1)
    curves = confidence_curves(dataset, detections, iou=0.5)
    values = [confusion_at(dataset, detections, conf=c, iou=0.5).overall.f1 or 0.0 for c in CONFIDENCES]
    assert curves.best_f1() == (max(values), CONFIDENCES[values.index(max(values))])
    assert curves.best_f1() != (values[49], 0.5)
    recorded = curves.to_json()
    assert recorded["best_f1"] == {"value": max(values), "conf": CONFIDENCES[values.index(max(values))]}


def test_a_rate_that_does_not_exist_is_null_and_a_class_that_does_not_occur_is_absent() -> None:
    dataset = peculiar_dataset(2)
    nothing = [found.above(2.0) for found in noisy_detections(dataset, 2)]
    recorded = confidence_curves(dataset, nothing, iou=0.5).to_json()
    assert set(recorded["per_class"]) == {f"class {index}" for index in range(4)}
    assert recorded["all"]["precision"] == [None] * 99
    assert recorded["all"]["recall"] == recorded["all"]["f1"] == [0.0] * 99
    assert recorded["conf"] == list(CONFIDENCES)
    json.dumps(recorded, allow_nan=False)


def test_without_objects_and_detections_there_is_no_best_f1() -> None:
    dataset = peculiar_dataset(2).head(4)
    empty = type(dataset).from_samples(
        dataset.samples[3:], name="empty", class_names=dataset.class_names, category_ids=dataset.category_ids
    )
    nothing = [noisy_detections(dataset, 2)[0].above(2.0)]
    assert "best_f1" not in confidence_curves(empty, nothing, iou=0.5).to_json()


def test_the_protocol_is_the_deployed_one_at_the_lowest_confidence() -> None:
    protocol = Protocol(image_size=64, deployed_conf=0.3, max_det=7)
    lowest = curves_protocol(protocol)
    assert (lowest.conf, lowest.multi_label, lowest.max_det) == (0.01, False, 7)
    assert lowest.deployed() == protocol.deployed()


def test_detections_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(InputError, match="detections for 0 images"):
        confidence_curves(peculiar_dataset(1), [], iou=0.5)
