from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate import Acceptance, load_records, write_records

from fixtures.goldens import DEVICE, FP32, INT8, make_measurement

ACCEPTED = Acceptance(run_id="r1", started="2026-11-20T08:00:00Z", git_commit="fedc", reason="first")
MEASURED = (
    make_measurement(),
    make_measurement("latency_ratio_b1", 0.6, device=DEVICE),
    make_measurement("size_bytes", 2_850_000),
    make_measurement("map50_95", 0.91, FP32),
)
ANY_FILE = "records/codes/any/int8@onnxruntime.json"


def test_records_lie_by_device_and_case_and_are_read_back(tmp_path: Path) -> None:
    paths = write_records(MEASURED, ACCEPTED, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "records/codes/any/fp32@onnxruntime.json",
        ANY_FILE,
        "records/codes/cpu-amd-epyc-9r14/int8@onnxruntime.json",
    ]
    records = load_records(tmp_path, "codes", device=DEVICE)
    for measurement in MEASURED:
        record = records.find(measurement.case, measurement.metric, measurement.device)
        assert record is not None
        assert record.measurement == measurement
        assert record.accepted == ACCEPTED
    assert records.find(INT8, "map50") is None
    found = records.find(INT8, "map50_95")
    assert found is not None
    assert found.where == f"{tmp_path.name}/{ANY_FILE}"


def test_records_of_another_device_are_not_borrowed(tmp_path: Path) -> None:
    write_records(MEASURED, ACCEPTED, tmp_path)
    records = load_records(tmp_path, "codes", device="cpu:Intel Xeon")
    assert records.find(INT8, "latency_ratio_b1", DEVICE) is None
    assert records.find(INT8, "map50_95") is not None


def test_a_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_records(MEASURED, ACCEPTED, tmp_path)
    write_records([make_measurement("map50", 0.97)], ACCEPTED, tmp_path)
    records = load_records(tmp_path, "codes", device=DEVICE)
    assert records.find(INT8, "map50_95") is None
    assert records.find(INT8, "map50") is not None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "slimgate-record/1",
            "slimgate-record/0",
            "format 'slimgate-record/0', older than this slimgate reads\n  expected: format 'slimgate-record/1'\n"
            "  what to do: run the study again and accept it: 'slimgate accept' writes the records anew",
        ),
        ('"accepted": {', '"akzepted": {', "a record without its parts (KeyError: 'accepted')"),
        ('"reason"', '"raison"', "a record without its parts (TypeError"),
        ('"any"', f'"{DEVICE}"', f"a record of codes/int8@onnxruntime on device '{DEVICE}'"),
        ("codes/int8@", "codes/fp32@", "to lie at records/codes/any/fp32@onnxruntime.json"),
        ("codes/int8@", "other/int8@", "never borrowed for another case or device"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    write_records(MEASURED, ACCEPTED, tmp_path)
    path = tmp_path / ANY_FILE
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        load_records(tmp_path, "codes", device=DEVICE)
    assert complaint in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path.name}/{ANY_FILE}: ")
