from __future__ import annotations

import pytest
from slimgate.flow import Status
from slimgate.gate import judge
from slimgate.gate.message import show_number

from fixtures.goldens import DEVICE, make_floor, make_measurement, make_record


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1_766_451_200.0, "flops", "1 766 451 200 flops"),
        (2_850_000, "bytes", "2 850 000 bytes"),
        (95.0, "count", "95 count"),
        (0.5, "count", "0.5 count"),
        (0.0052, "seconds", "5.2 ms"),
        (0.25, "ratio", "0.2500"),
        (1.0, "fraction", "1.0000"),
    ],
)
def test_a_number_is_shown_in_its_unit(value: float, unit: str, shown: str) -> None:
    assert show_number(value, unit) == shown


def test_a_band_is_told_from_both_ends() -> None:
    measurement = make_measurement("size_bytes", 95)
    message = judge(
        measurement, make_floor("size_bytes", min=90, max=110), record=make_record(measurement)
    ).message
    assert "\n  difference +5 bytes to min, -15 bytes to max\n" in message


def test_a_record_of_a_run_outside_git_says_that_it_has_no_commit() -> None:
    measurement = make_measurement()
    record = make_record(measurement, git_commit=None, dirty=True)
    message = judge(measurement, make_floor(min=0.83, slack=0.05), record=record).message
    assert "(0.9000; run of 2026-11-20T08:00:00Z, no commit, from a dirty tree)\n" in message


@pytest.mark.parametrize(
    ("bounds", "interval", "said"),
    [
        ({"max": 1.0}, (1.0, 1.2), "the interval straddles the bound: it is not shown to hold"),
        ({"max": 1.0}, (1.01, 1.2), "beyond the bound, but not surely enough for a FAIL: of 9 comparisons"),
        ({"min": 1.0}, (0.8, 1.0), "the interval straddles the bound: it is not shown to hold"),
        ({"min": 1.0}, (0.8, 0.99), "beyond the bound, but not surely enough for a FAIL: of 9 comparisons"),
    ],
)
def test_a_doubt_says_whether_the_bound_lies_in_the_interval(
    bounds: dict[str, float], interval: tuple[float, float], said: str
) -> None:
    measurement = make_measurement(
        "latency_ratio_b1",
        sum(interval) / 2,
        device=DEVICE,
        interval=interval,
        confidence=0.95,
        simultaneous=(0.5, 1.5),
        comparisons=9,
    )
    floor = make_floor("latency_ratio_b1", device=DEVICE, **bounds)
    verdict = judge(measurement, floor, record=make_record(measurement))
    assert verdict.status is Status.INCONCLUSIVE
    assert f"\n  cause      {said}" in verdict.message
