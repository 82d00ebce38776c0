from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from slimgate.flow import Verdict
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
    )
    assert [one.label for one in judgement.verdicts] == ["WAIVED (FAIL)"]
    assert [one.kind for one in judgement.findings] == ["unused waiver", "floor without record"]


def test_a_part_of_the_study_cannot_tell_what_is_unused(study: Study, golden: Path) -> None:
    gone = replace(WAIVER, case=FP32)
    judgement = settle_judgement(
        Judgement(verdicts=(make_verdict(0.9),)), study, golden, (gone,), cases=(INT8,), today=TODAY
    )
    assert [one.kind for one in judgement.findings] == ["floor without record"]
