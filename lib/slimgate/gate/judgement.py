"""The outcome of judging a run: verdicts, and what nobody could judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from slimgate.errors import name_offenders
from slimgate.flow import Case, Status, Verdict

WAIVED = "WAIVED"
"""What verdicts are counted under that are red, and tolerated by a waiver."""

_WORST_FIRST = (Status.FAIL, Status.INVALID, Status.INCONCLUSIVE, WAIVED, Status.STALE, Status.PASS)


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
class Finding:
    """Something about the golden files themselves that a person should tidy up.

    Attributes:
        kind: what it is, such as ``orphan record`` or ``unused waiver``.
        subjects: the files, floors or waivers that it is about.
        message: what that means, and what to do.
        strict: whether it fails a run whose floors are strict; else it is only told.
    """

    kind: str
    subjects: tuple[str, ...]
    message: str
    strict: bool = True

    @property
    def brief(self) -> str:
        """What a summary says: all of it where it can fail a run, else only how many there are."""
        return str(self) if self.strict else f"{self.kind}: {len(self.subjects)}, listed in the report"

    def __str__(self) -> str:
        count = f" ({len(self.subjects)})" if len(self.subjects) > 1 else ""
        return f"{self.kind}{count}: {name_offenders(self.subjects)}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Every verdict of a run, everything that was not proven, and what is untidy about the golden files."""

    verdicts: tuple[Verdict, ...] = ()
    not_proven: tuple[NotProven, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def worst_first(self) -> tuple[Verdict, ...]:
        """The verdicts, worst first, else in their order."""
        return tuple(sorted(self.verdicts, key=lambda verdict: _WORST_FIRST.index(_counted_as(verdict))))

    @property
    def waived(self) -> tuple[Verdict, ...]:
        """The verdicts that are red and tolerated by a waiver."""
        return tuple(verdict for verdict in self.verdicts if verdict.waived)

    def red(self, *, strict_floors: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts that fail the run, worst first."""
        return tuple(verdict for verdict in self.worst_first if is_red(verdict, strict_floors=strict_floors))

    def is_red(self, *, strict_floors: bool = False) -> bool:
        """Return whether the run fails: something is red, or nothing was judged at all."""
        untidy = strict_floors and any(finding.strict for finding in self.findings)
        return bool(self.red(strict_floors=strict_floors)) or untidy or not self.verdicts

    def counts(self) -> dict[str, int]:
        """Return how many verdicts have each status, worst first, and how much was not proven."""
        found = Counter(_counted_as(verdict) for verdict in self.verdicts)
        counts = {str(status): found[status] for status in _WORST_FIRST if found[status]}
        return {**counts, "not proven": len(self.not_proven)}

    def summary(self) -> str:
        """Return the counts as one line."""
        return ", ".join(f"{count} {name}" for name, count in self.counts().items())


def is_red(verdict: Verdict, *, strict_floors: bool = False) -> bool:
    """Return whether a verdict fails the run: a stale floor when floors are strict, a waived one never."""
    stale = strict_floors and verdict.status is Status.STALE
    return not verdict.waived and (verdict.status.is_red or stale)


def _counted_as(verdict: Verdict) -> str:
    return WAIVED if verdict.waived else verdict.status
