"""Floors that a deliberately broken detector would pass: they are green whatever happens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate.floors import Floor
from slimgate.gate.judge import judge
from slimgate.gate.message import show_number
from slimgate.gate.records import record_of
from slimgate.measure import metric_for

BrokenScores = Mapping[str, Mapping[str, float]]
"""What the reference scores when it is broken on purpose: by the way it was broken, then by metric."""

_GREEN = (Status.PASS, Status.STALE)


def refuse_vacuous(
    verdict: Verdict,
    measurement: Measurement,
    floor: Floor,
    *,
    reference: Measurement | None,
    broken: BrokenScores,
) -> Verdict:
    """Return the verdict, INVALID where a broken detector holds the same floor: such a floor shows nothing.

    Floors that only cap what is better when higher (``max`` on an accuracy) are left alone: they are for what is
    meant to score nothing.
    """
    if verdict.status not in _GREEN or not _bounds_the_worse_way(floor):
        return verdict
    passing = [
        (how, scores[floor.metric])
        for how, scores in broken.items()
        if floor.metric in scores and holds(floor, measurement, scores[floor.metric], reference=reference)
    ]
    if not passing:
        return verdict
    told = " and ".join(f"with {how} it scores {show_number(value, floor.unit)}" for how, value in passing)
    lines = verdict.message.splitlines()
    lines[0] = f"{verdict.case} {verdict.metric}: {Status.INVALID.value}"
    lines.insert(
        1,
        f"  cause      the floor is vacuous: the reference broken on purpose holds it too ({told}); "
        "write one that a broken detector fails, a max if nothing is what it should score, or none",
    )
    return replace(verdict, status=Status.INVALID, message="\n".join(lines))


def holds(floor: Floor, measurement: Measurement, value: float, *, reference: Measurement | None) -> bool:
    """Return whether a value in place of a measurement's own would pass a floor."""
    assumed = replace(measurement, value=value, interval=None, confidence=None, samples=())
    return judge(assumed, floor, record=record_of(assumed), reference=reference).status in _GREEN


def _bounds_the_worse_way(floor: Floor) -> bool:
    if metric_for(floor.metric).higher_is_better:
        return any(bound is not None for bound in (floor.min, floor.max_drop, floor.min_fraction))
    return any(bound is not None for bound in (floor.max, floor.max_rise, floor.max_fraction))
