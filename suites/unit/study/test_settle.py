from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from slimgate.flow import Case, Verdict
from slimgate.gate import Judgement, Waiver, judge
from slimgate.study import Study, load_study
from slimgate.study.settle import settle_judgement

from fixtures.goldens import FP32, INT8, STUDY_TOML, make_floor, make_measurement, make_record

TODAY = dt.date(2026, 11, 23)
WAIVER = Waiver(
    case=INT8, subject="map50_95", owner="Ada", reason="r", expires=TODAY, where="golden/waivers.toml:4"
)


@pytest.fixture
def study(golden: Path) -> Study:
    (golden.parent / "codes.toml").write_text(STUDY_TOML)
    return load_study(golden.parent / "codes.toml")


def make_verdict(value: float) -> Verdict:
    measurement = make_measurement(value=value)
    return judge(measurement, make_floor(min=0.89, slack=0.02), record=make_record(measurement))


def test_a_full_run_is_settled_with_waivers_and_findings(study: Study, golden: Path) -> None:
    unused = replace(WAIVER, case=FP32)
    judgement = settle_judgement(
        Judgement(verdicts=(make_verdict(0.5),)),
        study,
        golden,
        (WAIVER, unused),
        cases=(FP32, INT8),
        today=TODAY,
        devices=(),
    )
    assert [one.label for one in judgement.verdicts] == ["WAIVED (FAIL)"]
    assert [one.kind for one in judgement.findings] == ["unused waiver", "floor without record"]


def test_a_part_of_the_study_cannot_tell_what_is_unused(study: Study, golden: Path) -> None:
    gone = replace(WAIVER, case=FP32)
    judgement = settle_judgement(
        Judgement(verdicts=(make_verdict(0.9),)),
        study,
        golden,
        (gone,),
        cases=(INT8,),
        today=TODAY,
        devices=(),
    )
    assert [one.kind for one in judgement.findings] == ["floor without record"]


def test_a_waiver_of_a_study_that_is_nowhere_is_told_by_every_run(study: Study, golden: Path) -> None:
    cases = ("cods/int8@onnxruntime", "labels/int8@onnxruntime", "old/int8@onnxruntime")
    misspelt, labels, old = (replace(WAIVER, case=Case.parse(case), where=case) for case in cases)
    (golden.parent / "labels.toml").write_text(STUDY_TOML.replace('"codes"', '"labels"'))
    (golden / "records" / "old").mkdir(parents=True)
    judgement = settle_judgement(
        Judgement(verdicts=(make_verdict(0.9),)),
        study,
        golden,
        (misspelt, labels, old),
        cases=(INT8,),
        today=TODAY,
        devices=(),
    )
    (told,) = [one for one in judgement.findings if one.kind == "waiver of no study"]
    assert told.subjects == ("cods/int8@onnxruntime (cods/int8@onnxruntime map50_95)",)
    assert "there is no study of that id, and no floor or record of one" in told.message
    assert told.strict
