"""What a resample of images must be, whatever the images and the detections are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slimgate.data import Dataset
from slimgate.detect import Detections, Protocol
from slimgate.measure import Matches, compare_resampled, evaluate_coco, match_images, resample_metrics
from slimgate.measure.bootstrap import draw_copies, measure_resamples
from slimgate.measure.confusion import count_images

from fixtures.datasets import noisy_detections, peculiar_dataset

SEEDS = st.integers(0, 10_000)
PROTOCOL = Protocol(image_size=320)


def match(dataset: Dataset, detections: list[Detections]) -> Matches:
    counts = count_images(dataset, detections, conf=0.4, iou=0.5)
    return match_images(dataset, detections, counts, PROTOCOL)


def part_ties(detections: list[Detections], seed: int) -> list[Detections]:
    """Give every detection a score that no other has: only ties make the order of images matter."""
    scores = np.concatenate([one.scores for one in detections])
    order = np.lexsort((np.random.default_rng(seed).permutation(len(scores)), scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    parted = np.split(
        (ranks / (len(scores) + 1)).astype(np.float32), np.cumsum([len(one) for one in detections])
    )
    return [replace(one, scores=of_image) for one, of_image in zip(detections, parted, strict=False)]


@given(seed=SEEDS)
def test_images_as_they_are_give_the_evaluators_numbers(seed: int) -> None:
    dataset = peculiar_dataset(seed)
    detections = noisy_detections(dataset, seed)
    measured = measure_resamples(match(dataset, detections), np.ones((1, len(dataset)), dtype=np.int64))
    numbers = evaluate_coco(dataset, detections).numbers
    for metric, name in (("map50_95", "AP"), ("map50", "AP50"), ("map75", "AP75")):
        assert numbers[name] is not None
        assert abs(measured[metric][0] - numbers[name]) < 1e-12


@settings(max_examples=12)
@given(seed=SEEDS)
def test_the_same_detections_differ_by_nothing_in_every_draw(seed: int) -> None:
    dataset = peculiar_dataset(seed, images=50)
    detections = noisy_detections(dataset, seed)
    resampled = [resample_metrics(match(dataset, detections), resamples=20, seed=seed) for _ in range(2)]
    differences = compare_resampled(*resampled)
    assert set(differences.values.values()) == {0.0}
    assert set(differences.intervals.values()) == {(0.0, 0.0)}


@given(seed=SEEDS)
def test_the_order_of_the_images_does_not_matter(seed: int) -> None:
    dataset = peculiar_dataset(seed)
    detections = part_ties(noisy_detections(dataset, seed), seed)
    order = np.random.default_rng(seed).permutation(len(dataset))
    samples = [replace(dataset.samples[place], image_id=index) for index, place in enumerate(order)]
    turned = replace(dataset, samples=tuple(samples))
    # Copies are by ascending id: which the first dataset has in reverse, and the second in its order.
    copies = draw_copies(len(dataset), resamples=5, seed=seed)
    before = measure_resamples(match(dataset, detections), copies)
    after = measure_resamples(
        match(turned, [detections[place] for place in order]), copies[:, ::-1][:, order]
    )
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=0, atol=1e-12, equal_nan=True)


@given(seed=SEEDS, times=st.integers(2, 4))
def test_every_image_drawn_as_often_changes_no_share(seed: int, times: int) -> None:
    dataset = peculiar_dataset(seed)
    matches = match(dataset, noisy_detections(dataset, seed))
    once = np.ones((1, len(dataset)), dtype=np.int64)
    before, after = measure_resamples(matches, once), measure_resamples(matches, once * times)
    for name in ("precision", "recall", "f1", "miss_rate"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-12, equal_nan=True)
    for name in ("misses", "partial", "false_detections"):
        assert after[name][0] == times * before[name][0]


@settings(max_examples=12)
@given(seed=SEEDS)
def test_a_difference_turns_its_sign_with_the_roles(seed: int) -> None:
    dataset = peculiar_dataset(seed, images=50)
    detections = noisy_detections(dataset, seed)
    fewer = [one.above(0.3) for one in detections]
    one, other = (resample_metrics(match(dataset, found), resamples=30) for found in (detections, fewer))
    there, back = compare_resampled(one, other), compare_resampled(other, one)
    assert there.values == {name: -value for name, value in back.values.items()}
    for name, (low, high) in there.intervals.items():
        np.testing.assert_allclose(back.intervals[name], (-high, -low), rtol=0, atol=1e-12)
