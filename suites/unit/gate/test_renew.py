"""What may stand in place of a floor: of its own kind, holding the number, and rounded away from it."""

from __future__ import annotations

from typing import Any

import pytest
from slimgate.gate.renew import is_much_tighter, renew_bounds

from fixtures.goldens import FP32, make_floor, make_measurement


@pytest.mark.parametrize(
    ("metric", "value", "reference", "before", "after"),
    [
        ("map50_95", 0.8886, 0.9, {"max_drop": 0.005}, {"max_drop": "0.013"}),
        ("size_ratio_same", 0.3, 0.26, {"max_rise": 0.01}, {"max_rise": "0.041"}),
        ("misses", 12, 10, {"max_rise": 1}, {"max_rise": "3"}),
        ("size_bytes", 11_055, 10_000, {"max_fraction": 1.1}, {"max_fraction": "1.108"}),
        ("map50_95", 0.8886, 0.9, {"min_fraction": 0.99}, {"min_fraction": "0.985"}),
        (
            "map50_95",
            0.8886,
            0.9,
            {"max_drop": 0.005, "slack": 0.03},
            {"max_drop": "0.013", "slack": "0.03"},
        ),
    ],
)
def test_a_relative_floor_is_rounded_to_what_people_write(
    metric: str, value: float, reference: float, before: dict[str, Any], after: dict[str, str]
) -> None:
    floor = make_floor(metric, relative_to=FP32, **before)
    measurement, other = make_measurement(metric, value), make_measurement(metric, reference, FP32)
    assert renew_bounds(floor, measurement, reference=other) == after


@pytest.mark.parametrize(
    ("metric", "value", "before", "after"),
    [
        ("map50_95", 0.95, {"min": 0.89, "slack": 0.02}, {"min": "0.945", "slack": "0.02"}),
        # Of what has no natural scale, the slack follows the bound.
        ("size_bytes", 1000, {"max": 2000, "slack": 400}, {"max": "1010", "slack": "50"}),
    ],
)
def test_the_slack_that_a_person_chose_for_a_fraction_is_kept(
    metric: str, value: float, before: dict[str, Any], after: dict[str, str]
) -> None:
    assert renew_bounds(make_floor(metric, **before), make_measurement(metric, value)) == after


@pytest.mark.parametrize(
    ("metric", "before", "bound", "much"),
    [
        ("map50_95", {"min": 0.89, "slack": 0.01}, {"min": "0.891"}, True),
        ("map50_95", {"min": 0.89, "slack": 0.01}, {"min": "0.889"}, False),
        ("size_bytes", {"max": 1000, "slack": 50}, {"max": "991"}, False),
        ("size_bytes", {"max": 1000, "slack": 50}, {"max": "989"}, True),
    ],
)
def test_a_size_is_tightened_by_one_percent_or_not_at_all(
    metric: str, before: dict[str, Any], bound: dict[str, str], much: bool
) -> None:
    assert is_much_tighter(make_floor(metric, **before), bound) is much
