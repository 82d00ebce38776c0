from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimgate.errors import InputError
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import (
    Finding,
    Judgement,
    NotProven,
    judge,
    judgement_from_json,
    judgement_to_json,
    load_run,
    measurements_from_json,
    measurements_to_json,
    write_judgement,
    write_measurements,
)
from slimgate.gate.jsonfile import write_json

from fixtures.goldens import DEVICE, FP32, INT8, make_floor, make_measurement, make_record

MEASURED = (
    make_measurement(),
    make_measurement("size_bytes", 2_850_000, provenance={"images": None}),
    make_measurement(
        "latency_ratio_b1",
        0.6,
        device=DEVICE,
        interval=(0.5, 0.7),
        confidence=0.95,
        simultaneous=(0.4, math.inf),
        comparisons=60,
        samples=(0.1, -0.2),
    ),
    make_measurement("map50_95", 0.9, FP32, valid=False, why_invalid="wrong provider"),
)
_FAILED = judge(MEASURED[0], make_floor(min=0.95, slack=0.01), record=make_record(MEASURED[0]))
JUDGEMENT = Judgement(
    verdicts=(_FAILED, replace(_FAILED, waived="until 2026-12-31 by Ada")),
    not_proven=(NotProven(case=FP32, metric="case", reason="no GPU"),),
    findings=(Finding(kind="orphan record", subjects=("a", "b"), message="remove", strict=False),),
)


def write_run(folder: Path) -> Path:
    write_json(folder / "run.json", {"format": "slimgate-run/1", "run_id": "x", "complete": True})
    write_measurements(folder, MEASURED)
    write_judgement(folder, JUDGEMENT)
    case = {"format": "slimgate-case/1", "case": str(INT8), "precision": "int8"}
    write_json(folder / "cases" / "int8@onnxruntime.json", case)
    return folder


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path))
    assert run.measurements == MEASURED
    assert run.judgement == JUDGEMENT
    assert run.run["run_id"] == "x"
    assert run.cases[str(INT8)]["precision"] == "int8"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "cases",
        "int8@onnxruntime.json",
        "measurements.json",
        "run.json",
        "verdicts.json",
    ]


def test_shared_provenance_is_written_once(tmp_path: Path) -> None:
    text = json.dumps(measurements_to_json([make_measurement(), make_measurement("map50", 0.95)]))
    assert text.count("weights_sha256") == 1


NUMBERS = st.floats(allow_nan=False) | st.just(math.inf)


@given(
    values=st.lists(st.tuples(NUMBERS, st.none() | st.tuples(NUMBERS, NUMBERS), st.booleans()), max_size=5)
)
def test_measurements_survive_json(values: list[tuple[float, tuple[float, float] | None, bool]]) -> None:
    measured = tuple(
        Measurement(
            case=INT8 if flag else FP32,
            metric="map50_95",
            value=value,
            unit="fraction",
            interval=interval,
            confidence=0.95 if interval else None,
            provenance={"images": 5, "versions": {"torch": "2"}} if flag else {},
            valid=flag,
            why_invalid="" if flag else "why",
        )
        for value, interval, flag in values
    )
    text = json.dumps(measurements_to_json(measured), allow_nan=False)
    assert measurements_from_json(json.loads(text)) == measured


def test_nan_is_kept_and_no_number_in_json() -> None:
    text = json.dumps(measurements_to_json([make_measurement(value=math.nan)]), allow_nan=False)
    assert '"value": "nan"' in text
    (read,) = measurements_from_json(json.loads(text))
    assert math.isnan(read.value)


def test_a_verdict_without_numbers_survives_json() -> None:
    verdict = Verdict(
        case=INT8, metric="case", status=Status.INVALID, measured=None, floor=None, unit="", message="m"
    )
    judgement = Judgement(verdicts=(verdict,))
    written = json.loads(json.dumps(judgement_to_json(judgement)))
    assert written["verdicts"][0].keys().isdisjoint({"waived", "note"}), "they mean that there is one"
    assert judgement_from_json(written) == judgement


@pytest.mark.parametrize(
    "name", ["run.json", "measurements.json", "verdicts.json", "cases/int8@onnxruntime.json"]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    path = write_run(tmp_path) / name
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(InputError) as raised:
        load_run(tmp_path)
    assert f"{path}: cut off, or not JSON" in str(raised.value)
    assert "what to do: run the study again; a run that was interrupted is no evidence" in str(raised.value)
    path.write_text(whole.replace("/1", "/9", 1))
    with pytest.raises(
        InputError,
        match=r"format 'slimgate-[a-z]+/9', newer than this slimgate reads\n  expected: format 'slimgate-[a-z]+/1'",
    ):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "measurements.json", "verdicts.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_run(tmp_path) / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("measurements.json", '"metric"', '"metrik"'),
        ("measurements.json", "codes/fp32@onnxruntime", "codes"),
        ("verdicts.json", '"FAIL"', '"FINE"'),
        ("cases/int8@onnxruntime.json", '"case":', '"kase":'),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_named(tmp_path: Path, name: str, old: str, new: str) -> None:
    path = write_run(tmp_path) / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match="lacks a part, or has a wrong one") as raised:
        load_run(tmp_path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"format": "x"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": math.nan})
    assert json.loads(path.read_text()) == {"format": "x"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
