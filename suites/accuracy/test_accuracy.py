"""Asserts that every variant is as accurate as its floors ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from slimgate.flow import Case
from slimgate.plugin.study import VerdictCheck


@pytest.mark.gate
def test_accuracy(gate_case: Case, assert_verdicts: VerdictCheck) -> None:
    assert_verdicts(gate_case, "accuracy")


@pytest.mark.gate
def test_every_floor_belongs_to_a_case_of_the_study(assert_no_orphans: Callable[[], None]) -> None:
    assert_no_orphans()
