"""Golden files that have fallen out of step: records and floors that belong to nothing, or lack each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from slimgate.flow import Case, Status
from slimgate.gate.floors import Floor, load_every_floor
from slimgate.gate.judgement import Finding, Judgement
from slimgate.gate.records import Record, load_every_record
from slimgate.gate.waivers import Waiver

ORPHAN_RECORD = "orphan record"
UNUSED_FLOOR = "unused floor"
FLOOR_WITHOUT_RECORD = "floor without record"
RECORD_WITHOUT_FLOOR = "record without floor"
UNKNOWN_STUDY = "golden files of no study"
WAIVER_OF_NO_STUDY = "waiver of no study"


def find_untidy(
    golden: Path,
    study: str,
    judgement: Judgement,
    *,
    cases: Collection[Case] | None = None,
    studies: Collection[str] = (),
    waivers: Iterable[Waiver] = (),
) -> tuple[Finding, ...]:
    """Return what is untidy about the golden files of a study, on every device that they are for.

    What a verdict says already is not said again: a floor of this machine that belongs to no case, or that has no
    record, is INVALID.

    Args:
        golden: the ``golden`` folder.
        study: the study's id.
        judgement: what was judged with these files.
        cases: every case of the study; None after a run of a part of it, which cannot tell what is unused.
        studies: ids of every study of the project; empty: not known.
        waivers: of any study.

    Raises:
        InputError: a floors file or a record cannot be read.
    """
    floors, records = load_every_floor(golden, study), load_every_record(golden, study)
    found: list[Finding | None] = (
        [] if cases is None else [_orphan_records(records, cases), _unused_floors(floors, cases, judgement)]
    )
    known = [one for one in records if cases is None or one.measurement.case in cases]
    found += [
        _floors_without_record(floors, records, judgement),
        _records_without_floor(floors, known),
        _unknown_studies(golden, studies),
        _waivers_of_no_study(golden, waivers, {study, *studies}),
    ]
    return tuple(finding for finding in found if finding is not None)


def _orphan_records(records: Iterable[Record], cases: Collection[Case]) -> Finding | None:
    return _finding(
        ORPHAN_RECORD,
        (record.where for record in records if record.measurement.case not in cases),
        "the study has no such case: remove the file",
    )


def _unused_floors(floors: Iterable[Floor], cases: Collection[Case], judgement: Judgement) -> Finding | None:
    said = {verdict.golden for verdict in judgement.verdicts}
    return _finding(
        UNUSED_FLOOR,
        (
            f"{floor.where} ({floor.case})"
            for floor in floors
            if floor.case not in cases and floor.where not in said
        ),
        "the study has no such case: remove the floor",
    )


def _floors_without_record(
    floors: Iterable[Floor], records: Iterable[Record], judgement: Judgement
) -> Finding | None:
    measured = {(one.measurement.case, one.measurement.metric, one.measurement.device) for one in records}
    said = {verdict.golden for verdict in judgement.verdicts if verdict.status is Status.INVALID}
    return _finding(
        FLOOR_WITHOUT_RECORD,
        (
            f"{floor.where} ({floor.case} {floor.metric})"
            for floor in floors
            if (floor.case, floor.metric, floor.device) not in measured and floor.where not in said
        ),
        "no accepted run stands behind it: run the study where it can be measured, and accept that",
    )


def _records_without_floor(floors: Iterable[Floor], records: Iterable[Record]) -> Finding | None:
    asked = {(floor.case, floor.device) for floor in floors}
    records = list(records)
    baselines = {
        record.where
        for record in records
        if record.measurement.provenance.get("baseline") == str(record.measurement.case)
    }
    return _finding(
        RECORD_WITHOUT_FLOOR,
        (
            record.where
            for record in records
            if (record.measurement.case, record.measurement.device) not in asked
            # What a case is timed against is timed against itself: nobody sets a floor for that.
            and record.where not in baselines
        ),
        "no floor asks for anything that it holds: nothing keeps these numbers from getting worse",
        strict=False,
    )


def _unknown_studies(golden: Path, studies: Collection[str]) -> Finding | None:
    return _finding(
        UNKNOWN_STUDY,
        sorted(_strangers(golden, studies)) if studies else (),
        "no study beside this one has that id: remove them with the study they were for",
        strict=False,
    )


def _waivers_of_no_study(golden: Path, waivers: Iterable[Waiver], studies: Collection[str]) -> Finding | None:
    # No run of a study ever looks at the waiver of one that is not there: a slip of the pen would never be told.
    return _finding(
        WAIVER_OF_NO_STUDY,
        (
            f"{waiver.where} ({waiver.case} {waiver.subject})"
            for waiver in waivers
            if waiver.case.study not in studies and not _has_files(golden, waiver.case.study)
        ),
        "there is no study of that id, and no floor or record of one: correct it, or remove it",
    )


def _has_files(golden: Path, study: str) -> bool:
    floors = [*(golden / "floors").glob("*.toml")]
    return (golden / "records" / study).is_dir() or any(
        path.stem == study or path.stem.startswith(f"{study}.") for path in floors
    )


def _strangers(golden: Path, studies: Collection[str]) -> Iterator[str]:
    for folder in (golden / "records").glob("*"):
        if folder.is_dir() and folder.name not in studies:
            yield f"{golden.name}/records/{folder.name}"
    for path in (golden / "floors").glob("*.toml"):
        # A study's id may hold dots, and so may a device's part of the name.
        if not any(path.stem == study or path.stem.startswith(f"{study}.") for study in studies):
            yield f"{golden.name}/floors/{path.name}"


def _finding(kind: str, subjects: Iterable[str], message: str, *, strict: bool = True) -> Finding | None:
    listed = tuple(dict.fromkeys(subjects))
    return Finding(kind=kind, subjects=listed, message=message, strict=strict) if listed else None
