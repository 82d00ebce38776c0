"""A whole run against every floor of its study: nothing that ought to be there may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slimgate.errors import nearest_name
from slimgate.flow import Case, Measurement, Status, Verdict
from slimgate.gate.floors import Floor, Floors, runtime_major
from slimgate.gate.judge import find_causes, judge
from slimgate.gate.judgement import Judgement, NotProven
from slimgate.gate.kinds import WHOLE_CASE, is_read_from_file, is_timed
from slimgate.gate.message import compose_advice, compose_reproduce, show_number
from slimgate.gate.pays import Claim, judge_claim
from slimgate.gate.propose import propose_floor
from slimgate.gate.records import Records
from slimgate.gate.vacuous import BrokenScores, refuse_vacuous
from slimgate.measure import metric_for


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What was meant to run.

    Attributes:
        cases: every case that was selected.
        full: whether those are all cases of the study, so that every floor must be used.
        required: metrics that every measured case must have a floor for.
        not_proven: cases of which less than everything could be measured here, with the reason (an engine
            without a GPU); what was measured of them is judged.
        failed: cases whose compression, export or measurement broke, with the error.
        companions: cases that were not selected, and measured for others to be compared with: no verdict is of them.
        run_id: id of this run.
        reproduce: command that messages complete with ``-k '<case>'``.
        timed: whether times were measured; they are not proven when they were not.
        claims: what the cases are there to gain, each with what was measured of it.
        broken: what the reference scores when it is broken on purpose; a floor that this holds is INVALID.
    """

    cases: Sequence[Case]
    full: bool
    required: Sequence[str]
    not_proven: Mapping[Case, str] = field(default_factory=dict)
    failed: Mapping[Case, str] = field(default_factory=dict)
    companions: Sequence[Case] = ()
    run_id: str = ""
    reproduce: str = "slimgate study"
    timed: bool = True
    claims: Sequence[Claim] = ()
    broken: BrokenScores = field(default_factory=dict)


def judge_run(
    measurements: Sequence[Measurement], floors: Floors, records: Records, matrix: Matrix
) -> Judgement:
    """Return the verdicts on a run.

    INVALID are, besides what ``judge`` finds: a case that failed, a metric that must have a floor and has
    none, a floor whose metric or case is missing, a floor that a broken detector holds, a metric measured twice.
    Claims are judged without floors. Not proven are, besides cases that could not run, the times of a device that has
    no floors yet.
    """
    run = _Run(measurements, floors, records, matrix)
    for case in matrix.cases:
        run.judge_case(case)
    if matrix.full:
        run.judge_vanished()
    run.verdicts += [judge_claim(claim, reproduce=matrix.reproduce) for claim in matrix.claims]
    return Judgement(verdicts=tuple(run.verdicts), not_proven=tuple(run.gaps))


class _Run:
    def __init__(
        self, measurements: Sequence[Measurement], floors: Floors, records: Records, matrix: Matrix
    ) -> None:
        self.floors, self.records, self.matrix = floors, records, matrix
        self.measured: dict[Case, dict[str, Measurement]] = {
            case: {} for case in (*matrix.cases, *matrix.companions)
        }
        self.verdicts: list[Verdict] = []
        self.gaps: list[NotProven] = []
        for measurement in measurements:
            if measurement.case not in self.measured:
                self.add_invalid(
                    measurement.case,
                    measurement.metric,
                    "measured, but its case was not selected",
                    measurement,
                )
                continue
            of_case = self.measured[measurement.case]
            if measurement.metric in of_case:
                self.add_invalid(
                    measurement.case, measurement.metric, "measured twice in one run", measurement
                )
            of_case[measurement.metric] = measurement

    def judge_case(self, case: Case) -> None:
        if case in self.matrix.failed:
            self.add_invalid(case, WHOLE_CASE, f"it failed: {self.matrix.failed[case]}")
            return
        if case in self.matrix.not_proven:
            self.gaps.append(NotProven(case=case, metric=WHOLE_CASE, reason=self.matrix.not_proven[case]))
        elif not self.measured[case]:
            self.add_invalid(case, WHOLE_CASE, "it was selected, and nothing of it was measured")
            return
        for metric in dict.fromkeys((*self.matrix.required, *self.floors.metrics_of(case))):
            self.judge_metric(case, metric)
        for metric, measurement in self.measured[case].items():
            # Nobody asked for this one, but a measurement that calls itself invalid must not pass unseen.
            asked = metric in self.matrix.required or self.floors.for_metric(case, metric)
            if not asked and not measurement.valid:
                self.add_invalid(case, metric, measurement.why_invalid, measurement)
            elif not asked and self.floors.awaits_floor(measurement):
                self.judge_without_floor(measurement)
        self.note_unmeasured_times(case)

    def judge_metric(self, case: Case, metric: str) -> None:
        measurement = self.measured[case].get(metric)
        floors = self.floors.for_metric(case, metric)
        if measurement is None:
            if is_timed(metric) and not self.matrix.timed:
                reason = (
                    "time was not measured: other processes shared the cores, or no timing test was selected"
                )
                self.gaps.append(NotProven(case=case, metric=metric, reason=reason))
            elif case not in self.matrix.not_proven or self.is_of_the_file(case, metric):
                near = nearest_name(metric, self.measured[case])
                cause = f"the metric was not measured{near}{self.broken_companions()}"
                self.add_invalid(case, metric, cause, floor=next(iter(floors), None))
            return
        if not floors:
            self.judge_without_floor(measurement)
            return
        versions = measurement.provenance.get("versions", {})
        ran = (runtime_major(case, versions.items()), measurement.device)
        # Floors of another runtime major or device are for another machine, unless they are all there is.
        for floor in [floor for floor in floors if (floor.runtime, floor.device) == ran] or floors[:1]:
            reference = self.reference_of(floor)
            verdict = judge(
                measurement,
                floor,
                record=self.records.find(case, metric, measurement.device),
                reference=reference,
                run_id=self.matrix.run_id,
                reproduce=self.matrix.reproduce,
            )
            self.verdicts.append(
                refuse_vacuous(verdict, measurement, floor, reference=reference, broken=self.matrix.broken)
            )

    def is_of_the_file(self, case: Case, metric: str) -> bool:
        """Return whether a floor asks for what is read from the file of a case: no device is needed for that."""
        # Parameters and FLOPs are known without a file, such as where its builder is not installed.
        has_file = "size_bytes" in self.measured[case]
        return has_file and is_read_from_file(metric) and bool(self.floors.for_metric(case, metric))

    def broken_companions(self) -> str:
        """Return what else is told of a metric that is missing: what it is compared with has no verdict of its own."""
        failed = self.matrix.failed
        return "".join(f"; {one} failed: {failed[one]}" for one in self.matrix.companions if one in failed)

    def judge_without_floor(self, measurement: Measurement) -> None:
        metric = measurement.metric
        is_known = measurement.device in self.floors.devices
        if is_timed(metric) and not is_known and measurement.valid:
            self.add_unknown_device(measurement.case, metric, measurement.device)
            return
        causes = find_causes(measurement)
        if not causes:
            line = propose_floor(measurement, broken=self.matrix.broken)
            causes = [f"no floor: paste into [case.floor]: {line}"]
        self.add_invalid(measurement.case, metric, causes[0], measurement)

    def note_unmeasured_times(self, case: Case) -> None:
        """Note what another device has a floor for, and this one neither a floor nor a number."""
        measured = self.measured[case]
        unknown = {one.device for one in measured.values() if is_timed(one.metric)} - self.floors.devices
        asked = {*measured, *self.matrix.required, *self.floors.metrics_of(case)}
        for metric in sorted(
            metric for of, metric in self.floors.elsewhere if of == case and metric not in asked
        ):
            for device in sorted(unknown):
                self.add_unknown_device(case, metric, device)

    def add_unknown_device(self, case: Case, metric: str, device: str) -> None:
        reason = f"no latency floors for {device}: 'slimgate accept RUN_DIR' prints them"
        self.gaps.append(NotProven(case=case, metric=metric, reason=reason))

    def judge_vanished(self) -> None:
        for floor in self.floors.floors:
            if floor.case not in self.measured:
                self.add_invalid(
                    floor.case, floor.metric, "the floor is unused: the study has no such case", floor=floor
                )

    def reference_of(self, floor: Floor) -> Measurement | None:
        if floor.relative_to is None:
            return None
        return self.measured.get(floor.relative_to, {}).get(floor.metric)

    def add_invalid(
        self,
        case: Case,
        metric: str,
        cause: str,
        measurement: Measurement | None = None,
        floor: Floor | None = None,
    ) -> None:
        value = None if measurement is None or math.isnan(measurement.value) else measurement.value
        unit = "" if metric == WHOLE_CASE else metric_for(metric).unit
        lines = [f"{case} {metric}: {Status.INVALID.value}", f"  cause      {cause}"]
        if value is not None and measurement is not None:
            lines.append(f"  measured   {show_number(value, measurement.unit)}")
        if floor is not None:
            lines.append(f"  golden     {floor.where} ({floor.date}: {floor.reason})")
        lines += compose_advice(Status.INVALID, metric, cause)
        lines.append(f"  reproduce  {compose_reproduce(case, self.matrix.reproduce)}")
        self.verdicts.append(
            Verdict(
                case=case,
                metric=metric,
                status=Status.INVALID,
                measured=value,
                floor=None if floor is None else (floor.min if floor.min is not None else floor.max),
                unit=unit,
                message="\n".join(lines),
                golden="" if floor is None else floor.where,
            )
        )
