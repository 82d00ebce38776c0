"""Asserts that every variant is as accurate as its floors ask."""

from __future__ import annotations

import pytest
from slimgate.flow import Case, Status
from slimgate.gate import RunFiles
from slimgate.plugin.study import VerdictCheck
from slimgate.study import Study


@pytest.mark.gate
def test_accuracy(gate_case: Case, assert_verdicts: VerdictCheck) -> None:
    assert_verdicts(gate_case, "accuracy")


@pytest.mark.gate
def test_every_floor_belongs_to_a_case_of_the_study(gate_study: Study, study_run: RunFiles) -> None:
    orphans = [
        verdict.message
        for verdict in study_run.judgement.verdicts
        if verdict.status is Status.INVALID and verdict.case not in gate_study.cases
    ]
    if orphans:
        pytest.fail("\n\n".join(orphans), pytrace=False)
