from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slimgate.gate import load_run
from slimgate.gate.history import Entry, entry_from_json, entry_from_run
from slimgate.gate.history.entry import machine_of

from fixtures.goldens import FP32, INT8, make_measurement
from fixtures.histories import FILE, MACHINE, measure, run_name, write_run

MakeEntry = Callable[..., Entry]


def test_a_line_gives_back_every_measurement_to_the_last_bit(make_entry: MakeEntry) -> None:
    line = make_entry(3).to_line()
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert line.startswith(b'{"format":"slimgate-history/1","run_id":')
    entry = entry_from_json(json.loads(line))
    for one, other in zip(entry.measurements, measure(), strict=True):
        assert (one.case, one.metric, one.value, one.unit) == (
            other.case,
            other.metric,
            other.value,
            other.unit,
        )
        assert (one.interval, one.confidence, one.device) == (other.interval, other.confidence, other.device)
        assert one.samples == other.samples
        assert set(one.provenance) == set(other.provenance)
        assert one.provenance["protocol"] == other.provenance["protocol"]
        assert one.provenance.get("baseline") == other.provenance.get("baseline")
    assert (entry.run_id, entry.study, entry.device, entry.file_name) == (run_name(3), "codes", MACHINE, FILE)
    assert (entry.red, entry.complete, entry.dirty) == (False, True, False)
    assert entry.counts == {"PASS": 2, "not proven": 0}
    assert entry.versions == {"onnxruntime": "1.23.0"}
    assert entry.case_ids == (str(FP32), str(INT8))


def test_samples_are_compressed_and_what_is_shared_stands_once(tmp_path: Path) -> None:
    samples = [0.1] * 1000
    run = write_run(
        tmp_path / "run", 1, [make_measurement("latency_ratio_b1", 0.6, samples=samples), *measure()]
    )
    line = entry_from_run(load_run(run)).to_line()
    assert len(line) < (run / "measurements.json").stat().st_size / 5
    assert line.count(b'"dataset_sha256"') == 1


def test_what_one_case_alone_is_of_stays_its_own(make_entry: MakeEntry) -> None:
    pruned = {"weights_sha256": "e" * 64, "baseline": str(FP32)}
    entry = make_entry(1, [make_measurement(case=FP32), make_measurement(provenance=pruned)])
    first, second = entry_from_json(json.loads(entry.to_line())).measurements
    assert (first.provenance["weights_sha256"], second.provenance["weights_sha256"]) == ("a" * 64, "e" * 64)
    assert (first.provenance.get("baseline"), second.provenance["baseline"]) == (None, str(FP32))


@pytest.mark.parametrize("absent", ["the line", "its cases"])
def test_a_line_may_leave_out_a_provenance_that_is_empty(make_entry: MakeEntry, absent: str) -> None:
    value = json.loads(make_entry(1, [make_measurement()]).to_line())
    whole = value.pop("provenance")
    (block,) = value["cases"]
    assert block.pop("provenance") == {}
    (block if absent == "the line" else value)["provenance"] = whole
    (measurement,) = entry_from_json(value).measurements
    assert measurement.provenance["dataset_sha256"] == "c" * 64


def test_what_a_step_found_stays_in_the_run(make_entry: MakeEntry) -> None:
    (found,) = {str(one.provenance["lineage"]) for one in make_entry(1).measurements}
    assert found == "[{'operation': 'quantize', 'settings': {'observer': 'minmax'}}]"


def test_a_red_run_says_about_what(make_entry: MakeEntry) -> None:
    entry = make_entry(1, red="map50_95")
    assert entry.red
    assert entry.is_red_for(str(INT8), "map50_95")
    assert not entry.is_red_for(str(INT8), "latency_ratio_b1")
    assert not entry.is_red_for(str(FP32), "map50_95")


def test_a_run_that_judged_nothing_is_red(make_entry: MakeEntry, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 1)
    (run / "verdicts.json").write_text('{"format": "slimgate-verdicts/1", "verdicts": [], "not_proven": []}')
    assert entry_from_run(load_run(run)).red


def test_a_machine_with_a_gpu_is_another_machine(make_entry: MakeEntry) -> None:
    entry = make_entry(1, environment={"gpu": "NVIDIA H100 driver 570"})
    assert entry.device == f"{MACHINE}, gpu:NVIDIA H100 driver 570"
    assert entry.file_name == "codes/cpu-amd-epyc-9r14-gpu-nvidia-h100-driver-570.jsonl"


def test_a_run_says_its_machine_whatever_else_it_lacks() -> None:
    assert machine_of({"device": "cpu:A"}) == "cpu:A"
    assert machine_of({}) == "unknown"


def test_a_line_says_of_which_project_its_run_was(make_entry: MakeEntry) -> None:
    assert make_entry(1, project="/home/ada/codes").raw["project"] == "/home/ada/codes"
    assert "project" not in make_entry(1).raw


def test_a_run_that_measured_nothing_has_a_line(make_entry: MakeEntry) -> None:
    entry = make_entry(1, [])
    assert (entry.case_ids, entry.measurements) == ((), ())


def test_a_line_without_a_commit_is_of_uncommitted_code(make_entry: MakeEntry, tmp_path: Path) -> None:
    files = load_run(write_run(tmp_path / "run", 1))
    unknown = {key: value for key, value in files.run.items() if key != "git"}
    assert entry_from_run(dataclasses.replace(files, run=unknown)).dirty
    raw = {key: value for key, value in make_entry(1).raw.items() if key != "git"}
    for line in (raw, {**raw, "git": {}}):
        entry = entry_from_json(line)
        assert (entry.commit, entry.dirty) == (None, True)


def test_what_is_no_number_is_never_written_into_a_line(make_entry: MakeEntry) -> None:
    entry = make_entry(1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(entry, raw={**entry.raw, "seconds": math.nan}).to_line()


def broken(change: Callable[[dict[str, Any]], object], line: bytes) -> Any:
    value = json.loads(line)
    change(value)
    return value


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda value: value.update(format="slimgate-history/2"),
            "format 'slimgate-history/2', newer than this slimgate reads",
        ),
        (lambda value: value.pop("cases"), "without cases"),
        (lambda value: (value.pop("run_id"), value.pop("verdict")), "without run_id, verdict"),
        (lambda value: value["verdict"].pop("red"), "a wrong part (KeyError: 'red')"),
        (
            lambda value: value["cases"][0].update(case="int8"),
            "a wrong part (ValueError: 'int8' is not study",
        ),
        (lambda value: value.update(study="other"), "a case of another study than 'other'"),
        (
            lambda value: value["cases"][1]["measurements"][2].update(samples="AAAA"),
            "a wrong part (error: Error -",
        ),
        (lambda value: value["cases"][1]["measurements"][2].update(provenance=9), "a wrong part (IndexError"),
    ],
)
def test_a_line_that_is_no_run_says_why(
    make_entry: MakeEntry, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        entry_from_json(broken(change, make_entry(1).to_line()))


def test_a_line_that_is_no_object_says_so() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        entry_from_json([1])
