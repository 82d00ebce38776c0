"""Measurements beside the floors that stand: which are new, tighter, looser, and which stay as they are. Pure."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from slimgate.flow import Case, Measurement, Status
from slimgate.gate.floors import Floor, Floors, runtime_major
from slimgate.gate.judge import judge
from slimgate.gate.kinds import is_timed
from slimgate.gate.records import record_of
from slimgate.gate.render import bounds_of, render_entry, render_floor
from slimgate.gate.renew import describe_change, is_much_tighter, is_tighter, renew_bounds
from slimgate.gate.vacuous import BrokenScores, refuse_vacuous


class Way(enum.StrEnum):
    """What a proposal does to the floors that stand."""

    LOOSER = "looser"
    TIGHTER = "tighter"
    VACUOUS = "vacuous"
    NEW = "new"
    STANDS = "stands"


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """One metric of one case, beside its floors.

    Attributes:
        measurement: what was measured.
        way: what the proposal does.
        floors: those that stand, of this runtime and device; empty for a new one.
        entries: what takes their place, an inline table per floor; empty when they stand, or nothing can.
        changes: both values and the difference, one text per bound.
    """

    measurement: Measurement
    way: Way
    floors: tuple[Floor, ...] = ()
    entries: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What measurements are weighed with.

    Attributes:
        floors: the floors that stand.
        required: metrics that every case must have a floor for.
        measured: every measurement of the run, for relative floors.
        anew: case and metric of what is another thing than its record (other weights); its absolute floors are
            tightened wherever that is worth a line.
        waived: case and metric of what is tolerated by a waiver: its floor stands.
        broken: what the reference scores when it is broken on purpose.
        reason: why floors are loosened.
        today: the date of new floors.
    """

    floors: Floors
    required: Collection[str]
    measured: Mapping[tuple[Case, str], Measurement]
    anew: Collection[tuple[Case, str]] = ()
    waived: Collection[tuple[Case, str]] = ()
    broken: BrokenScores = field(default_factory=dict)
    reason: str = ""
    today: str = ""

    def floors_of(self, measurement: Measurement) -> tuple[Floor, ...]:
        """Return the floors of a measurement's case, metric, runtime and device."""
        versions = measurement.provenance.get("versions", {})
        ran = (runtime_major(measurement.case, versions.items()), measurement.device)
        every = self.floors.for_metric(measurement.case, measurement.metric)
        return tuple(floor for floor in every if (floor.runtime, floor.device) == ran)

    def reference_of(self, floor: Floor) -> Measurement | None:
        """Return the measurement that a relative floor is held against."""
        return None if floor.relative_to is None else self.measured.get((floor.relative_to, floor.metric))


def weigh(measurements: Sequence[Measurement], scale: Scale) -> list[Weighing]:
    """Return every measurement that has a floor or ought to have one, in their order."""
    return [one for measurement in measurements for one in _weigh_one(measurement, scale)]


def status_of(measurement: Measurement, floor: Floor, scale: Scale) -> Status:
    """Return how a measurement stands to a floor if the run that it is of were its record.

    Vacuous floors are INVALID, as in a run.
    """
    reference = scale.reference_of(floor)
    verdict = judge(measurement, floor, record=record_of(measurement), reference=reference)
    return refuse_vacuous(verdict, measurement, floor, reference=reference, broken=scale.broken).status


def is_vacuous(measurement: Measurement, floor: Floor, scale: Scale) -> bool:
    """Return whether a floor is INVALID for no other reason than that a broken detector holds it."""
    unscored = Scale(floors=scale.floors, required=(), measured=scale.measured)
    return (
        status_of(measurement, floor, scale) is Status.INVALID
        and status_of(measurement, floor, unscored) is not Status.INVALID
    )


def _weigh_one(measurement: Measurement, scale: Scale) -> Iterator[Weighing]:
    floors = scale.floors_of(measurement)
    if not floors:
        if _ought_to_have_one(measurement, scale):
            yield Weighing(measurement=measurement, way=Way.NEW)
        return
    key = (measurement.case, measurement.metric)
    ways, entries, changes = [], [], []
    for floor in floors:
        way, entry, told = _renew(measurement, floor, scale, anew=key in scale.anew)
        ways.append(Way.STANDS if key in scale.waived else way)
        entries += [entry] if entry else []
        changes += told
    way = min(ways, key=list(Way).index)
    if way is Way.STANDS:
        yield Weighing(measurement=measurement, way=way, floors=floors)
        return
    yield Weighing(
        measurement=measurement, way=way, floors=floors, entries=tuple(entries), changes=tuple(changes)
    )


def _is_of_the_weights(floor: Floor) -> bool:
    """Return whether a floor follows what was measured; a budget of time, or a tolerated drop, is asked for."""
    return floor.relative_to is None and not is_timed(floor.metric)


def _ought_to_have_one(measurement: Measurement, scale: Scale) -> bool:
    metric = measurement.metric
    if metric in scale.required or scale.floors.for_metric(measurement.case, metric):
        return True
    return scale.floors.awaits_floor(measurement)


def _renew(measurement: Measurement, floor: Floor, scale: Scale, *, anew: bool) -> tuple[Way, str, list[str]]:
    """Return the way of one floor, the entry that takes its place (nothing where none can), and what changes."""
    status = status_of(measurement, floor, scale)
    bounds = renew_bounds(floor, measurement, reference=scale.reference_of(floor), broken=scale.broken)
    if is_vacuous(measurement, floor, scale):
        way, reason = Way.VACUOUS, "no better than a detector that is broken on purpose, and meant to be so"
        bounds = bounds if bounds and set(bounds) != set(bounds_of(floor)) else None
    elif status in (Status.FAIL, Status.INCONCLUSIVE):
        way, reason = Way.LOOSER, scale.reason
    elif bounds is not None and status is Status.STALE and is_tighter(floor, bounds):
        way, reason = Way.TIGHTER, "beaten with room to spare"
    elif bounds is not None and anew and _is_of_the_weights(floor) and is_much_tighter(floor, bounds):
        way, reason = Way.TIGHTER, scale.reason
    else:
        return Way.STANDS, render_floor(floor), []
    what = f"relative to {floor.relative_to}: " if floor.relative_to else ""
    if bounds is None:
        return way, "", [f"{what}no such floor can hold {measurement.value:.6g}: remove it"]
    entry = render_entry(bounds, floor.unit, relative_to=floor.relative_to, reason=reason, date=scale.today)
    return way, entry, [f"{what}{text}" for text in describe_change(floor, bounds)]
