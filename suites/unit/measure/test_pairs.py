from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from slimgate.errors import UsageError
from slimgate.measure import EXTENSION, Budget, PairResult, control, measure_pairs, summarise_pairs
from slimgate.measure.intervals import median_interval
from slimgate.measure.rounds import extend_rounds


class FakeMachine:
    """A clock that only the arms move: deterministic durations, optional drift, and a log of who ran.

    A call of another arm than the last one takes ``waking_ms`` longer.
    """

    def __init__(self, *, drift: float = 0.0, noise: float = 0.0, waking_ms: float = 0.0) -> None:
        self.now = 0.0
        self.drift = drift
        self.random = np.random.default_rng(7)
        self.noise = noise
        self.waking_ms = waking_ms
        self.log: list[str] = []

    def clock(self) -> int:
        return int(self.now)

    def arm(self, name: str, milliseconds: float) -> Callable[[], None]:
        def call() -> None:
            factor = 1 + self.drift * len(self.log) + self.noise * abs(self.random.standard_normal())
            if self.log[-1:] != [name]:
                self.now += self.waking_ms * 1e6
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


def test_each_sample_of_a_fast_arm_begins_with_a_call_that_is_not_timed() -> None:
    machine = FakeMachine()
    result = measure_pairs(machine.arm("a", 50), machine.arm("b", 10), rounds=6, clock=machine.clock)
    assert "".join(machine.log)[-24:] == "aabbbbaaaabbbbaaaabbbbaa"
    assert result.calls == (1, 1)


def test_what_wakes_an_arm_does_not_draw_ratios_towards_one() -> None:
    machine = FakeMachine(waking_ms=0.5)
    result = measure_pairs(machine.arm("a", 10), machine.arm("b", 2), rounds=6, clock=machine.clock)
    assert result.ratio == pytest.approx(0.2)


def test_steady_drift_falls_on_both_arms_alike() -> None:
    machine = FakeMachine(drift=0.02)
    result = control(machine.arm("a", 50), rounds=20, clock=machine.clock)
    assert result.ratio == pytest.approx(1.0, abs=0.005)
    assert min(result.log_ratios) < -0.005
    assert max(result.log_ratios) > 0.005


def test_short_calls_are_summed_to_a_sample_the_clock_resolves() -> None:
    machine = FakeMachine()
    result = measure_pairs(machine.arm("a", 0.1), machine.arm("b", 0.5), rounds=6, clock=machine.clock)
    assert result.calls == (10, 2)
    assert result.ratio == pytest.approx(5.0)
    assert result.seconds_a == pytest.approx([0.0001] * 6)


def test_open_budget_is_extended_once_and_only_once() -> None:
    machine = FakeMachine(noise=0.3)
    open_one = measure_pairs(
        machine.arm("a", 10),
        machine.arm("b", 10),
        rounds=8,
        budget=Budget(highest=1.0),
        clock=machine.clock,
    )
    assert (open_one.rounds, open_one.extended, open_one.looks) == (8 * EXTENSION, True, 2)
    machine = FakeMachine()
    for highest in (0.9, 1.1):
        decided = measure_pairs(
            machine.arm("a", 10),
            machine.arm("b", 10),
            rounds=16,
            budget=Budget(highest=highest, comparisons=60),
            clock=machine.clock,
        )
        assert (decided.rounds, decided.extended) == (16, False)


def test_two_looks_share_the_confidence() -> None:
    machine = FakeMachine(noise=0.3)
    arms = machine.arm("a", 10), machine.arm("b", 10)
    alone = measure_pairs(*arms, rounds=20, clock=machine.clock)
    assert alone.interval == pytest.approx(np.exp(median_interval(alone.log_ratios, 0.95)))
    budget = Budget(highest=1.0, comparisons=10)
    twice = measure_pairs(*arms, rounds=20, budget=budget, clock=machine.clock)
    assert twice.interval == pytest.approx(np.exp(median_interval(twice.log_ratios, 0.975)))
    assert twice.simultaneous_interval(10) == pytest.approx(np.exp(median_interval(twice.log_ratios, 0.9975)))
    assert (twice.confidence, twice.to_json()["looks"]) == (0.95, 2)


def result_of(log_ratios: Sequence[float]) -> PairResult:
    seconds_a = [0.01] * len(log_ratios)
    return summarise_pairs(seconds_a, [0.01 * math.exp(one) for one in log_ratios], calls=(1, 1), looks=2)


def test_a_budget_is_open_until_it_is_shown_to_hold_or_surely_broken() -> None:
    result = result_of(np.linspace(0.01, 0.05, 41))
    low, high = result.interval
    sure = result.simultaneous_interval(60)[0]
    assert sure < low
    assert not Budget(highest=high).is_open(result)
    assert Budget(highest=high - 1e-6).is_open(result)
    assert not Budget(highest=low - 1e-6).is_open(result)
    assert Budget(highest=low - 1e-6, comparisons=60).is_open(result)
    assert not Budget(highest=sure - 1e-6, comparisons=60).is_open(result)


def test_too_few_rounds_for_all_comparisons_at_once_fail_nothing() -> None:
    slow = result_of([1.0] * 9)
    assert slow.interval == pytest.approx((math.e, math.e))
    assert slow.simultaneous_interval(60) == (0.0, math.inf)
    assert Budget(highest=1.1, comparisons=60).is_open(slow)


def test_rounds_that_are_too_few_even_when_extended_are_refused() -> None:
    machine = FakeMachine()
    arm = machine.arm("a", 10)
    with pytest.raises(UsageError, match=r"rounds 14: too few for an exact 99.9999% interval") as caught:
        measure_pairs(arm, arm, rounds=7, budget=Budget(highest=1.1, comparisons=25_000), clock=machine.clock)
    assert "at least 21" in str(caught.value)


def test_a_control_that_is_off_is_extended_once() -> None:
    machine = FakeMachine(noise=0.3)
    noisy = control(machine.arm("a", 10), rounds=8, within=1.0001, clock=machine.clock)
    assert (noisy.rounds, noisy.extended, noisy.looks) == (8 * EXTENSION, True, 2)
    machine = FakeMachine()
    still = control(machine.arm("a", 10), rounds=8, within=1.0001, clock=machine.clock)
    assert (still.rounds, still.extended, still.looks) == (8, False, 2)


def test_a_control_that_is_hardly_known_is_extended_too() -> None:
    turns = iter([1.0, 1.0, 1.0, 1.5] * 1000)  # what is timed second in a round takes longer
    machine = FakeMachine()

    def restless() -> None:
        machine.now += 1e7 * next(turns)

    result = control(restless, rounds=8, within=1.02, clock=machine.clock)
    assert result.off() == pytest.approx(0, abs=1e-9)
    assert result.most_off() == pytest.approx(math.log(1.5))
    assert result.extended


def test_nearly_equal_arms_have_as_many_calls_in_a_sample() -> None:
    machine = FakeMachine()
    close = measure_pairs(machine.arm("a", 0.95), machine.arm("b", 1.05), rounds=6, clock=machine.clock)
    assert close.calls == (2, 2)


def test_the_extension_is_as_long_as_its_time_allows_and_doubles_at_least() -> None:
    assert extend_rounds(41, 24_000_000) == 41 * EXTENSION
    assert extend_rounds(41, 100_000_000) == 120
    assert extend_rounds(15, 700_000_000) == 30


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


@pytest.mark.parametrize("step", [0, -5])
def test_a_clock_that_does_not_move_is_refused(step: int) -> None:
    # Every sample would be charged the clock's smallest step: a ratio of 1, whatever runs.
    ticks = itertools.count(10**9, step)
    with pytest.raises(UsageError) as raised:
        measure_pairs(lambda: None, lambda: None, rounds=6, clock=lambda: next(ticks))
    assert str(raised.value) == (
        "clock: it stands still, or runs backwards, over 50 calls\n"
        "  expected: a clock that moves while something runs, such as time.perf_counter_ns\n"
        "  what to do: time with another clock; without one no time can be judged on this machine"
    )


def test_a_sample_that_the_clock_does_not_resolve_is_charged_its_smallest_step() -> None:
    ticks = itertools.chain(range(0, 60 * 10**7, 10**7), itertools.repeat(60 * 10**7))
    result = measure_pairs(lambda: None, lambda: None, rounds=6, clock=lambda: next(ticks))
    assert result.calls == (1, 1)
    assert result.seconds_b[-1] == 1e-9
    assert np.isfinite(result.log_ratios).all()
