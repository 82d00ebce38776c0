"""Asserts that every artifact has the size and precision that its floors ask."""

from __future__ import annotations

import pytest
from slimgate.flow import Case
from slimgate.plugin.study import VerdictCheck


@pytest.mark.gate
def test_size(gate_case: Case, assert_verdicts: VerdictCheck) -> None:
    assert_verdicts(gate_case, "size")
