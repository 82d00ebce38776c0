from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from slimgate.errors import UsageError
from slimgate.measure.intervals import (
    fewest_values,
    median_interval,
    quantile_bounds,
    require_rounds,
    show_confidence,
    simultaneous_confidence,
)


def binomial_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return order statistics whose coverage of the median is at least ``confidence``, by the binomial's tails."""
    ordered = np.sort(values)
    lower = int(stats.binom.ppf((1 - confidence) / 2, len(values), 0.5))
    return float(ordered[lower - 1]), float(ordered[len(values) - lower])


@pytest.mark.parametrize("count", [6, 11, 20, 40, 101])
def test_interval_is_the_binomials_order_statistics(count: int) -> None:
    values = np.random.default_rng(count).standard_normal(count)
    assert median_interval(values, 0.95) == binomial_interval(values, 0.95)


def test_interval_covers_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    trials = 600
    for _ in range(trials):
        # A skewed distribution with median 0: what timings look like.
        low, high = median_interval(np.exp(rng.standard_normal(15)) - 1, 0.95)
        covered += low <= 0 <= high
    assert covered / trials >= 0.94


def test_interval_of_the_fewest_values_is_finite_and_of_fewer_is_everything() -> None:
    assert median_interval(np.arange(6.0), 0.95) == (0.0, 5.0)
    assert median_interval(np.arange(5.0), 0.95) == (-math.inf, math.inf)


@pytest.mark.parametrize(("confidence", "needed"), [(0.95, 6), (0.975, 7), (0.99, 8), (1 - 0.05 / 120, 13)])
def test_fewest_values_are_those_whose_range_covers_the_median(confidence: float, needed: int) -> None:
    assert fewest_values(confidence) == needed
    assert 1 - 2 * 0.5**needed >= confidence > 1 - 2 * 0.5 ** (needed - 1)
    require_rounds(needed, confidence)
    with pytest.raises(UsageError, match=f"rounds {needed - 1}: too few for an exact"):
        require_rounds(needed - 1, confidence)


def test_what_may_go_wrong_is_shared_out_over_comparisons_and_looks() -> None:
    assert simultaneous_confidence(0.95) == 0.95
    assert simultaneous_confidence(0.95, looks=2) == pytest.approx(0.975)
    assert 120 * (1 - simultaneous_confidence(0.95, comparisons=60, looks=2)) == pytest.approx(0.05)


def test_sixty_comparisons_looked_at_twice_are_all_right_at_once_as_often_as_promised() -> None:
    runs, comparisons = 400, 60
    values = np.random.default_rng(5).standard_normal((runs, comparisons, 40))

    def holds(level: float) -> float:
        """Return the share of runs in which every interval of every look holds the median, which is 0."""
        right = np.ones((runs, comparisons), dtype=bool)
        for look in (values[..., :20], values):
            ordered = np.sort(look, axis=-1)
            low, high = median_interval(np.arange(float(look.shape[-1])), level)  # as ranks
            right &= (ordered[..., int(low)] <= 0) & (ordered[..., int(high)] >= 0)
        return float(right.all(axis=1).mean())

    assert holds(simultaneous_confidence(0.95, comparisons=comparisons, looks=2)) >= 0.95
    assert holds(0.95) <= 0.05  # what the plain intervals would do


@pytest.mark.parametrize(
    ("confidence", "shown"), [(0.95, "95%"), (0.975, "97.5%"), (1 - 0.05 / 120, "99.9583%")]
)
def test_a_confidence_is_shown_with_the_digits_that_tell_it_from_certainty(
    confidence: float, shown: str
) -> None:
    assert show_confidence(confidence) == shown


@pytest.mark.parametrize("count", [299, 500, 1000])
def test_bounds_of_a_quantile_hold_as_often_as_they_say(count: int) -> None:
    values = np.arange(count, dtype=float)
    low, high = quantile_bounds(np.random.default_rng(0).permutation(values), 0.99, 0.95)
    # Of how many values lie below the quantile, by scipy's own test of it.
    less = stats.quantile_test(values, p=0.99, alternative="less").confidence_interval(0.95)
    greater = stats.quantile_test(values, p=0.99, alternative="greater").confidence_interval(0.95)
    assert (low, high) == (greater.low, less.high)
    assert low <= np.quantile(values, 0.99, method="inverted_cdf") <= high


def test_a_99_percent_quantile_takes_299_values() -> None:
    assert quantile_bounds(np.arange(299), 0.99, 0.95)[1] == 298
    assert quantile_bounds(np.arange(298), 0.99, 0.95)[1] == math.inf
    assert quantile_bounds([], 0.99, 0.95) == (-math.inf, math.inf)
