from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from slimgate.errors import UsageError
from slimgate.measure import control, measure_pairs
from slimgate.measure.pairs import median_interval


class FakeMachine:
    """A clock that only the arms move: deterministic durations, optional drift, and a log of who ran."""

    def __init__(self, *, drift: float = 0.0, noise: float = 0.0) -> None:
        self.now = 0.0
        self.drift = drift
        self.random = np.random.default_rng(7)
        self.noise = noise
        self.log: list[str] = []

    def clock(self) -> int:
        return int(self.now)

    def arm(self, name: str, milliseconds: float) -> Callable[[], None]:
        def call() -> None:
            factor = 1 + self.drift * len(self.log) + self.noise * abs(self.random.standard_normal())
            self.now += milliseconds * 1e6 * factor
            self.log.append(name)

        return call


@pytest.fixture(autouse=True)
def outside_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow xdist: these tests move a clock by hand."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def test_known_ratio_is_found_exactly() -> None:
    machine = FakeMachine()
    result = measure_pairs(machine.arm("a", 10), machine.arm("b", 25), rounds=10, clock=machine.clock)
    assert result.ratio == pytest.approx(2.5)
    assert result.interval == pytest.approx((2.5, 2.5))
    assert result.seconds_a == pytest.approx([0.010] * 10)
    assert result.seconds_b == pytest.approx([0.025] * 10)
    assert result.log_ratios == pytest.approx([np.log(2.5)] * 10)
    assert (result.rounds, result.calls, result.extended) == (10, (1, 1), False)


def test_rounds_alternate_which_arm_is_first() -> None:
    machine = FakeMachine()
    measure_pairs(machine.arm("a", 50), machine.arm("b", 50), rounds=6, clock=machine.clock)
    assert "".join(machine.log)[-12:] == "abbaabbaabba"


def test_steady_drift_falls_on_both_arms_alike() -> None:
    machine = FakeMachine(drift=0.02)
    result = control(machine.arm("a", 50), rounds=20, clock=machine.clock)
    assert result.ratio == pytest.approx(1.0, abs=0.005)
    assert min(result.log_ratios) < -0.005
    assert max(result.log_ratios) > 0.005


def test_short_calls_are_summed_to_a_sample_the_clock_resolves() -> None:
    machine = FakeMachine()
    result = measure_pairs(machine.arm("a", 0.1), machine.arm("b", 0.5), rounds=6, clock=machine.clock)
    assert result.calls == (30, 6)
    assert result.ratio == pytest.approx(5.0)
    assert result.seconds_a == pytest.approx([0.0001] * 6)


def test_undecided_interval_is_extended_once_and_only_once() -> None:
    machine = FakeMachine(noise=0.3)
    asked: list[tuple[float, float]] = []

    def undecided(interval: tuple[float, float]) -> bool:
        asked.append(interval)
        return True

    result = measure_pairs(
        machine.arm("a", 10), machine.arm("b", 10), rounds=8, extend_while=undecided, clock=machine.clock
    )
    assert (len(asked), result.rounds, result.extended) == (1, 16, True)
    decided = measure_pairs(
        machine.arm("a", 10),
        machine.arm("b", 10),
        rounds=8,
        extend_while=lambda _: False,
        clock=machine.clock,
    )
    assert (decided.rounds, decided.extended) == (8, False)


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


def test_fewest_rounds_follow_from_the_confidence() -> None:
    machine = FakeMachine()
    arm = machine.arm("a", 10)
    assert control(arm, rounds=6, clock=machine.clock).rounds == 6
    with pytest.raises(
        UsageError, match=r"rounds 5: too few for an exact 95% interval\n  expected: at least 6"
    ):
        control(arm, rounds=5, clock=machine.clock)
    with pytest.raises(UsageError, match="expected: at least 8"):
        control(arm, rounds=7, confidence=0.99, clock=machine.clock)


def test_interval_of_the_fewest_rounds_is_finite() -> None:
    assert median_interval(np.arange(6.0), 0.95) == (0.0, 5.0)


def test_timing_refuses_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    with pytest.raises(UsageError, match=r"timing: running under pytest-xdist \(worker gw1\)") as caught:
        control(lambda: None)
    assert "without -n" in str(caught.value)


def test_record_keeps_the_raw_samples() -> None:
    machine = FakeMachine()
    written = measure_pairs(
        machine.arm("a", 10), machine.arm("b", 20), rounds=6, clock=machine.clock
    ).to_json()
    assert written["median_s"] == pytest.approx(0.020)
    assert written["baseline_median_s"] == pytest.approx(0.010)
    assert len(written["log_ratios"]) == len(written["seconds"]) == len(written["baseline_seconds"]) == 6
    assert written["ratio"] == pytest.approx(2.0)


def test_a_clock_that_stands_still_gives_no_infinite_ratio() -> None:
    # Warm-up ends by the number of calls, and every sample is charged the clock's smallest step.
    result = measure_pairs(lambda: None, lambda: None, rounds=6, clock=lambda: 0)
    assert result.log_ratios == (0.0,) * 6
    assert result.seconds_a[0] > 0
