from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from slimgate.data import load_dataset
from slimgate.detect import Detections
from slimgate.errors import InputError
from slimgate.measure import COCO_NUMBERS, evaluate_coco

from fixtures.coco_oracle import evaluate_with_pycocotools as oracle
from fixtures.datasets import noisy_detections, peculiar_dataset

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))


@pytest.mark.parametrize("seed", range(8))
def test_twelve_numbers_and_lines_equal_pycocotools_to_the_last_bit(seed: int) -> None:
    dataset = peculiar_dataset(seed)
    assert any(sample.crowd.any() for sample in dataset.samples)
    detections = noisy_detections(dataset, seed)
    numbers, lines, _ = oracle(dataset, detections)
    result = evaluate_coco(dataset, detections)
    assert tuple(result.numbers) == COCO_NUMBERS
    assert list(result.numbers.values()) == numbers
    assert result.lines() == lines


@pytest.mark.usefixtures("coco128_folder")
def test_twelve_numbers_on_coco128_with_its_crowds_equal_pycocotools() -> None:
    dataset = load_dataset("coco128")
    detections = noisy_detections(dataset, 1)
    numbers, lines, _ = oracle(dataset, detections)
    result = evaluate_coco(dataset, detections)
    assert list(result.numbers.values()) == numbers
    assert result.lines() == lines


def test_breakdown_by_class_and_iou_equals_pycocotools() -> None:
    dataset = peculiar_dataset(3)
    detections = noisy_detections(dataset, 3)
    result = evaluate_coco(dataset, detections)
    _, _, evaluation = oracle(dataset, detections)
    precision = evaluation.eval["precision"][..., 0, 2]
    for row, category in enumerate(sorted(dataset.category_ids)):
        name = dataset.class_names[dataset.category_ids.index(category)]
        values = precision[:, :, row]
        if (values > -1).any():
            assert result.per_class[name] == {"ap": values.mean(), "ap50": values[0].mean()}
        else:
            assert result.per_class[name] == {"ap": None, "ap50": None}
    assert list(result.ap_by_iou) == [f"{iou:.2f}" for iou in evaluation.params.iouThrs]
    for values, ours in zip(precision, result.ap_by_iou.values(), strict=True):
        assert ours == values[values > -1].mean()


def test_class_without_objects_is_absent_and_not_minus_one() -> None:
    dataset = peculiar_dataset(2)
    written = evaluate_coco(dataset, noisy_detections(dataset, 2)).to_json()
    assert written["per_class"]["class 4"] == {}
    assert set(written["per_class"]["class 0"]) == {"ap", "ap50"}


def test_size_without_objects_is_absent_and_printed_as_coco_does() -> None:
    dataset = peculiar_dataset(2)
    samples = tuple(replace(sample, areas=np.full(len(sample.areas), 99.0)) for sample in dataset.samples)
    small = replace(dataset, samples=samples)
    result = evaluate_coco(small, noisy_detections(small, 2))
    assert (result.numbers["APm"], result.numbers["ARl"]) == (None, None)
    assert "APm" not in result.to_json()["coco"]
    assert result.lines()[4].endswith("area=medium | maxDets=100 ] = -1.000")
    assert list(result.numbers.values()) == oracle(small, noisy_detections(small, 2))[0]


def test_no_detections_at_all_is_zero_where_there_are_objects() -> None:
    dataset = peculiar_dataset(0)
    nothing = [NOTHING] * len(dataset)
    result = evaluate_coco(dataset, nothing)
    numbers, lines, _ = oracle(dataset, nothing)
    assert list(result.numbers.values()) == numbers == [0.0] * 12
    assert result.lines() == lines
    assert result.per_class["class 0"] == {"ap": 0.0, "ap50": 0.0}


def test_perfect_detections_are_one() -> None:
    dataset = peculiar_dataset(1)
    perfect = [
        Detections(sample.boxes.astype(np.float32), np.ones(len(sample.boxes), np.float32), sample.classes)
        for sample in dataset.samples
    ]
    result = evaluate_coco(dataset, perfect)
    assert result.numbers["AP"] == pytest.approx(1.0)
    assert set(result.to_json()["ap_by_iou"].values()) == {1.0}


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    dataset = peculiar_dataset(1)
    evaluate_coco(dataset, noisy_detections(dataset, 1))
    assert capfd.readouterr() == ("", "")


def test_detections_of_other_images_are_refused() -> None:
    dataset = peculiar_dataset(1)
    with pytest.raises(
        InputError, match=r"detections for 1 images\n  expected: one entry for each of its 12 images"
    ):
        evaluate_coco(dataset, [NOTHING])


@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_numbers_that_are_not_finite_are_refused(field: str) -> None:
    dataset = peculiar_dataset(1)
    detections = noisy_detections(dataset, 1)
    getattr(detections[2], field).flat[0] = np.nan
    with pytest.raises(InputError, match=r"NaN or infinite boxes or scores on 1 images, first 2\.jpg"):
        evaluate_coco(dataset, detections)
