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

Arm = Callable[[], object]
"""One call of what is timed."""

Clock = Callable[[], int]
"""Returns nanoseconds."""

_SAMPLE_NS = 1_000_000
_EXTENDED_NS = 12_000_000_000
_WARM_UP_NS = 200_000_000
_WARM_UP_CALLS = 3
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"

EXTENSION = 8
"""How many times the rounds there are after the one pre-declared extension.

Fewer where they would take more than 12 s at the pace of the warm-up, but twice as many at least.
"""

LOOKS = 2
"""How often a result with a budget is looked at: after the first rounds, and after the extension."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a ratio is held against, declared before anything is measured.

    Attributes:
        highest: the highest ratio that passes.
        comparisons: how many comparisons the run makes in all. The more there are, the surer one must be to fail.
    """

    highest: float
    comparisons: int = 1

    def is_open(self, result: PairResult) -> bool:
        """Return whether a result is neither shown to pass nor, among so many comparisons, shown to fail."""
        passes = result.interval[1] <= self.highest
        fails = result.simultaneous_interval(self.comparisons)[0] > self.highest
        return not (passes or fails)


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
        budget: what the ratio is held against. While that is open after the first rounds they are extended, once,
            to ``EXTENSION`` times as many; the confidence is shared out over the two looks.
        confidence: of the interval.
        settle_s: pause before every sample. Worker threads of one runtime go on spinning for some milliseconds
            after a call, on the cores that the other arm is timed on.
        clock: returns nanoseconds; replaced in tests.

    Raises:
        UsageError: under pytest-xdist, or with too few rounds for an interval at this confidence, or, once they
            were extended, among so many comparisons.
    """
    refuse_workers()
    looks = 1 if budget is None else LOOKS
    require_rounds(rounds, simultaneous_confidence(confidence, looks=looks))
    if budget is not None:
        surest = simultaneous_confidence(confidence, comparisons=budget.comparisons, looks=looks)
        require_rounds(2 * rounds, surest)
    fastest = (_warm_up(arm_a, clock), _warm_up(arm_b, clock))
    calls = _calls_per_sample(*fastest)
    pace_ns = calls[0] * fastest[0] + calls[1] * fastest[1] + round(2e9 * settle_s)
    seconds_a: list[float] = []
    seconds_b: list[float] = []
    result = None
    for planned in (rounds, extend_rounds(rounds, pace_ns))[:looks]:
        for index in range(len(seconds_a), planned):
            if index % 2 == 0:
                seconds_a.append(_time(arm_a, calls[0], clock, settle_s))
                seconds_b.append(_time(arm_b, calls[1], clock, settle_s))
            else:
                seconds_b.append(_time(arm_b, calls[1], clock, settle_s))
                seconds_a.append(_time(arm_a, calls[0], clock, settle_s))
        result = summarise_pairs(
            seconds_a, seconds_b, calls=calls, confidence=confidence, looks=looks, extended=planned > rounds
        )
        if budget is None or not budget.is_open(result):
            break
    assert result is not None
    return result


def extend_rounds(rounds: int, pace_ns: int) -> int:
    """Return how many rounds there are after the extension, at so many nanoseconds a round."""
    return max(2 * rounds, min(EXTENSION * rounds, _EXTENDED_NS // pace_ns))


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
    confidence: float = CONFIDENCE,
    settle_s: float = 0.0,
    clock: Clock = time.perf_counter_ns,
) -> PairResult:
    """Return an arm measured against itself: what this machine calls a difference when there is none.

    Raises:
        UsageError: as for ``measure_pairs``.
    """
    return measure_pairs(arm, arm, rounds=rounds, confidence=confidence, settle_s=settle_s, clock=clock)


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


def _warm_up(arm: Arm, clock: Clock) -> int:
    """Run the arm until it is warm; return the nanoseconds of its fastest call."""
    fastest = None
    began = clock()
    done = 0
    while done < _WARM_UP_CALLS or (clock() - began < _WARM_UP_NS and done < 50):
        before = clock()
        arm()
        spent = max(clock() - before, 1)
        fastest = spent if fastest is None else min(fastest, spent)
        done += 1
    return fastest or 1


def _calls_per_sample(fastest_a: int, fastest_b: int) -> tuple[int, int]:
    """Return how many calls of each arm make a sample that the clock resolves well.

    As many of both where they are nearly equally fast: delays are rare and long, so a sample of three calls has
    another median than one of two, and two arms that differ in nothing else would seem to differ.
    """
    calls_a, calls_b = (max(1, -(-_SAMPLE_NS // fastest)) for fastest in (fastest_a, fastest_b))
    if max(fastest_a, fastest_b) < 2 * min(fastest_a, fastest_b):
        calls_a = calls_b = max(calls_a, calls_b)
    return calls_a, calls_b


def _time(arm: Arm, calls: int, clock: Clock, settle_s: float) -> float:
    """Return seconds per call over ``calls`` calls, after a pause."""
    if settle_s:
        time.sleep(settle_s)
    began = clock()
    for _ in range(calls):
        arm()
    return max(clock() - began, 1) / calls / 1e9
