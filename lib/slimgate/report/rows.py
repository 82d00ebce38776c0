"""The cases of a run as rows: each with its record, its verdicts and where it stands, worst first."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.flow import Case, Status, Verdict
from slimgate.gate import WHOLE_CASE, NotProven, RunFiles

_SPARSE_BELOW = 0.98
"""Share of non-zero parameters below which zeros were put there on purpose."""


class Standing(enum.StrEnum):
    """Where a case stands: its worst verdict, or why it has none. In the order of badness."""

    FAIL = "FAIL"
    INVALID = "INVALID"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_JUDGED = "NOT JUDGED"
    WAIVED = "WAIVED"
    STALE = "STALE"
    NOT_PROVEN = "NOT PROVEN"
    PASS = "PASS"

    @property
    def symbol(self) -> str:
        """A mark that tells standings apart without colour."""
        return _SYMBOLS[self]

    @property
    def tone(self) -> str:
        """``red``, ``amber``, ``grey`` or ``green``."""
        return _TONES[self]

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Standing).index(self)


_SYMBOLS = {
    Standing.FAIL: "✕",
    Standing.INVALID: "!",
    Standing.INCONCLUSIVE: "?",
    Standing.NOT_JUDGED: "○",
    Standing.WAIVED: "~",
    Standing.STALE: "↑",
    Standing.NOT_PROVEN: "–",
    Standing.PASS: "✓",
}
_TONES = {
    Standing.FAIL: "red",
    Standing.INVALID: "red",
    Standing.INCONCLUSIVE: "red",
    Standing.NOT_JUDGED: "amber",
    Standing.WAIVED: "amber",
    Standing.STALE: "amber",
    Standing.NOT_PROVEN: "grey",
    Standing.PASS: "green",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case.

    Attributes:
        case: its id.
        record: the case record; empty when only a verdict knows the case (it vanished).
        verdicts: its verdicts, worst first.
        gaps: what was not proven of it.
        about: one sentence on the variant.
        is_baseline: whether it is the FP32 case that the run names as its baseline.
    """

    case: Case
    record: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    gaps: tuple[NotProven, ...]
    about: str
    is_baseline: bool

    @property
    def name(self) -> str:
        """``variant@runtime``."""
        return f"{self.case.variant}@{self.case.runtime}"

    @property
    def standing(self) -> Standing:
        """The worst verdict; a green case of which nothing ran is not proven."""
        if self.verdicts and self.verdicts[0].waived:
            return Standing.WAIVED
        worst = self.verdicts[0].status if self.verdicts else None
        if worst is not None and (worst.is_red or worst is Status.STALE):
            return Standing(worst.value)
        if self.why_not_proven:
            return Standing.NOT_PROVEN
        return Standing.PASS if worst is Status.PASS else Standing.NOT_JUDGED

    @property
    def loud(self) -> list[Verdict]:
        """The verdicts that a reader must act on, worst first: red, waived and stale ones."""
        return [one for one in self.verdicts if is_loud(one)]

    @property
    def why_not_proven(self) -> str:
        """Why the case as a whole was not measured here, or nothing."""
        reasons = [gap.reason for gap in self.gaps if gap.metric == WHOLE_CASE]
        return reasons[0] if reasons else str(self.record.get("not_proven", ""))

    @property
    def precision(self) -> str:
        """The precision the case claims, or nothing."""
        return str(self.record.get("precision", ""))

    @property
    def is_sparse(self) -> bool:
        """Whether weights were set to zero where they are (which makes nothing smaller or faster)."""
        kept, total = self.number("model", "nonzero_parameters"), self.number("model", "parameters")
        return kept is not None and total is not None and kept < _SPARSE_BELOW * total

    @property
    def is_engine(self) -> bool:
        """Whether the artifact is an engine, built for one kind of GPU."""
        return self.record.get("artifact", {}).get("format") == "engine" or self.case.runtime.startswith(
            "tensorrt"
        )

    def number(self, *keys: str) -> float | None:
        """Return a number of the record, or None when any part of the way to it is absent."""
        value: Any = self.record
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        return None if value is None else float(value)

    def latency(self, batch: int = 1) -> Mapping[str, Any] | None:
        """Return the latency entry of a batch size, or None."""
        entry: Mapping[str, Any] | None = self.record.get("latency", {}).get(f"batch{batch}")
        return entry


def list_rows(files: RunFiles) -> list[Row]:
    """Return a row for each case in the run's order: those that ran, then those only verdicts know."""
    order = dict.fromkeys(files.run["cases"])
    order.update(dict.fromkeys(files.cases))
    order.update(dict.fromkeys(str(verdict.case) for verdict in files.judgement.verdicts))
    order.update(dict.fromkeys(str(gap.case) for gap in files.judgement.not_proven))
    titles = files.run.get("titles", {})
    return [
        Row(
            case=Case.parse(name),
            record=files.cases.get(name, {}),
            verdicts=tuple(one for one in files.judgement.worst_first if str(one.case) == name),
            gaps=tuple(one for one in files.judgement.not_proven if str(one.case) == name),
            about=str(titles.get(name, "")),
            is_baseline=name == files.run.get("baseline"),
        )
        for name in order
    ]


def is_loud(verdict: Verdict) -> bool:
    """Return whether a reader must act on a verdict: it is red, waived or stale."""
    return verdict.status.is_red or verdict.status is Status.STALE


def sort_worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return rows by standing, then those without accuracy, then by accuracy, lowest first."""

    def badness(row: Row) -> tuple[int, bool, float]:
        accuracy = row.number("accuracy", "coco", "AP")
        return row.standing.rank, accuracy is not None, accuracy or 0.0

    return sorted(rows, key=badness)


def baseline_row(rows: Sequence[Row]) -> Row | None:
    """Return the FP32 row of the run, or None."""
    return next((row for row in rows if row.is_baseline), None)


def why_not_judged(entry: Mapping[str, Any]) -> str:
    """Return why nothing may be said by a comparison of times, or nothing where something may."""
    return str(entry.get("why_invalid") or entry.get("why_no_claim") or "")


def judge_speed(row: Row, batch: int = 1) -> str:
    """Return what a latency interval shows, in words; nothing when there is none.

    The A/A control's interval is what the machine calls no difference: an interval that does not lie wholly
    beyond it shows nothing.
    """
    entry = row.latency(batch)
    if entry is None or "interval" not in entry:
        return ""
    if entry.get("baseline") == str(row.case):
        return "A/A control"
    if why_not_judged(entry):
        return "cannot be judged"
    if row.is_sparse:
        return "zeros: no speed-up"
    low, high = entry["interval"]
    control_low, control_high = entry.get("control", {}).get("interval", (1.0, 1.0))
    if high < min(1.0, control_low):
        return "faster"
    return "slower" if low > max(1.0, control_high) else "no difference shown"
