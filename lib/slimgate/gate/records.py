"""Records: the evidence. What was measured when a floor was set, and what it takes to refuse it later."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from slimgate.errors import InputError
from slimgate.flow import Case, Json, Measurement
from slimgate.gate.floors import ANY_DEVICE, device_slug
from slimgate.gate.jsonfile import read_json, write_json
from slimgate.gate.serialise import case_block_from_json, case_block_to_json

RECORD_FORMAT = "slimgate-record/1"


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Which run a record was accepted from.

    Attributes:
        run_id: the run's id; a run is never judged by what was accepted from itself.
        started: when the run started, ISO 8601.
        git_commit: of the tree it ran in, if known.
        dirty: whether that tree had changes that no commit holds.
        reason: why it was accepted, where somebody said so.
    """

    run_id: str
    started: str
    git_commit: str | None
    dirty: bool = False
    reason: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the acceptance as JSON values."""
        return {
            "run_id": self.run_id,
            "started": self.started,
            "git_commit": self.git_commit,
            "dirty": self.dirty,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class Record:
    """One accepted measurement.

    Attributes:
        measurement: what was measured, with its provenance.
        accepted: the run it came from.
        where: its file, relative to the golden folder's parent.
    """

    measurement: Measurement
    accepted: Acceptance
    where: str


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records of one study that apply on the devices of one machine, by case, metric and device."""

    by_key: Mapping[tuple[Case, str, str], Record] = field(default_factory=dict)

    def find(self, case: Case, metric: str, device: str = ANY_DEVICE) -> Record | None:
        """Return the record of one metric of one case on one device, exactly, or None."""
        return self.by_key.get((case, metric, device))


def record_of(measurement: Measurement) -> Record:
    """Return the record that a measurement would have if it were accepted as it is."""
    accepted = Acceptance(run_id="", started="", git_commit=None)
    return Record(measurement=measurement, accepted=accepted, where="")


def load_records(golden: Path, study: str, *, device: str | Collection[str]) -> Records:
    """Return the records of a study: those of any device, and those of this machine's.

    Raises:
        InputError: a record cannot be read, or says that it is of another case or device.
    """
    by_key: dict[tuple[Case, str, str], Record] = {}
    for of_device in {ANY_DEVICE, *([device] if isinstance(device, str) else device)}:
        folder = golden / "records" / study / device_slug(of_device)
        for path in sorted(folder.glob("*.json")):
            shown = f"{golden.name}/{path.relative_to(golden).as_posix()}"
            for record in _read_record(path, shown, study, of_device):
                by_key[record.measurement.case, record.measurement.metric, of_device] = record
    return Records(by_key=by_key)


def load_every_record(golden: Path, study: str) -> tuple[Record, ...]:
    """Return the records of a study on every device, not only those of this machine.

    Raises:
        InputError: a record cannot be read, or lies where one of another case or device belongs.
    """
    found: list[Record] = []
    for path in sorted((golden / "records" / study).glob("*/*.json")):
        shown = f"{golden.name}/{path.relative_to(golden).as_posix()}"
        found += _read_record(path, shown, study, path.parent.name)
    return tuple(found)


def write_records(measurements: Sequence[Measurement], accepted: Acceptance, golden: Path) -> list[Path]:
    """Write one record per case and device below ``golden/records`` and return the paths.

    A record is replaced as a whole: no number of an older run survives in it.
    """

    def place(measurement: Measurement) -> tuple[Case, str]:
        return measurement.case, measurement.device

    paths = []
    for (case, device), group in groupby(sorted(measurements, key=place), key=place):
        path = golden / "records" / case.study / device_slug(device) / f"{case.variant}@{case.runtime}.json"
        value = {
            "format": RECORD_FORMAT,
            "device": device,
            "accepted": accepted.to_json(),
            # A difference is to another case of that run, which no record holds.
            **case_block_to_json([dataclasses.replace(one, differences=()) for one in group]),
        }
        paths.append(write_json(path, value))
    return paths


def _read_record(path: Path, shown: str, study: str, device: str) -> list[Record]:
    value: dict[str, Any] = read_json(
        path,
        shown=shown,
        format_name=RECORD_FORMAT,
        older="run the study again and accept it: 'slimgate accept' writes the records anew",
    )
    try:
        accepted = Acceptance(**value["accepted"])
        measurements = case_block_from_json(value)
        case, of_device = Case.parse(value["case"]), str(value["device"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            shown,
            found=f"a record without its parts ({type(error).__name__}: {error})",
            expected=f"a record as 'slimgate accept' writes it, {RECORD_FORMAT}",
            action="restore it from version control, or accept a run again",
        ) from None
    named = f"{case.study}/{device_slug(of_device)}/{case.variant}@{case.runtime}.json"
    # A device is given as it is called, or as the folder that its records lie in.
    other_device = of_device != device and device_slug(of_device) != device
    if case.study != study or other_device or path.name != Path(named).name:
        raise InputError(
            shown,
            found=f"a record of {case} on device '{of_device}'",
            expected=f"to lie at records/{named}",
            action="move it back; a record is never borrowed for another case or device",
        )
    return [Record(measurement=measurement, accepted=accepted, where=shown) for measurement in measurements]
