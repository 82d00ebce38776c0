"""Asserts that every variant is as fast against FP32, on this very device, as its floors ask."""

from __future__ import annotations

import pytest
from slimgate.flow import Case
from slimgate.plugin.study import VerdictCheck


@pytest.mark.gate
@pytest.mark.timing
def test_latency(gate_case: Case, assert_verdicts: VerdictCheck) -> None:
    assert_verdicts(gate_case, "latency")
