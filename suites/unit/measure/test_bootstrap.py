from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from slimgate.detect import Detections, Protocol
from slimgate.errors import UsageError
from slimgate.measure import (
    Matches,
    compare_resampled,
    compare_scores,
    match_images,
    resample_metrics,
    score_shift,
)
from slimgate.measure.bootstrap import FEWEST_IMAGES, draw_copies, measure_resamples
from slimgate.measure.confusion import count_images

from fixtures.datasets import noisy_detections, peculiar_dataset

DATASET = peculiar_dataset(3, images=60)


def match(detections: list[Detections], dataset=DATASET) -> Matches:
    counts = count_images(dataset, detections, conf=0.5, iou=0.5)
    return match_images(dataset, detections, counts, Protocol(image_size=320))


def weaken(detections: list[Detections]) -> list[Detections]:
    """Lose every third detection."""
    return [
        Detections(*(np.delete(part, slice(None, None, 3), axis=0) for part in vars(one).values()))
        for one in detections
    ]


FOUND = noisy_detections(DATASET, 3)
STRONG, WEAK = match(FOUND), match(weaken(FOUND))


def test_the_interval_is_scipys_percentile_interval_of_the_same_draws() -> None:
    ours = compare_resampled(resample_metrics(STRONG, seed=7), resample_metrics(WEAK, seed=7))

    def change(places: np.ndarray, axis: int = -1) -> np.ndarray:
        rows = np.atleast_2d(places)
        copies = np.array([np.bincount(row, minlength=len(DATASET)) for row in rows])
        one, other = measure_resamples(WEAK, copies), measure_resamples(STRONG, copies)
        return np.array([one[name] - other[name] for name in ("map50_95", "recall", "partial")])

    theirs = scipy.stats.bootstrap(
        (np.arange(len(DATASET)),), change, n_resamples=1000, method="percentile", vectorized=True, rng=7
    )
    for index, name in enumerate(("map50_95", "recall", "partial")):
        expected = (theirs.confidence_interval.low[index], theirs.confidence_interval.high[index])
        assert ours.intervals[name] == pytest.approx(expected, abs=1e-12)
        low, high = ours.intervals[name]
        assert low < ours.values[name] < high


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly() -> None:
    def interval(seed: int) -> tuple[float, float]:
        found = compare_resampled(resample_metrics(STRONG, seed=seed), resample_metrics(WEAK, seed=seed))
        return found.intervals["map50_95"]

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)
    assert interval(1) == pytest.approx(interval(2), abs=0.02)


@pytest.mark.timing
def test_a_thousand_resamples_of_five_hundred_images_take_less_than_ten_seconds() -> None:
    """Of both detectors and their difference, from stored matches: what a study pays for every case."""
    dataset = peculiar_dataset(4, images=500)
    found = noisy_detections(dataset, 4)
    strong, weak = match(found, dataset), match(weaken(found), dataset)
    began = time.perf_counter()
    differences = compare_resampled(*(resample_metrics(one, resamples=1000) for one in (strong, weak)))
    seconds = time.perf_counter() - began
    assert differences.intervals["map50_95"][1] < 0
    assert seconds < 10


def test_pairing_knows_more_than_two_detectors_apart() -> None:
    strong, weak = resample_metrics(STRONG), resample_metrics(WEAK)
    low, high = compare_resampled(strong, weak).intervals["map50_95"]
    apart = np.hypot(*(np.std(one.resampled["map50_95"]) for one in (strong, weak)))
    assert (high - low) / 2 < 0.8 * 1.96 * apart


def test_a_record_says_how_it_was_drawn() -> None:
    written = compare_resampled(
        resample_metrics(STRONG, resamples=50, seed=5), resample_metrics(WEAK, resamples=50, seed=5)
    ).to_json()
    assert {key: value for key, value in written.items() if key != "metrics"} == {
        "method": "paired percentile bootstrap over images",
        "images": 60,
        "resamples": 50,
        "seed": 5,
        "confidence": 0.95,
    }
    assert written["metrics"]["map50_95"]["value"] < 0
    assert len(written["metrics"]["map50_95"]["interval"]) == 2
    # No object of it exists: neither a difference nor an interval.
    assert "recall/class 4" not in written["metrics"]


def test_too_few_images_give_a_difference_and_no_interval() -> None:
    dataset = peculiar_dataset(3, images=FEWEST_IMAGES - 1)
    found = noisy_detections(dataset, 3)
    few = [resample_metrics(match(one, dataset), resamples=20) for one in (found, weaken(found))]
    differences = compare_resampled(*few)
    assert differences.values["map50_95"] < 0
    assert not differences.intervals


def test_a_class_in_too_few_images_has_no_interval_of_its_own() -> None:
    objects = STRONG.objects.copy()
    objects[FEWEST_IMAGES - 1 :, 0] = 0
    strong, weak = (resample_metrics(replace(one, objects=objects), resamples=20) for one in (STRONG, WEAK))
    assert strong.support["recall/class 0"] < FEWEST_IMAGES
    differences = compare_resampled(strong, weak)
    assert "recall/class 0" in differences.values
    assert "recall/class 0" not in differences.intervals
    assert "map50_95" in differences.intervals


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset_sha256": "f" * 64}, "dataset_sha256"),
        ({"protocol": Protocol(image_size=640).to_json()}, "protocol"),
        ({"class_names": ("a", "b", "c", "d", "e")}, "class_names"),
    ],
)
def test_detectors_on_other_images_or_terms_are_not_compared(change: dict, named: str) -> None:
    reference = resample_metrics(STRONG, resamples=2)
    other = resample_metrics(replace(WEAK, **change), resamples=2)
    with pytest.raises(UsageError, match=f"a reference and a variant with another {named}\n"):
        compare_resampled(reference, other)


def test_other_draws_are_not_compared() -> None:
    with pytest.raises(UsageError, match="with another resamples, seed\n  expected: the same images, drawn"):
        compare_resampled(
            resample_metrics(STRONG, resamples=2, seed=1), resample_metrics(WEAK, resamples=3, seed=2)
        )


def test_draws_are_with_replacement_and_even() -> None:
    copies = draw_copies(40, resamples=2000, seed=1)
    assert copies.shape == (2000, 40)
    assert (copies.sum(axis=1) == 40).all()
    assert np.mean(copies == 0) == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)


def test_the_mean_shift_of_scores_has_an_interval_of_the_same_kind() -> None:
    lower = [replace(one, scores=one.scores * np.float32(0.9)) for one in FOUND]
    shift = score_shift(FOUND, lower)
    assert shift.mean is not None
    assert shift.sums.sum() / shift.counts.sum() == pytest.approx(shift.mean)
    assert shift.counts.sum() == shift.matched
    found = compare_scores(shift)
    low, high = found.intervals["score_shift"]
    assert low < found.values["score_shift"] == shift.mean < high < 0
    same = compare_scores(score_shift(FOUND, FOUND))
    assert (same.values, same.intervals) == ({"score_shift": 0.0}, {"score_shift": (0.0, 0.0)})


def test_scores_that_nothing_matches_have_no_shift() -> None:
    nothing = [one.above(2.0) for one in FOUND]
    found = compare_scores(score_shift(nothing, FOUND), resamples=5)
    assert (found.values, found.intervals) == ({}, {})


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    # The images are taken as all there are: what they show is the truth, and a sample of them knows less.
    rng = np.random.default_rng(11)
    count, draws, trials = len(DATASET), 150, 80
    everything = np.ones((1, count), dtype=np.int64)

    def change(copies: np.ndarray) -> np.ndarray:
        return measure_resamples(WEAK, copies)["map50_95"] - measure_resamples(STRONG, copies)["map50_95"]

    truth = change(everything)[0]
    samples = [rng.integers(0, count, count) for _ in range(trials)]
    places = np.concatenate([sample[rng.integers(0, count, (draws, count))] for sample in samples])
    copies = np.array([np.bincount(row, minlength=count) for row in places])
    ends = np.quantile(change(copies).reshape(trials, draws), [0.025, 0.975], axis=1)
    held = np.mean((ends[0] <= truth) & (truth <= ends[1]))
    assert 0.85 <= held <= 0.99
