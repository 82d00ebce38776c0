"""Measurements and judgements as JSON, and a finished run read back from its directory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from slimgate.errors import InputError
from slimgate.flow import Case, Difference, Json, Measurement, Status, Verdict
from slimgate.gate.jsonfile import read_json, write_json
from slimgate.gate.judgement import Finding, Judgement, NotProven

RUN_FORMAT = "slimgate-run/1"
MEASUREMENTS_FORMAT = "slimgate-measurements/1"
VERDICTS_FORMAT = "slimgate-verdicts/1"
CASE_FORMAT = "slimgate-case/1"

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What a run directory holds.

    Attributes:
        directory: the run directory.
        run: ``run.json``.
        measurements: every measurement.
        judgement: the verdicts, and what was not proven.
        cases: the case records by case id.
    """

    directory: Path
    run: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    judgement: Judgement
    cases: Mapping[str, Mapping[str, Any]]

    @property
    def strict_floors(self) -> bool:
        """Whether floors were strict when it ran; runs of before this was noted say nothing, and were read as not."""
        return bool(self.run.get("strict_floors", False))

    @property
    def red(self) -> tuple[Verdict, ...]:
        """The verdicts that failed it, worst first."""
        return self.judgement.red(strict_floors=self.strict_floors)

    @property
    def is_red(self) -> bool:
        """Whether it failed, by floors as strict as they were when it ran."""
        return self.judgement.is_red(strict_floors=self.strict_floors)


def load_run(directory: Path) -> RunFiles:
    """Return a finished run.

    Raises:
        InputError: a file is missing, cut off, or of another format version.
    """
    again = "run the study again; a run that was interrupted is no evidence"
    run = read_json(directory / "run.json", format_name=RUN_FORMAT, action=again)
    measured = read_json(directory / "measurements.json", format_name=MEASUREMENTS_FORMAT, action=again)
    judged = read_json(directory / "verdicts.json", format_name=VERDICTS_FORMAT, action=again)
    cases = {}
    for path in sorted((directory / "cases").glob("*.json")):
        case = read_json(path, format_name=CASE_FORMAT, action=again)
        cases[_parse(path, partial(_case_id, case))] = case
    return RunFiles(
        directory=directory,
        run=run,
        measurements=_parse(directory / "measurements.json", partial(measurements_from_json, measured)),
        judgement=_parse(directory / "verdicts.json", partial(judgement_from_json, judged)),
        cases=cases,
    )


def write_measurements(directory: Path, measurements: Sequence[Measurement]) -> Path:
    """Write ``measurements.json`` into a run directory and return its path."""
    return write_json(directory / "measurements.json", measurements_to_json(measurements))


def write_judgement(directory: Path, judgement: Judgement) -> Path:
    """Write ``verdicts.json`` into a run directory and return its path."""
    return write_json(directory / "verdicts.json", judgement_to_json(judgement))


def measurements_to_json(measurements: Sequence[Measurement]) -> dict[str, Json]:
    """Return measurements as JSON values, in their order, grouped by case."""
    blocks = [
        case_block_to_json(list(group))
        for _, group in groupby(measurements, key=lambda measurement: measurement.case)
    ]
    return {"format": MEASUREMENTS_FORMAT, "cases": blocks}


def measurements_from_json(value: Mapping[str, Json]) -> tuple[Measurement, ...]:
    """Return the measurements that ``measurements_to_json`` wrote."""
    return tuple(measurement for block in value["cases"] for measurement in case_block_from_json(block))


def case_block_to_json(measurements: Sequence[Measurement]) -> dict[str, Json]:
    """Return the measurements of one case; provenance that all of them share is written once."""
    every = [dict(measurement.provenance) for measurement in measurements]
    shared = {
        key: value
        for key, value in every[0].items()
        if all(key in one and one[key] == value for one in every)
    }
    return {
        "case": str(measurements[0].case),
        "provenance": shared,
        "measurements": [_measurement_to_json(measurement, shared) for measurement in measurements],
    }


def case_block_from_json(value: Mapping[str, Json]) -> tuple[Measurement, ...]:
    """Return the measurements that ``case_block_to_json`` wrote."""
    case, shared = Case.parse(value["case"]), value["provenance"]
    return tuple(_measurement_from_json(item, case, shared) for item in value["measurements"])


def judgement_to_json(judgement: Judgement) -> dict[str, Json]:
    """Return a judgement as JSON values."""
    return {
        "format": VERDICTS_FORMAT,
        "verdicts": [
            {
                "case": str(verdict.case),
                "metric": verdict.metric,
                "status": verdict.status.value,
                "measured": _number_to_json(verdict.measured),
                "floor": _number_to_json(verdict.floor),
                "unit": verdict.unit,
                "message": verdict.message,
                "golden": verdict.golden,
                **({"waived": verdict.waived} if verdict.waived else {}),
                **({"note": verdict.note} if verdict.note else {}),
            }
            for verdict in judgement.verdicts
        ],
        "not_proven": [
            {"case": str(gap.case), "metric": gap.metric, "reason": gap.reason}
            for gap in judgement.not_proven
        ],
        "findings": [
            {
                "kind": finding.kind,
                "subjects": list(finding.subjects),
                "message": finding.message,
                "strict": finding.strict,
            }
            for finding in judgement.findings
        ],
    }


def judgement_from_json(value: Mapping[str, Json]) -> Judgement:
    """Return the judgement that ``judgement_to_json`` wrote."""
    return Judgement(
        verdicts=tuple(
            Verdict(
                case=Case.parse(item["case"]),
                metric=item["metric"],
                status=Status(item["status"]),
                measured=_number_from_json(item["measured"]),
                floor=_number_from_json(item["floor"]),
                unit=item["unit"],
                message=item["message"],
                golden=item["golden"],
                waived=item.get("waived", ""),
                note=item.get("note", ""),
            )
            for item in value["verdicts"]
        ),
        not_proven=tuple(
            NotProven(case=Case.parse(item["case"]), metric=item["metric"], reason=item["reason"])
            for item in value["not_proven"]
        ),
        findings=tuple(
            Finding(
                kind=item["kind"],
                subjects=tuple(item["subjects"]),
                message=item["message"],
                strict=bool(item["strict"]),
            )
            # Runs of before 0.2 looked for none.
            for item in value.get("findings", ())
        ),
    )


def _case_id(record: Mapping[str, Json]) -> str:
    return str(Case.parse(record["case"]))


def _measurement_to_json(measurement: Measurement, shared: Mapping[str, Json]) -> dict[str, Json]:
    own = {key: value for key, value in measurement.provenance.items() if key not in shared}
    value: dict[str, Json] = {
        "metric": measurement.metric,
        "value": _number_to_json(measurement.value),
        "unit": measurement.unit,
        "device": measurement.device,
    }
    if measurement.interval is not None:
        value["interval"] = [_number_to_json(end) for end in measurement.interval]
        value["confidence"] = measurement.confidence
    if measurement.simultaneous is not None:
        value["simultaneous"] = [_number_to_json(end) for end in measurement.simultaneous]
        value["comparisons"] = measurement.comparisons
    if measurement.samples:
        value["samples"] = [_number_to_json(sample) for sample in measurement.samples]
    if measurement.differences:
        value["differences"] = [_difference_to_json(one) for one in measurement.differences]
    if own:
        value["provenance"] = own
    if not measurement.valid:
        value["why_invalid"] = measurement.why_invalid
    return value


def _measurement_from_json(value: Mapping[str, Json], case: Case, shared: Mapping[str, Json]) -> Measurement:
    interval, simultaneous = value.get("interval"), value.get("simultaneous")
    number = _number_from_json(value["value"])
    return Measurement(
        case=case,
        metric=value["metric"],
        value=math.nan if number is None else number,
        unit=value["unit"],
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        confidence=value.get("confidence"),
        simultaneous=None if simultaneous is None else (float(simultaneous[0]), float(simultaneous[1])),
        comparisons=int(value.get("comparisons", 1)),
        samples=tuple(float(sample) for sample in value.get("samples", ())),
        provenance={**shared, **value.get("provenance", {})},
        device=value["device"],
        valid="why_invalid" not in value,
        why_invalid=value.get("why_invalid", ""),
        differences=tuple(_difference_from_json(one) for one in value.get("differences", ())),
    )


def _difference_to_json(difference: Difference) -> dict[str, Json]:
    return {
        **dataclasses.asdict(difference),
        "reference": str(difference.reference),
        "interval": list(difference.interval),
    }


def _difference_from_json(value: Mapping[str, Json]) -> Difference:
    return Difference(
        reference=Case.parse(value["reference"]),
        value=float(value["value"]),
        interval=(float(value["interval"][0]), float(value["interval"][1])),
        confidence=float(value["confidence"]),
        images=int(value["images"]),
        resamples=int(value["resamples"]),
        seed=int(value["seed"]),
    )


def _number_to_json(number: float | None) -> Json:
    """Return a number; NaN and the infinities, which JSON lacks, as text."""
    return number if number is None or math.isfinite(number) else str(float(number))


def _number_from_json(value: Json) -> float | None:
    return None if value is None else float(value)


def _parse(path: Path, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            str(path),
            found=f"lacks a part, or has a wrong one ({type(error).__name__}: {error})",
            expected="the file as 'slimgate study' wrote it",
            action="run the study again",
        ) from None
