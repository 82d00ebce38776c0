from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from slimgate.data import Dataset, Sample
from slimgate.detect import Detections
from slimgate.errors import InputError
from slimgate.measure import ClassCounts, confusion_at

from fixtures.datasets import noisy_detections, peculiar_dataset

Box = tuple[float, float, float, float]


def scene(
    objects: list[tuple[Box, int, bool]], found: list[tuple[Box, int, float]]
) -> tuple[Dataset, list[Detections]]:
    sample = Sample(
        image_id=1,
        path=Path("a.jpg"),
        width=400,
        height=400,
        sha256="0" * 64,
        boxes=np.array([box for box, _, _ in objects], dtype=np.float64).reshape(-1, 4),
        classes=np.array([label for _, label, _ in objects], dtype=np.int64),
        crowd=np.array([crowd for _, _, crowd in objects], dtype=np.bool_),
        areas=np.ones(len(objects)),
    )
    detections = Detections(
        np.array([box for box, _, _ in found], dtype=np.float32).reshape(-1, 4),
        np.array([score for _, _, score in found], dtype=np.float32),
        np.array([label for _, label, _ in found], dtype=np.int32),
    )
    return Dataset.from_samples((sample,), name="scene", class_names=("qrcode", "barcode")), [detections]


def count(objects: list[tuple[Box, int, bool]], found: list[tuple[Box, int, float]]) -> ClassCounts:
    return confusion_at(*scene(objects, found), conf=0.5, iou=0.5).overall


A: Box = (0, 0, 100, 100)
B: Box = (200, 200, 300, 300)


def test_hit_false_detection_and_miss() -> None:
    counts = count([(A, 0, False), (B, 0, False)], [(A, 0, 0.9), ((320, 0, 390, 70), 0, 0.8)])
    assert counts == ClassCounts(instances=2, tp=1, fp=1, fn=1, misses=1, partial=0)
    assert (counts.precision, counts.recall, counts.f1, counts.miss_rate) == (0.5, 0.5, 0.5, 0.5)


def test_other_class_is_a_miss_and_a_false_detection() -> None:
    result = confusion_at(*scene([(A, 0, False)], [(A, 1, 0.9)]), conf=0.5, iou=0.5)
    assert result.per_class["qrcode"] == ClassCounts(instances=1, fn=1, misses=1)
    assert result.per_class["barcode"] == ClassCounts(fp=1)


def test_score_must_exceed_the_confidence() -> None:
    assert count([(A, 0, False)], [(A, 0, 0.5)]) == ClassCounts(instances=1, fn=1, misses=1)


def test_second_detection_of_an_object_is_false() -> None:
    counts = count([(A, 0, False)], [(A, 0, 0.9), ((0, 0, 100, 90), 0, 0.8)])
    assert counts == ClassCounts(instances=1, tp=1, fp=1)


def test_best_score_chooses_first_and_takes_the_best_overlap() -> None:
    shifted: Box = (20, 0, 120, 100)
    counts = count(
        [(A, 0, False), (shifted, 0, False)], [((18, 0, 118, 100), 0, 0.9), ((22, 0, 122, 100), 0, 0.8)]
    )
    assert counts == ClassCounts(instances=2, tp=2)


def test_object_whose_only_box_went_to_its_neighbour_is_unmatched_but_not_missed() -> None:
    counts = count([(A, 0, False), ((10, 0, 110, 100), 0, False)], [((5, 0, 105, 100), 0, 0.9)])
    assert counts == ClassCounts(instances=2, tp=1, fn=1)


def test_crowd_is_no_object_and_what_lies_in_it_is_not_false() -> None:
    counts = count([((0, 0, 200, 200), 0, True), (B, 0, False)], [((10, 10, 40, 40), 0, 0.9), (B, 0, 0.8)])
    assert counts == ClassCounts(instances=1, tp=1)


def test_box_that_mostly_lies_outside_the_crowd_is_false() -> None:
    assert count([((0, 0, 100, 100), 0, True)], [((80, 0, 180, 100), 0, 0.9)]) == ClassCounts(fp=1)


@pytest.mark.parametrize(
    ("box", "partial"),
    [
        ((0, 0, 100, 40), 1),  # covers 40 %, IoU .4
        ((0, 0, 100, 9), 0),  # IoU .09: not about this object
        ((0, 0, 100, 10), 1),  # IoU .1 counts
        ((-80, 0, 170, 100), 0),  # covers all, IoU .4: merely too large
        ((20, 0, 260, 100), 0),  # covers exactly 80 %
        ((21, 0, 260, 100), 1),  # covers 79 %
        ((0, 0, 100, 50), 0),  # IoU .5: found, not missed
    ],
)
def test_partial_is_a_miss_that_the_nearest_box_covers_too_little_of(box: Box, partial: int) -> None:
    counts = count([(A, 0, False)], [(box, 0, 0.9)])
    assert counts.partial == partial
    assert counts.partial <= counts.misses


def test_rates_without_objects_or_detections_are_absent() -> None:
    assert count([], []).to_json() == {"instances": 0, "tp": 0, "fp": 0, "fn": 0, "misses": 0, "partial": 0}
    written = count([(A, 0, False)], []).to_json()
    assert "precision" not in written
    assert (written["recall"], written["f1"], written["miss_rate"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_counts_equal_pycocotools_matches(seed: int) -> None:
    """Matches of COCOeval at IoU .5, every area, cut at the confidence: greedy by score, crowds ignored."""
    from suites.unit.measure.test_accuracy import oracle

    dataset = peculiar_dataset(seed)
    detections = noisy_detections(dataset, seed)
    _, _, evaluation = oracle(dataset, [found.above(0.35) for found in detections])
    result = confusion_at(dataset, detections, conf=0.35, iou=0.5)
    expected = {name: [0, 0, 0] for name in dataset.class_names}
    assert isinstance(evaluation, COCOeval)
    for cell in evaluation.evalImgs:
        if cell is None or cell["aRng"] != evaluation.params.areaRng[0]:
            continue
        counts = expected[dataset.class_names[dataset.category_ids.index(cell["category_id"])]]
        judged = ~cell["dtIgnore"][0]
        counts[0] += int((judged & (cell["dtMatches"][0] > 0)).sum())
        counts[1] += int((judged & (cell["dtMatches"][0] == 0)).sum())
        counts[2] += int((np.asarray(cell["gtIgnore"]) == 0).sum())
    ours = {name: [c.tp, c.fp, c.instances] for name, c in result.per_class.items()}
    assert ours == expected


def test_record_has_every_class_and_all() -> None:
    dataset, detections = scene([(A, 0, False)], [(A, 0, 0.9)])
    written = confusion_at(dataset, detections, conf=0.5, iou=0.5).to_json()
    assert (written["conf"], written["iou"], list(written["per_class"])) == (0.5, 0.5, ["qrcode", "barcode"])
    assert written["all"]["tp"] == written["per_class"]["qrcode"]["tp"] == 1


def test_detections_of_other_images_are_refused() -> None:
    dataset, detections = scene([(A, 0, False)], [])
    with pytest.raises(InputError, match="detections for 2 images"):
        confusion_at(dataset, detections * 2, conf=0.5, iou=0.5)
