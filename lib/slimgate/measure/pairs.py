"""Latency as interleaved pairs: ratios inside one run, with an exact interval."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimgate.errors import UsageError

Arm = Callable[[], object]
"""One call of what is timed."""

Clock = Callable[[], int]
"""Returns nanoseconds."""

CONFIDENCE = 0.95
_SAMPLE_NS = 3_000_000
_WARM_UP_NS = 200_000_000
_WARM_UP_CALLS = 3
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Arm B against arm A on one machine in one run.

    Attributes:
        ratio: median over rounds of seconds(B) / seconds(A); below 1, B is faster.
        interval: exact confidence interval of ``ratio``.
        confidence: of the interval.
        rounds: how many A/B pairs were measured, an extension included.
        calls: calls per sample, of A and of B: short calls are summed until the clock's grain does not
        matter.
        log_ratios: log(B) - log(A) of every round.
        seconds_a: seconds per call of A in every round.
        seconds_b: seconds per call of B in every round.
        extended: whether the one pre-declared extension was used.
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

    def to_json(self) -> dict[str, Any]:
        """Return the result as a ``latency`` entry of a case record."""
        return {
            "ratio": self.ratio,
            "interval": list(self.interval),
            "confidence": self.confidence,
            "rounds": self.rounds,
            "calls": list(self.calls),
            "extended": self.extended,
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
    extend_while: Callable[[tuple[float, float]], bool] | None = None,
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
        extend_while: given the interval of the ratio, whether it is undecided; then the rounds are doubled,
        once.
        confidence: of the interval.
        settle_s: pause before every sample. Worker threads of one runtime go on spinning for some milliseconds
            after a call, on the cores that the other arm is timed on.
        clock: returns nanoseconds; replaced in tests.

    Raises:
        UsageError: under pytest-xdist, or with too few rounds for an interval at this confidence.
    """
    refuse_workers()
    require_rounds(rounds, confidence)
    calls = (_warm_up(arm_a, clock), _warm_up(arm_b, clock))
    seconds_a: list[float] = []
    seconds_b: list[float] = []
    extended = False
    planned = rounds
    while True:
        for index in range(len(seconds_a), planned):
            if index % 2 == 0:
                seconds_a.append(_time(arm_a, calls[0], clock, settle_s))
                seconds_b.append(_time(arm_b, calls[1], clock, settle_s))
            else:
                seconds_b.append(_time(arm_b, calls[1], clock, settle_s))
                seconds_a.append(_time(arm_a, calls[0], clock, settle_s))
        log_ratios = np.log(seconds_b) - np.log(seconds_a)
        low, high = median_interval(log_ratios, confidence)
        interval = float(np.exp(low)), float(np.exp(high))
        if extended or extend_while is None or not extend_while(interval):
            break
        extended, planned = True, 2 * rounds
    return PairResult(
        ratio=float(np.exp(np.median(log_ratios))),
        interval=interval,
        confidence=confidence,
        rounds=len(seconds_a),
        calls=calls,
        log_ratios=tuple(log_ratios.tolist()),
        seconds_a=tuple(seconds_a),
        seconds_b=tuple(seconds_b),
        extended=extended,
    )


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


def median_interval(values: Any, confidence: float) -> tuple[float, float]:
    """Return the exact (distribution-free) confidence interval of the median of ``values`` ``(n,)``.

    Source: order statistics and the binomial distribution, Conover, Practical Nonparametric Statistics, 3.2.
    """
    from scipy import stats

    interval = stats.quantile_test(values, q=0, p=0.5).confidence_interval(confidence_level=confidence)
    return float(interval.low), float(interval.high)


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


def require_rounds(rounds: int, confidence: float) -> None:
    """Refuse fewer rounds than an exact interval of the median needs at this confidence.

    Raises:
        UsageError: even the interval from the smallest to the largest value covers the median less often.
    """
    needed = 2
    while 1 - 0.5 ** (needed - 1) < confidence:
        needed += 1
    if rounds < needed:
        raise UsageError(
            f"rounds {rounds}",
            found=f"too few for an exact {confidence:.0%} interval",
            expected=f"at least {needed}",
            action=f"measure {needed} rounds or more",
        )


def _warm_up(arm: Arm, clock: Clock) -> int:
    """Run the arm until it is warm; return how many calls make a sample that the clock resolves well."""
    fastest = None
    began = clock()
    done = 0
    while done < _WARM_UP_CALLS or (clock() - began < _WARM_UP_NS and done < 50):
        before = clock()
        arm()
        spent = max(clock() - before, 1)
        fastest = spent if fastest is None else min(fastest, spent)
        done += 1
    return max(1, -(-_SAMPLE_NS // (fastest or 1)))


def _time(arm: Arm, calls: int, clock: Clock, settle_s: float) -> float:
    """Return seconds per call over ``calls`` calls, after a pause."""
    if settle_s:
        time.sleep(settle_s)
    began = clock()
    for _ in range(calls):
        arm()
    return max(clock() - began, 1) / calls / 1e9
