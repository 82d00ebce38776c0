"""Rounds of two arms: A B, B A, ..., one sample of each a round, on one machine in one process."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable

from slimgate.errors import UsageError

Arm = Callable[[], object]
"""One call of what is timed."""

Clock = Callable[[], int]
"""Returns nanoseconds."""

_SAMPLE_NS = 1_000_000
_EXTENDED_NS = 12_000_000_000
_WARM_UP_NS = 200_000_000
_WARM_UP_CALLS = 3
_WAKING_NS = 30_000_000

EXTENSION = 8
"""How many times the rounds there are after the one pre-declared extension.

Fewer where they would take more than 12 s at the pace of the warm-up, but twice as many at least.
"""


class Rounds:
    """The samples of two arms, taken alternately; both are warm before the first.

    Before each sample its arm is called once, untimed: the other arm, or the pause, has left caches full of something
    else and threads asleep. What waking them costs is about the same for every arm, so ratios of fast arms would be
    drawn towards 1. Where a call takes so long that waking is less than a hundredth of it, in both arms, that is left
    out.

    Args:
        arm_a: the baseline, one call.
        arm_b: what is judged, one call.
        settle_s: pause before every sample.
        clock: returns nanoseconds.

    Raises:
        UsageError: the clock stands still.

    Attributes:
        calls: calls per sample, of A and of B.
        untimed: calls of the arm before each sample.
        pace_ns: nanoseconds that a round takes at the pace of the fastest calls of the warm-up.
        seconds_a: seconds per call of A in every round so far.
        seconds_b: the same of B.
    """

    def __init__(self, arm_a: Arm, arm_b: Arm, *, settle_s: float, clock: Clock) -> None:
        self._arm_a, self._arm_b, self._settle_s, self._clock = arm_a, arm_b, settle_s, clock
        fastest = (_warm_up(arm_a, clock), _warm_up(arm_b, clock))
        self.calls = _calls_per_sample(*fastest)
        self.untimed = int(min(fastest) < _WAKING_NS)
        called = (calls + self.untimed for calls in self.calls)
        self.pace_ns = sum(map(operator.mul, called, fastest)) + round(2e9 * settle_s)
        self.seconds_a: list[float] = []
        self.seconds_b: list[float] = []

    def take(self, count: int) -> None:
        """Take rounds until there are so many; which arm is first alternates."""
        for index in range(len(self.seconds_a), count):
            if index % 2 == 0:
                self._sample_a()
                self._sample_b()
            else:
                self._sample_b()
                self._sample_a()

    def _sample_a(self) -> None:
        self.seconds_a.append(self._sample(self._arm_a, self.calls[0]))

    def _sample_b(self) -> None:
        self.seconds_b.append(self._sample(self._arm_b, self.calls[1]))

    def _sample(self, arm: Arm, calls: int) -> float:
        """Return seconds per call, after a pause and the untimed calls."""
        if self._settle_s:
            time.sleep(self._settle_s)
        for _ in range(self.untimed):
            arm()
        began = self._clock()
        for _ in range(calls):
            arm()
        return max(self._clock() - began, 1) / calls / 1e9


def extend_rounds(rounds: int, pace_ns: int) -> int:
    """Return how many rounds there are after the extension, at so many nanoseconds a round."""
    return max(2 * rounds, min(EXTENSION * rounds, _EXTENDED_NS // pace_ns))


def _warm_up(arm: Arm, clock: Clock) -> int:
    """Run the arm until it is warm; return the nanoseconds of its fastest call.

    Raises:
        UsageError: the clock does not move meanwhile: every call would be charged its smallest step.
    """
    fastest = None
    began = clock()
    done = 0
    while done < _WARM_UP_CALLS or (clock() - began < _WARM_UP_NS and done < 50):
        before = clock()
        arm()
        spent = max(clock() - before, 1)
        fastest = spent if fastest is None else min(fastest, spent)
        done += 1
    if clock() <= began:
        raise UsageError(
            "clock",
            found=f"it stands still, or runs backwards, over {done} calls",
            expected="a clock that moves while something runs, such as time.perf_counter_ns",
            action="time with another clock; without one no time can be judged on this machine",
        )
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
