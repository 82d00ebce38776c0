"""The outcome of judging a run: verdicts, and what nobody could judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from slimgate.flow import Case, Status, Verdict

_WORST_FIRST = (Status.FAIL, Status.INVALID, Status.INCONCLUSIVE, Status.STALE, Status.PASS)


@dataclass(frozen=True, kw_only=True)
class NotProven:
    """Something that was left out for a reason: neither green nor red, and counted.

    Attributes:
        case: the case.
        metric: the metric, or ``case`` when none of the case was measured.
        reason: why, for people.
    """

    case: Case
    metric: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Every verdict of a run, and everything that was not proven."""

    verdicts: tuple[Verdict, ...] = ()
    not_proven: tuple[NotProven, ...] = ()

    @property
    def worst_first(self) -> tuple[Verdict, ...]:
        """The verdicts, worst first, else in their order."""
        return tuple(sorted(self.verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.status)))

    def red(self, *, strict_floors: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts that fail the run, worst first."""
        return tuple(verdict for verdict in self.worst_first if is_red(verdict, strict_floors=strict_floors))

    def is_red(self, *, strict_floors: bool = False) -> bool:
        """Return whether the run fails: something is red, or nothing was judged at all."""
        return bool(self.red(strict_floors=strict_floors)) or not self.verdicts

    def counts(self) -> dict[str, int]:
        """Return how many verdicts have each status, worst first, and how much was not proven."""
        found = Counter(verdict.status for verdict in self.verdicts)
        counts = {status.value: found[status] for status in _WORST_FIRST if found[status]}
        return {**counts, "not proven": len(self.not_proven)}

    def summary(self) -> str:
        """Return the counts as one line."""
        return ", ".join(f"{count} {name}" for name, count in self.counts().items())


def is_red(verdict: Verdict, *, strict_floors: bool = False) -> bool:
    """Return whether a verdict fails the run; a stale floor does so when floors are strict."""
    return verdict.status.is_red or (strict_floors and verdict.status is Status.STALE)
