"""Where distributions are cut, against brute force and numbers worked out by hand."""

import itertools

import numpy as np
import pytest
from slimgate.compress.quantize.clip import (
    FRACTIONS,
    least_divergence,
    least_squares_limit,
    least_squares_range,
    squared_error,
)
from slimgate.compress.quantize.observe import Entropy, Mse
from slimgate.compress.quantize.scheme import Affine, asymmetric_uint8, symmetric_int8


def _silu(values):
    return values / (1 + np.exp(-values))


def test_squared_error_by_hand():
    values, counts = np.array([0.25, 1.0, 300.0]), np.array([2, 5, 1])
    # 0.25 rounds to 0 twice, 1 is exact, 300 is cut to 255.
    found = squared_error(values, counts, Affine(1.0, 0), lowest=0, highest=255)
    assert found == pytest.approx(2 * 0.25**2 + 45**2)


@pytest.mark.parametrize("shape", ["laplace", "silu", "one-sided"])
def test_the_range_is_what_trying_every_pair_of_ends_finds(shape):
    generator = np.random.default_rng(3)
    values = generator.laplace(size=400)
    values = {"laplace": values, "silu": _silu(values * 3), "one-sided": np.abs(values)}[shape]
    counts = np.ones(values.size, np.int64)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    tried = [
        (squared_error(values, counts, asymmetric_uint8(low * a, high * b), lowest=0, highest=255))
        for a, b in itertools.product(FRACTIONS, FRACTIONS)
    ]
    found = asymmetric_uint8(*least_squares_range(values, counts))
    error = squared_error(values, counts, found, lowest=0, highest=255)
    whole = squared_error(values, counts, asymmetric_uint8(low, high), lowest=0, highest=255)
    # By turns, one end at a time: as good as the whole grid to within a hundredth of what cutting gains.
    assert error <= min(tried) + 0.01 * whole
    assert error <= whole


def test_the_symmetric_limit_is_the_best_of_every_limit():
    values = np.random.default_rng(4).laplace(size=1000)
    counts = np.ones(values.size, np.int64)
    largest = np.abs(values).max()
    errors = [
        squared_error(values, counts, symmetric_int8(0, largest * share), lowest=-127, highest=127)
        for share in FRACTIONS
    ]
    assert least_squares_limit(values, counts) == pytest.approx(largest * FRACTIONS[int(np.argmin(errors))])


def test_one_far_outlier_is_cut_by_mean_squared_error_only_where_that_pays():
    many = np.linspace(0, 1, 100_001)
    counts = np.ones(many.size, np.int64)
    for outlier, cut in ((1.5, True), (3.0, False)):
        # Kept, it widens every step; cut, it costs its distance once.
        _, high = least_squares_range(np.append(many, outlier), np.append(counts, 1 if cut else 1000))
        assert (high < outlier) is cut


def _divergence_by_loops(counts, kept, levels):
    inside = [float(count) for count in counts[:kept]]
    reference = list(inside)
    reference[-1] += float(sum(counts[kept:]))
    candidate = [0.0] * kept
    for level in range(levels):
        start, end = level * kept // levels, (level + 1) * kept // levels
        holders = [index for index in range(start, end) if inside[index] > 0]
        for index in holders:
            candidate[index] = sum(inside[start:end]) / len(holders)
    if not sum(candidate) or any(p > 0 and not q for p, q in zip(reference, candidate, strict=True)):
        return float("inf")
    p = np.array(reference) / sum(reference)
    q = np.array(candidate) / sum(candidate)
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


@pytest.mark.parametrize("levels", [4, 7])
def test_divergence_is_least_where_loops_over_the_definition_find_it(levels):
    generator = np.random.default_rng(levels)
    counts = np.histogram(np.abs(generator.laplace(size=3000)), bins=48)[0]
    last = int(np.flatnonzero(counts)[-1]) + 1
    tried = range(levels, last + 1)
    by_loops = [_divergence_by_loops(counts, kept, levels) for kept in tried]
    assert least_divergence(counts, levels) == tried[int(np.argmin(by_loops))]


def test_divergence_by_hand():
    # Eight uneven bins and one far value: eight levels hold the eight bins exactly, keeping all would merge them.
    counts = np.zeros(32, np.int64)
    counts[:8] = [1000, 500] * 4
    counts[31] = 1
    assert least_divergence(counts, 8) == 8
    # Without the far value there is nothing to cut.
    assert least_divergence(np.full(8, 10), 8) == 8


@pytest.mark.parametrize(("observer", "kept"), [(Mse, (0.9, 1.0)), (Entropy, (0.6, 1.0))])
def test_what_an_observer_cuts_of_a_one_sided_distribution(observer, kept):
    values = _silu(np.random.default_rng(5).normal(0, 2, 200_000)).astype(np.float32)
    seen = observer()
    for part in np.split(values, 10):
        seen.observe(part)
    low, high = seen.range()
    assert values.min() <= low <= 0.9 * values.min()
    assert kept[0] * 0.8 <= high / values.max() <= kept[1]
    # Half the steps: worth cutting no less.
    assert 0 < seen.magnitude() <= high


def test_observers_hold_the_same_over_any_order_of_images():
    images = [np.full(8, value, np.float32) for value in (0.25, -1.0, 7.0, 0.5)]
    for observer in (Mse, Entropy):
        one, other = observer(), observer()
        for image in images:
            one.observe(image)
        for image in reversed(images):
            other.observe(image)
        assert one.range() == other.range()
        assert one.magnitude() == other.magnitude()
