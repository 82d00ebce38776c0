"""Whether a run may become evidence: what is asked before a record is written. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Case, Measurement, Status
from slimgate.gate.evidence import refuse_dirty, refuse_partial, refuse_strange_devices, refuse_unusable
from slimgate.gate.floors import ANY_DEVICE, Floors, load_floors, runtime_major
from slimgate.gate.judgement import Judgement
from slimgate.gate.kinds import PAYS, WHOLE_CASE, is_timed
from slimgate.gate.matrix import Matrix, judge_run
from slimgate.gate.provenance import find_mismatches
from slimgate.gate.records import Records, load_records, record_of
from slimgate.gate.serialise import RunFiles
from slimgate.gate.waive import apply_waivers
from slimgate.gate.waivers import load_waivers
from slimgate.gate.weigh import Scale, is_vacuous, status_of

Key = tuple[Case, str]

_SHORT = (Status.FAIL, Status.INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A run that may be accepted, and what accepting it changes.

    Attributes:
        measurements: those whose records are written.
        kept: ids of cases whose records of another machine stay as they are.
        scale: what its numbers are weighed with.
        differences: what is another thing than in the records that it replaces, with the number of cases.
        judgement: of the run, by the floors as they are now, if its own numbers were the records.
    """

    measurements: tuple[Measurement, ...]
    kept: tuple[str, ...]
    scale: Scale
    differences: Mapping[str, int]
    judgement: Judgement


def examine_run(
    files: RunFiles, golden: Path, *, today: date, reason: str = "", dirty: bool = False, moved: bool = False
) -> Examined:
    """Return what accepting a run means, after refusing one that is no evidence.

    The run is judged again by the floors as they are now, with its own numbers as the records. Nothing may be
    INVALID then but what lacks a floor: that evidence was missing, or of something else, is what accepting mends.

    Args:
        files: the run.
        golden: the ``golden`` folder.
        today: for waivers, and for the date of new floors.
        reason: why floors are loosened, or records of something else replaced.
        dirty: accept a run of uncommitted code.
        moved: replace records that another machine made.

    Raises:
        UsageError: the run is partial or of uncommitted code, or a reason is needed and missing.
        InputError: a measurement or a verdict shows that the run is no evidence, or it is of another device.
    """
    refuse_partial(files)
    refuse_dirty(files, allowed=dirty)
    refuse_unusable(files)
    study = str(files.run["study"]["id"])
    devices = {one.device for one in files.measurements} - {ANY_DEVICE}
    floors = load_floors(golden, study, device=devices)
    records = load_records(golden, study, device=devices)
    refuse_strange_devices(files, golden, floors)
    # A run without times has no number of a device, and was made on one all the same.
    judgement = _judge_as_accepted(files, floors, golden, today, devices | {str(files.run.get("device"))})
    changed = _find_differences(files.measurements, floors, records)
    scale = Scale(
        floors=floors,
        required=tuple(files.run["study"].get("required", ())),
        measured={(one.case, one.metric): one for one in files.measurements},
        anew=frozenset(changed),
        waived=frozenset((one.case, one.metric) for one in judgement.waived),
        broken=files.run.get("broken", {}),
        reason=reason.strip(),
        today=today.isoformat(),
    )
    _refuse_unexplained(files, judgement, scale)
    kept = _kept_of_other_machine(files, records, set(changed), moved=moved)
    differences = _count_cases(changed)
    _refuse_without_reason(files, differences, _find_short(files, scale), reason)
    return Examined(
        measurements=tuple(
            one for one in files.measurements if not (one.device == ANY_DEVICE and one.case in kept)
        ),
        kept=tuple(str(case) for case in sorted(kept)),
        scale=scale,
        differences=differences,
        judgement=judgement,
    )


def _judge_as_accepted(
    files: RunFiles, floors: Floors, golden: Path, today: date, devices: Collection[str]
) -> Judgement:
    """Return the verdicts on a run if its own numbers were the records; those that are INVALID then stay so."""
    gaps = {gap.case: gap.reason for gap in files.judgement.not_proven if gap.metric == WHOLE_CASE}
    named = [Case.parse(case) for case in files.run.get("cases", ())]
    cases = tuple(dict.fromkeys([*named, *(one.case for one in files.measurements), *gaps]))
    matrix = Matrix(
        cases=cases,
        full=True,
        required=tuple(files.run["study"].get("required", ())),
        not_proven=gaps,
        broken=files.run.get("broken", {}),
    )
    records = Records(
        by_key={(one.case, one.metric, one.device): record_of(one) for one in files.measurements}
    )
    judged = judge_run(files.measurements, floors, records, matrix)
    # Whether a variant pays is not judged again here: the run itself has found the waivers that cover nothing.
    waivers = [one for one in load_waivers(golden, today=today) if not one.subject.startswith(PAYS)]
    return apply_waivers(judged, waivers, cases=cases, full=True, today=today, devices=devices)


def _find_differences(
    measurements: Sequence[Measurement], floors: Floors, records: Records
) -> dict[Key, list[str]]:
    """Return by case and metric what is another thing than in its record, or than its floors are for."""
    found: dict[Key, list[str]] = {}
    for one in measurements:
        record = records.find(one.case, one.metric, one.device)
        texts = find_mismatches(record.measurement.provenance, one.provenance) if record else []
        versions = one.provenance.get("versions", {})
        ran = runtime_major(one.case, versions.items())
        of_runtime = [floor.runtime for floor in floors.for_metric(one.case, one.metric)]
        if ran and of_runtime and ran not in of_runtime:
            texts.append(f"other runtime version: {of_runtime[0]} → {ran}")
        if texts:
            found[one.case, one.metric] = texts
    return found


def _count_cases(changed: Mapping[Key, Sequence[str]]) -> dict[str, int]:
    cases: dict[str, set[Case]] = {}
    for (case, _), texts in changed.items():
        for text in texts:
            cases.setdefault(text, set()).add(case)
    return {text: len(of_text) for text, of_text in cases.items()}


def _refuse_unexplained(files: RunFiles, judgement: Judgement, scale: Scale) -> None:
    """Refuse what is INVALID for another reason than evidence that is missing or of something else."""
    causes = []
    for verdict in judgement.verdicts:
        if verdict.status is not Status.INVALID:
            continue
        measurement = scale.measured.get((verdict.case, verdict.metric))
        # A message's second line is its cause.
        why = verdict.message.splitlines()[1].strip().removeprefix("cause").strip()
        if measurement is None or any(
            status_of(measurement, floor, scale) is Status.INVALID
            and not is_vacuous(measurement, floor, scale)
            for floor in scale.floors_of(measurement)
        ):
            causes.append(f"{verdict.case} {verdict.metric} ({why})")
    if causes:
        raise InputError(
            str(files.directory),
            found=f"cannot be evidence: {name_offenders(dict.fromkeys(causes))}",
            expected="a run in which nothing is INVALID but for floors or records that are missing, "
            "or that are of other weights, data or settings",
            action="mend the cause and run the study again; remove floors and waivers of what is gone for good",
        )


def _find_short(files: RunFiles, scale: Scale) -> list[Key]:
    """Return what fails a floor, now or when it was judged, and is not waived.

    Whether a variant pays is no floor's question: accepting its numbers neither needs nor changes that verdict.
    """
    then = [
        (one.case, one.metric)
        for one in files.judgement.verdicts
        if one.status in _SHORT and not one.waived and not one.metric.startswith(PAYS)
    ]
    now = [
        (one.case, one.metric)
        for one in files.measurements
        for floor in scale.floors_of(one)
        if status_of(one, floor, scale) in _SHORT
    ]
    return [key for key in dict.fromkeys([*then, *now]) if key not in scale.waived]


def _kept_of_other_machine(
    files: RunFiles, records: Records, changed: set[Key], *, moved: bool
) -> frozenset[Case]:
    """Return the cases whose records of another machine stay: what is the same on every machine is measured once.

    Raises:
        InputError: such a record would have to be replaced.
    """
    if moved:
        return frozenset()
    theirs: dict[Case, str] = {}
    for one in files.measurements:
        record = records.find(one.case, one.metric, one.device) if one.device == ANY_DEVICE else None
        before = record.measurement.provenance.get("machine") if record else None
        if before and before != one.provenance.get("machine"):
            theirs[one.case] = before
    replaced = sorted({case for case, metric in changed if case in theirs and not is_timed(metric)})
    if replaced:
        raise InputError(
            str(files.directory),
            found=f"would replace records of another device, {name_offenders(sorted(set(theirs.values())))}: "
            f"{name_offenders(replaced)}",
            expected=f"a run on that device; this one is of {files.run.get('device')}",
            action="run the study there and accept that, or make this machine the one that evidence comes from "
            "with --another-device",
        )
    return frozenset(theirs)


def _refuse_without_reason(
    files: RunFiles, differences: Mapping[str, int], short: Sequence[Key], reason: str
) -> None:
    if reason.strip() or not (differences or short):
        return
    found = []
    if short:
        found.append(
            f"does not hold its floors: {name_offenders(f'{case} {metric}' for case, metric in short)}"
        )
    if differences:
        texts = [f"{text} ({count} cases)" for text, count in differences.items()]
        found.append(f"is not of what its records are of: {name_offenders(texts)}")
    raise UsageError(
        str(files.directory),
        found="; and it ".join(found),
        expected="a run that holds its floors and is of what they were set for, or a reason why not",
        action="mend the model, or say why with --reason",
    )
