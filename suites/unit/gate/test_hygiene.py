from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.flow import Case, Measurement, Status
from slimgate.gate import Acceptance, Finding, Judgement, Waiver, find_untidy, judge, write_records

from fixtures.goldens import DEVICE, FP32, INT8, LATENCY_TOML, make_floor, make_measurement

MEASURED = (
    make_measurement("map50_95", 0.896, FP32),
    make_measurement("map50_95", 0.895),
    make_measurement("recall/qrcode", 0.955),
    make_measurement("size_bytes", 2_850_000),
    make_measurement("latency_ratio_b1", 0.6, device=DEVICE),
)
CASES = (FP32, INT8)
GONE = Case(study="codes", variant="gone", runtime="onnxruntime")


def record(golden: Path, measurements: Sequence[Measurement]) -> None:
    accepted = Acceptance(run_id="earlier", started="2026-11-20T08:00:00Z", git_commit="12")
    write_records(measurements, accepted, golden)


def look(golden: Path, judgement: Judgement | None = None, **settings: Any) -> dict[str, Finding]:
    findings = find_untidy(golden, "codes", judgement or Judgement(), **{"cases": CASES, **settings})
    return {finding.kind: finding for finding in findings}


def test_what_belongs_together_is_tidy(golden: Path) -> None:
    record(golden, MEASURED)
    assert look(golden) == {}


def test_a_record_of_no_case_is_an_orphan_in_a_full_run(golden: Path) -> None:
    record(golden, [*MEASURED, make_measurement("map50_95", 0.9, GONE)])
    (finding,) = look(golden).values()
    assert str(finding) == (
        "orphan record: golden/records/codes/any/gone@onnxruntime.json: "
        "the study has no such case: remove the file"
    )
    assert finding.strict
    assert "orphan record" not in look(golden, cases=None)


def test_a_floor_of_no_case_on_another_device_is_unused_in_a_full_run(golden: Path) -> None:
    record(golden, MEASURED)
    text = LATENCY_TOML.replace(DEVICE, "cpu:Intel Xeon").replace("codes/int8@", "codes/gone@")
    (golden / "floors" / "codes.cpu-intel-xeon.toml").write_text(text)
    found = look(golden)
    assert "golden/floors/codes.cpu-intel-xeon.toml:11 (codes/gone@onnxruntime)" in str(found["unused floor"])
    assert set(look(golden, cases=None)) == {"floor without record"}


def test_a_floor_that_a_verdict_calls_unused_is_not_told_twice(golden: Path) -> None:
    record(golden, MEASURED)
    verdict = judge(MEASURED[0], make_floor(case=FP32, min=0.8), record=None)
    said = Judgement(verdicts=(verdict,))
    path = golden / "floors" / "codes.toml"
    path.write_text(
        path.read_text().replace('codes/fp32@onnxruntime"\nruntime', 'codes/gone@onnxruntime"\nruntime')
    )
    assert "unused floor" in look(golden)
    assert verdict.golden == "golden/floors/codes.toml:12"
    assert look(golden, said)["unused floor"].subjects == (
        "golden/floors/codes.toml:23 (codes/gone@onnxruntime)",
    )


def test_a_floor_without_a_record_is_named_unless_its_verdict_says_so(golden: Path) -> None:
    record(golden, [one for one in MEASURED if one.metric != "recall/qrcode"])
    finding = look(golden)["floor without record"]
    assert finding.subjects == ("golden/floors/codes.toml:14 (codes/int8@onnxruntime recall/qrcode)",)
    assert "no accepted run stands behind it" in finding.message
    floor = make_floor("recall/qrcode", min=0.95, where="golden/floors/codes.toml:14")
    verdict = judge(MEASURED[2], floor, record=None)
    assert verdict.status is Status.INVALID
    assert look(golden, Judgement(verdicts=(verdict,))) == {}


def test_a_record_that_no_floor_asks_for_is_told_and_never_red(golden: Path) -> None:
    timed = make_measurement(
        "latency_ratio_b1", 1.1, FP32, device=DEVICE, provenance={"baseline": "codes/x@y"}
    )
    record(golden, [*MEASURED, timed])
    finding = look(golden)["record without floor"]
    assert finding.subjects == ("golden/records/codes/cpu-amd-epyc-9r14/fp32@onnxruntime.json",)
    assert not finding.strict
    assert finding.brief == "record without floor: 1, listed in the report"


def test_what_is_timed_against_itself_needs_no_floor(golden: Path) -> None:
    control = make_measurement(
        "latency_ratio_b1", 1.0, FP32, device=DEVICE, provenance={"baseline": str(FP32)}
    )
    record(golden, [*MEASURED, control])
    assert look(golden) == {}


def test_golden_files_of_a_study_that_is_gone_are_told(golden: Path) -> None:
    record(golden, MEASURED)
    record(golden, [make_measurement(case=Case(study="old", variant="fp32", runtime="torch"))])
    (golden / "floors" / "old.toml").write_text('format = "slimgate-floors/1"\nstudy = "old"\n')
    (golden / "floors" / "codes.hard.toml").write_text('format = "slimgate-floors/1"\nstudy = "codes.hard"\n')
    finding = look(golden, studies={"codes", "codes.hard"})["golden files of no study"]
    assert finding.subjects == ("golden/floors/old.toml", "golden/records/old")
    assert not finding.strict
    assert look(golden, studies=()) == {}


def test_a_waiver_of_a_study_that_nobody_knows_is_told(golden: Path) -> None:
    record(
        golden, [*MEASURED, make_measurement(case=Case(study="recorded", variant="fp32", runtime="torch"))]
    )
    for name in ("floored.toml", "timed.cpu-x.toml"):
        study = name.partition(".")[0]
        (golden / "floors" / name).write_text(f'format = "slimgate-floors/1"\nstudy = "{study}"\n')
    waivers = [
        Waiver(
            case=Case(study=study, variant="int8", runtime="onnxruntime"),
            subject="map50_95",
            owner="Ada",
            reason="a slip of the pen",
            expires=dt.date(2026, 12, 31),
            where=f"golden/waivers.toml:{line}",
        )
        for line, study in enumerate(("codes", "known", "recorded", "floored", "timed", "codez", "floor"))
    ]
    finding = look(golden, studies={"known"}, waivers=waivers)["waiver of no study"]
    assert finding.subjects == (
        "golden/waivers.toml:5 (codez/int8@onnxruntime map50_95)",
        "golden/waivers.toml:6 (floor/int8@onnxruntime map50_95)",
    )
    assert finding.strict


def test_a_broken_record_of_another_device_is_found(golden: Path) -> None:
    record(golden, MEASURED)
    folder = golden / "records" / "codes" / "cpu-intel-xeon"
    (golden / "records" / "codes" / "cpu-amd-epyc-9r14").rename(folder)
    with pytest.raises(InputError, match=r"a record of codes/int8@onnxruntime on device 'cpu:AMD EPYC 9R14'"):
        look(golden)


def test_ten_are_named_and_the_rest_counted() -> None:
    finding = Finding(kind="orphan record", subjects=tuple("abcdefghijkl"), message="remove the file")
    assert str(finding) == "orphan record (12): a, b, c, d, e, f, g, h, i, j and 2 more: remove the file"
    assert finding.brief == str(finding)
