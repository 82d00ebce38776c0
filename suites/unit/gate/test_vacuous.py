from __future__ import annotations

from typing import Any

import pytest
from slimgate.flow import Status, Verdict
from slimgate.gate import judge
from slimgate.gate.vacuous import refuse_vacuous

from fixtures.goldens import FP32, make_floor, make_measurement, make_record

BROKEN = {
    "every class taken for the next": {"map50_95": 0.02, "misses": 900.0, "size_bytes": 1.0},
    "the detections of another picture": {"map50_95": 0.001, "misses": 990.0},
}


def look(metric: str, value: float, broken: Any = BROKEN, reference: float = 0.9, **bounds: Any) -> Verdict:
    measurement = make_measurement(metric, value)
    floor = make_floor(metric, **bounds)
    other = make_measurement(metric, reference, FP32)
    verdict = judge(measurement, floor, record=make_record(measurement), reference=other)
    return refuse_vacuous(verdict, measurement, floor, reference=other, broken=broken)


@pytest.mark.parametrize(
    ("metric", "value", "bounds"),
    [
        ("map50_95", 0.03, {"min": 0.02, "slack": 0.05}),
        ("map50_95", 0.015, {"min": 0.005, "slack": 0.05}),
        ("map50_95", 0.09, {"relative_to": FP32, "max_drop": 0.1, "reference": 0.1}),
        ("misses", 950, {"max": 900, "slack": 10}),
    ],
)
def test_a_floor_that_a_broken_detector_holds_is_invalid(
    metric: str, value: float, bounds: dict[str, Any]
) -> None:
    verdict = look(metric, min(value, 890) if metric == "misses" else value, **bounds)
    assert verdict.status is Status.INVALID
    assert verdict.message.splitlines()[0].endswith(f"{metric}: INVALID")
    cause = verdict.message.splitlines()[1]
    assert "the floor is vacuous: the reference broken on purpose holds it too" in cause
    assert "with every class taken for the next it scores" in cause
    assert (
        "write one that a broken detector fails, a max if nothing is what it should score, or none" in cause
    )


@pytest.mark.parametrize(
    ("metric", "value", "bounds"),
    [
        ("map50_95", 0.9, {"min": 0.021, "slack": 0.05}),
        ("map50_95", 0.01, {"max": 0.03}),
        ("map50_95", 0.88, {"relative_to": FP32, "max_drop": 0.05}),
        ("misses", 90, {"max": 899, "slack": 200}),
        ("map50", 0.9, {"min": 0.001, "slack": 0.05}),
    ],
)
def test_a_floor_that_it_fails_or_that_nobody_can_tell_is_left(
    metric: str, value: float, bounds: dict[str, Any]
) -> None:
    assert look(metric, value, **bounds).status in (Status.PASS, Status.STALE)


def test_every_way_of_breaking_that_it_holds_is_named() -> None:
    assert (
        "(with every class taken for the next it scores 0.0200 and "
        "with the detections of another picture it scores 0.0010); write one"
    ) in look("map50_95", 0.03, min=0.001, slack=0.05).message


def test_what_fails_a_vacuous_floor_fails() -> None:
    assert look("map50_95", 0.001, min=0.02, slack=0.05).status is Status.FAIL


def test_without_broken_scores_nothing_is_said() -> None:
    assert look("map50_95", 0.03, broken={}, min=0.02, slack=0.05).status is Status.PASS
