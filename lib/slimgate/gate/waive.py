"""What waivers do to a judgement: a red verdict keeps its status and stops failing the run. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

from slimgate.flow import Case, Status, Verdict
from slimgate.gate.judgement import Finding, Judgement
from slimgate.gate.kinds import WHOLE_CASE
from slimgate.gate.waivers import Waiver
from slimgate.measure import is_metric, metric_for

UNUSED = "unused waiver"

_WAIVABLE = (Status.FAIL, Status.INCONCLUSIVE)


def apply_waivers(
    judgement: Judgement,
    waivers: Sequence[Waiver],
    *,
    cases: Collection[Case],
    full: bool,
    today: date,
    devices: Collection[str],
) -> Judgement:
    """Return the judgement with its waived verdicts marked, and with what is wrong about the waivers.

    A waiver covers one FAIL or INCONCLUSIVE verdict: that of its case and of its metric or check, exactly.
    INVALID cannot be waived: nobody knows what it would be that is tolerated. A waiver whose last day is over is
    INVALID itself. One that waives nothing is a finding. One of other devices does nothing here but say so in what
    is red, and is a finding once it has expired.

    Args:
        judgement: the run's verdicts.
        waivers: of any study; those of other studies are left alone.
        cases: the cases that were selected: only their waivers are looked at, unless ``full``.
        full: whether those are all cases of the study.
        today: the day of the run.
        devices: the keys of this machine's devices.
    """
    studies = {case.study for case in cases}
    verdicts = list(judgement.verdicts)
    findings = list(judgement.findings)
    for waiver in waivers:
        if waiver.case.study not in studies or not (full or waiver.case in cases):
            continue
        of_it = [
            index
            # Not those that say that another waiver has expired: nothing covers them.
            for index, verdict in enumerate(judgement.verdicts)
            if (verdict.case, verdict.metric) == (waiver.case, waiver.subject)
        ]
        if not waiver.is_of(devices):
            for index in of_it:
                if verdicts[index].status in _WAIVABLE:
                    verdicts[index] = _tell(verdicts[index], _elsewhere(waiver, devices))
            if waiver.has_expired(today):
                findings.append(_unused(waiver, f"it expired on {waiver.expires}, on another device"))
            continue
        if waiver.has_expired(today):
            _mark_expired(verdicts, of_it, waiver)
            continue
        used = False
        for index in of_it:
            verdicts[index], covered = _waive(verdicts[index], waiver)
            used = used or covered or verdicts[index].status is Status.INVALID
        if not used and not _is_unknown(judgement, waiver):
            known = waiver.case in cases
            findings.append(
                _unused(waiver, "what it waives is not red" if known else "the study has no such case")
            )
    return replace(judgement, verdicts=tuple(verdicts), findings=tuple(findings))


def _waive(verdict: Verdict, waiver: Waiver) -> tuple[Verdict, bool]:
    """Return the verdict after a waiver that holds today, and whether there was something to waive."""
    if verdict.status is Status.INVALID:
        return _tell(
            verdict, f"{waiver.where} does not cover it: what cannot be judged cannot be waived"
        ), False
    if verdict.status not in _WAIVABLE:
        return verdict, False
    if _is_beyond(verdict, waiver):
        return _tell(verdict, f"{waiver.where} does not cover it: worse than worst = {waiver.worst:g}"), True
    waived = replace(_tell(verdict, str(waiver)), waived=str(waiver))
    first, _, rest = waived.message.partition("\n")
    head = f"{first.removesuffix(verdict.status.value)}{waived.label}"
    return replace(waived, message=f"{head}\n{rest}"), True


def _is_unknown(judgement: Judgement, waiver: Waiver) -> bool:
    """Return whether this run cannot tell what the waiver is for: it was not measured, or its case broke."""
    places = ((waiver.case, waiver.subject), (waiver.case, WHOLE_CASE))
    return any((one.case, one.metric) in places for one in judgement.not_proven) or any(
        (one.case, one.metric) == places[1] for one in judgement.verdicts
    )


def _is_beyond(verdict: Verdict, waiver: Waiver) -> bool:
    if waiver.worst is None:
        return False
    if verdict.measured is None:
        return True
    better_up = metric_for(waiver.subject).higher_is_better
    return verdict.measured < waiver.worst if better_up else verdict.measured > waiver.worst


def _mark_expired(verdicts: list[Verdict], of_it: Sequence[int], waiver: Waiver) -> None:
    """Say in the red verdict that its waiver is over; where nothing is red any more, the waiver itself is."""
    what = f"its waiver expired on {waiver.expires} ({waiver.owner}, {waiver.where}: {waiver.reason})"
    red = [index for index in of_it if verdicts[index].status.is_red]
    for index in red:
        verdicts[index] = _tell(verdicts[index], what)
    if not red:
        verdicts.append(
            Verdict(
                case=waiver.case,
                metric=waiver.subject,
                status=Status.INVALID,
                measured=None,
                floor=None,
                unit=metric_for(waiver.subject).unit if is_metric(waiver.subject) else "",
                message=f"{waiver.case} {waiver.subject}: {Status.INVALID.value}\n"
                f"  cause      {what}; nothing is red that it could waive: remove it",
                golden=waiver.where,
            )
        )


def _elsewhere(waiver: Waiver, devices: Collection[str]) -> str:
    return (
        f"{waiver.where} does not cover it: it is of {' and '.join(waiver.devices)}, "
        f"and this is {' with '.join(sorted(devices))}"
    )


def _unused(waiver: Waiver, why: str) -> Finding:
    return Finding(
        kind=UNUSED,
        subjects=(f"{waiver.where} ({waiver.case} {waiver.subject})",),
        message=f"{why}: remove it",
    )


def _tell(verdict: Verdict, text: str) -> Verdict:
    """Return the verdict with a line about its waiver, before the one that says how to reproduce it."""
    lines = verdict.message.splitlines()
    at = next((index for index, line in enumerate(lines) if line.startswith("  reproduce")), len(lines))
    return replace(verdict, message="\n".join([*lines[:at], f"  waiver     {text}", *lines[at:]]))
