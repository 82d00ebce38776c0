"""Observers against numpy over all the values at once."""

import numpy as np
import pytest
from slimgate.compress.quantize.observe import OBSERVERS, MinMax, Percentile


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_a_range_never_exceeds_what_was_seen(name):
    observer = OBSERVERS[name]()
    for values in ([1.0, -2.0], [0.5, 3.5]):
        observer.observe(np.array(values, np.float32))
    low, high = observer.range()
    assert -2.0 <= low <= high <= 3.5


def test_minmax_is_the_extremes_over_all_images():
    observer = MinMax()
    for values in ([1.0, -2.0], [0.5, 3.5], [0.0, 0.0]):
        observer.observe(np.array(values, np.float32))
    assert observer.range() == (-2.0, 3.5)


def test_minmax_does_not_lose_a_nan():
    observer = MinMax()
    observer.observe(np.array([1.0, np.nan], np.float32))
    observer.observe(np.array([2.0, 3.0], np.float32))
    assert np.isnan(observer.range()).all()


def test_percentile_agrees_with_numpy_while_its_range_doubles():
    generator = np.random.default_rng(0)
    images = [generator.normal(scale=scale, size=50_000).astype(np.float32) for scale in (0.1, 1.0, 7.0)]
    observer = Percentile(share=0.99)
    for values in images:
        observer.observe(values)
    expected = np.quantile(np.concatenate(images), [0.005, 0.995])
    # The histogram spans the next power of two above the extreme value with 4096 bins.
    bin_width = 2 * 2.0 ** np.ceil(np.log2(np.abs(np.concatenate(images)).max())) / 4096
    np.testing.assert_allclose(observer.range(), expected, atol=2 * bin_width)


def test_percentile_cuts_an_outlier_that_minmax_keeps():
    values = np.concatenate([np.linspace(-1, 1, 200_000), [1000.0]]).astype(np.float32)
    cut, whole = Percentile(share=0.9999), MinMax()
    cut.observe(values)
    whole.observe(values)
    assert whole.range()[1] == 1000.0
    assert cut.range()[1] < 2.0


def test_percentile_of_zeros_then_something():
    observer = Percentile()
    observer.observe(np.zeros(10, np.float32))
    assert observer.range() == (0.0, 0.0)
    observer.observe(np.array([0.0, 4.0], np.float32))
    low, high = observer.range()
    assert low <= 0.0
    assert high == 4.0


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_zeros_and_nan_reach_every_observer(name):
    zeros, broken = OBSERVERS[name](), OBSERVERS[name]()
    zeros.observe(np.zeros(4, np.float32))
    assert (zeros.range(), zeros.magnitude()) == ((0.0, 0.0), 0.0)
    broken.observe(np.array([1.0, 2.0], np.float32))
    broken.observe(np.array([1.0, np.nan], np.float32))
    assert np.isnan(broken.range()).all()


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_values_next_to_nothing_have_a_finite_range(name):
    observer = OBSERVERS[name]()
    observer.observe(np.array([1e-37, -1e-38, 3e-40], np.float32))
    low, high = observer.range()
    assert -1e-38 <= low <= high <= 1e-37 * 1.0001
    observer.observe(np.array([1.0], np.float32))
    assert observer.range()[1] == pytest.approx(1.0, abs=0.01)


def test_a_histogram_counts_as_numpy_does_and_doubles_exactly():
    from slimgate.compress.quantize.histogram import BINS, Histogram

    generator = np.random.default_rng(1)
    images = [generator.normal(scale=scale, size=5000).astype(np.float32) for scale in (0.3, 2.0, 0.01)]
    histogram = Histogram()
    for values in images:
        histogram.add(values)
    expected = np.histogram(np.concatenate(images), bins=BINS, range=(-histogram.limit, histogram.limit))[0]
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.magnitudes().sum() == 15_000
