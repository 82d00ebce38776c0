"""Latency as interleaved pairs: ratios inside one run, with an exact interval."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimgate.errors import UsageError
from slimgate.measure.intervals import (
    CONFIDENCE,
    median_interval,
    require_rounds,
    simultaneous_confidence,
)
from slimgate.measure.rounds import Arm, Clock, Rounds, extend_rounds

_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"

LOOKS = 2
"""How often a result with a budget is looked at: after the first rounds, and after the extension."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a ratio is held against, declared before anything is measured.

    Attributes:
        highest: the highest ratio that passes.
        comparisons: how many comparisons the run makes in all. The more there are, the surer one must be to fail.
        also: further bounds, where more than one question is asked of the ratio.
    """

    highest: float
    comparisons: int = 1
    also: tuple[float, ...] = ()

    def is_open(self, result: PairResult) -> bool:
        """Return whether, of any bound, a result is neither shown to pass nor, among so many, shown to fail."""
        surely = result.simultaneous_interval(self.comparisons)[0]
        return any(result.interval[1] > bound and surely <= bound for bound in (self.highest, *self.also))


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Arm B against arm A on one machine in one run.

    Attributes:
        ratio: median over rounds of seconds(B) / seconds(A); below 1, B is faster.
        interval: exact confidence interval of ``ratio``.
        confidence: of the interval; of both intervals together where there were two looks.
        rounds: how many A/B pairs were measured, an extension included.
        calls: calls per sample, of A and of B: short calls are summed until the clock's grain does not
        matter.
        log_ratios: log(B) - log(A) of every round.
        seconds_a: seconds per call of A in every round.
        seconds_b: seconds per call of B in every round.
        extended: whether the one pre-declared extension was used.
        looks: how many looks were declared: two where an extension could have been used.
    """

    ratio: float
    interval: tuple[float, float]
    confidence: float
    rounds: int
    calls: tuple[int, int]
    log_ratios: tuple[float, ...]
    seconds_a: tuple[float, ...]
    seconds_b: tuple[float, ...]
    extended: bool
    looks: int = 1

    def simultaneous_interval(self, comparisons: int) -> tuple[float, float]:
        """Return the interval that holds in all of so many comparisons at once, with ``confidence``.

        0 to infinity where the rounds are too few for that.
        """
        return _interval(self.log_ratios, self.confidence, comparisons, self.looks)

    def off(self) -> float:
        """Return how far the ratio is from 1, either way: the absolute value of its logarithm."""
        return abs(math.log(self.ratio))

    def most_off(self) -> float:
        """Return how far from 1 the ratio may be, as far as the interval knows: as for ``off``."""
        return max(abs(math.log(end)) for end in self.interval)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a ``latency`` entry of a case record."""
        return {
            "ratio": self.ratio,
            "interval": list(self.interval),
            "confidence": self.confidence,
            "rounds": self.rounds,
            "calls": list(self.calls),
            "extended": self.extended,
            "looks": self.looks,
            "median_s": float(np.median(self.seconds_b)),
            "baseline_median_s": float(np.median(self.seconds_a)),
            "log_ratios": list(self.log_ratios),
            "seconds": list(self.seconds_b),
            "baseline_seconds": list(self.seconds_a),
        }


def measure_pairs(
    arm_a: Arm,
    arm_b: Arm,
    *,
    rounds: int = 20,
    budget: Budget | None = None,
    confidence: float = CONFIDENCE,
    settle_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> PairResult:
    """Return how arm B's time compares with arm A's.

    Rounds alternate A B and B A, so that drift of the machine falls on both arms alike. The statistic is
    the median over rounds of log(B) - log(A); its interval is exact (order statistics,
    ``scipy.stats.quantile_test``).

    Args:
        arm_a: the baseline, one call.
        arm_b: what is judged, one call.
        rounds: pairs to measure.
        budget: what the ratio is held against. While any of it is open after the first rounds they are extended, once,
            to ``EXTENSION`` times as many; the confidence is shared out over the two looks.
        confidence: of the interval.
        settle_s: pause before every sample. Worker threads of one runtime go on spinning for some milliseconds
            after a call, on the cores that the other arm is timed on.
        clock: returns nanoseconds; replaced in tests.

    Raises:
        UsageError: under pytest-xdist, or with too few rounds for an interval at this confidence, or, once they
            were extended, among so many comparisons; or with a clock that stands still.
    """
    refuse_workers()
    if budget is not None:
        surest = simultaneous_confidence(confidence, comparisons=budget.comparisons, looks=LOOKS)
        require_rounds(2 * rounds, surest)
    require_rounds(rounds, simultaneous_confidence(confidence, looks=1 if budget is None else LOOKS))
    arms = Rounds(arm_a, arm_b, settle_s=settle_s, clock=clock)
    return _look(arms, rounds, confidence, None if budget is None else budget.is_open)


def _look(
    arms: Rounds, rounds: int, confidence: float, is_open: Callable[[PairResult], bool] | None
) -> PairResult:
    """Take the rounds and look at them; once more after the extension if the question is open then."""
    looks = 1 if is_open is None else LOOKS
    result = None
    for planned in (rounds, extend_rounds(rounds, arms.pace_ns))[:looks]:
        arms.take(planned)
        result = summarise_pairs(
            arms.seconds_a,
            arms.seconds_b,
            calls=arms.calls,
            confidence=confidence,
            looks=looks,
            extended=planned > rounds,
        )
        if is_open is None or not is_open(result):
            break
    assert result is not None
    return result


def summarise_pairs(
    seconds_a: Sequence[float],
    seconds_b: Sequence[float],
    *,
    calls: tuple[int, int],
    confidence: float = CONFIDENCE,
    looks: int = 1,
    extended: bool = False,
) -> PairResult:
    """Return what the rounds of two arms say, one sample of each a round.

    Args:
        seconds_a: seconds per call of arm A in every round.
        seconds_b: the same of arm B.
        calls: calls per sample.
        confidence: of the interval.
        looks: how many looks were declared.
        extended: whether this is the look after the extension.
    """
    log_ratios = tuple((np.log(seconds_b) - np.log(seconds_a)).tolist())
    return PairResult(
        ratio=float(np.exp(np.median(log_ratios))),
        interval=_interval(log_ratios, confidence, 1, looks),
        confidence=confidence,
        rounds=len(log_ratios),
        calls=calls,
        log_ratios=log_ratios,
        seconds_a=tuple(seconds_a),
        seconds_b=tuple(seconds_b),
        extended=extended,
        looks=looks,
    )


def _interval(
    log_ratios: Sequence[float], confidence: float, comparisons: int, looks: int
) -> tuple[float, float]:
    needed = simultaneous_confidence(confidence, comparisons=comparisons, looks=looks)
    low, high = median_interval(log_ratios, needed)
    return math.exp(low), math.exp(high)


def control(
    arm: Arm,
    *,
    rounds: int = 20,
    within: float | None = None,
    confidence: float = CONFIDENCE,
    settle_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> PairResult:
    """Return an arm measured against itself: what this machine calls a difference when there is none.

    Args:
        arm: one call.
        rounds: pairs to measure.
        within: ratio up to which the arm may seem slower or faster than itself. If it seems more so after the first
            rounds, or if that is not known to twice as much, they are extended once: few rounds can be off by chance.
        confidence: of the interval.
        settle_s: as for ``measure_pairs``.
        clock: as for ``measure_pairs``.

    Raises:
        UsageError: as for ``measure_pairs``.
    """
    refuse_workers()
    require_rounds(rounds, simultaneous_confidence(confidence, looks=1 if within is None else LOOKS))
    arms = Rounds(arm, arm, settle_s=settle_s, clock=clock)

    def is_off(result: PairResult) -> bool:
        assert within is not None
        return result.off() > math.log(within) or result.most_off() > 2 * math.log(within)

    return _look(arms, rounds, confidence, None if within is None else is_off)


def refuse_workers() -> None:
    """Refuse to time anything beside other test processes.

    Raises:
        UsageError: this is a pytest-xdist worker.
    """
    worker = os.environ.get(_WORKER_VARIABLE)
    if worker:
        raise UsageError(
            "timing",
            found=f"running under pytest-xdist (worker {worker})",
            expected="one process: other workers on the same cores make every time meaningless",
            action="run the timing suites without -n",
        )
