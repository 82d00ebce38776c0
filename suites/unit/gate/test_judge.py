from __future__ import annotations

import math

import pytest
from slimgate.flow import Measurement, Status
from slimgate.gate import Floor, Record, judge
from slimgate.gate.advice import look_at

from fixtures.goldens import DEVICE, FP32, INT8, make_floor, make_measurement, make_record


def judge_value(value: float, floor: Floor, **changes: object) -> Status:
    measurement = make_measurement(floor.metric, value, device=floor.device, **changes)
    return judge(measurement, floor, record=make_record(measurement)).status


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (0.8299, Status.FAIL),
        (0.83, Status.PASS),
        (0.84, Status.PASS),
        (0.8401, Status.STALE),
        (math.nan, Status.INVALID),
        (math.inf, Status.INVALID),
        (96.5, Status.INVALID),
    ],
)
def test_a_lower_bound(value: float, status: Status) -> None:
    assert judge_value(value, make_floor(min=0.83, slack=0.01)) is status


@pytest.mark.parametrize(
    ("value", "status"),
    [(1_000_001, Status.FAIL), (1_000_000, Status.PASS), (900_000, Status.PASS), (899_999, Status.STALE)],
)
def test_an_upper_bound(value: float, status: Status) -> None:
    assert judge_value(value, make_floor("size_bytes", max=1_000_000, slack=100_000)) is status


@pytest.mark.parametrize(
    ("value", "status"), [(89, Status.FAIL), (90, Status.PASS), (110, Status.PASS), (111, Status.FAIL)]
)
def test_a_band(value: float, status: Status) -> None:
    assert judge_value(value, make_floor("size_bytes", min=90, max=110)) is status


@pytest.mark.parametrize(
    ("interval", "status"),
    [
        ((0.90, 0.98), Status.PASS),
        ((0.96, 1.04), Status.INCONCLUSIVE),
        ((1.001, 1.2), Status.FAIL),
        ((0.5, 0.69), Status.STALE),
        ((0.5, 0.75), Status.PASS),
        ((0.5, math.nan), Status.INVALID),
    ],
)
def test_an_interval_counts_as_a_whole(interval: tuple[float, float], status: Status) -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0, slack=0.3)
    middle = interval[0] + 0.01
    assert judge_value(middle, floor, interval=interval, confidence=0.95) is status


@pytest.mark.parametrize(
    ("interval", "simultaneous", "status"),
    [
        # It passes by its own interval, however many others there are.
        ((0.90, 0.99), (0.80, 1.20), Status.PASS),
        # It fails when the interval that holds in all comparisons at once lies beyond the bound.
        ((1.03, 1.09), (1.01, 1.12), Status.FAIL),
        ((1.03, 1.09), (0.99, 1.12), Status.INCONCLUSIVE),
        ((1.03, 1.09), (0.0, math.inf), Status.INCONCLUSIVE),
        ((0.95, 1.05), (0.90, 1.10), Status.INCONCLUSIVE),
    ],
)
def test_among_many_comparisons_only_what_is_surely_beyond_the_bound_fails(
    interval: tuple[float, float], simultaneous: tuple[float, float], status: Status
) -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    now = make_measurement(
        "latency_ratio_b1",
        sum(interval) / 2,
        device=DEVICE,
        interval=interval,
        confidence=0.95,
        simultaneous=simultaneous,
        comparisons=60,
    )
    assert judge(now, floor, record=make_record(now)).status is status


def test_doubt_among_many_comparisons_says_so() -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    now = make_measurement(
        "latency_ratio_b1",
        1.06,
        device=DEVICE,
        interval=(1.03, 1.09),
        confidence=0.95,
        simultaneous=(0.99, 1.12),
        comparisons=60,
    )
    message = judge(now, floor, record=make_record(now)).message
    assert (
        "measured   1.0600 (interval 1.0300 to 1.0900, 95% confidence; "
        "0.9900 to 1.1200 in all 60 comparisons at once)"
    ) in message
    assert (
        "cause      beyond the bound, but not surely enough for a FAIL: of 60 comparisons some seem to be by chance"
    ) in message


@pytest.mark.parametrize(
    ("interval", "shown"), [((0.8, 0.9), "0.8 to 0.9"), ((0.75, 0.95), "0.75 to 0.95"), (None, "none")]
)
def test_an_interval_of_all_that_is_narrower_than_its_own_is_invalid(
    interval: tuple[float, float] | None, shown: str
) -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    simultaneous = (0.82, 0.95)
    now = make_measurement(
        "latency_ratio_b1", 0.85, device=DEVICE, interval=interval, simultaneous=simultaneous, comparisons=60
    )
    verdict = judge(now, floor, record=make_record(now))
    assert verdict.status is Status.INVALID
    assert (
        "the interval of all 60 comparisons at once, 0.82 to 0.95, does not hold that of this one alone, "
        + shown
    ) in verdict.message


def test_a_value_outside_its_interval_is_invalid() -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    measurement = make_measurement("latency_ratio_b1", 0.5, device=DEVICE, interval=(0.8, 0.9))
    verdict = judge(measurement, floor, record=make_record(measurement))
    assert verdict.status is Status.INVALID
    assert "0.5 outside its own interval 0.8 to 0.9" in verdict.message


@pytest.mark.parametrize(
    ("confidence", "status"), [(0.949, Status.INVALID), (0.95, Status.PASS), (0.99, Status.PASS)]
)
def test_an_interval_of_less_than_95_percent_is_invalid(confidence: float, status: Status) -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    measurement = make_measurement(
        "latency_ratio_b1", 0.8, device=DEVICE, interval=(0.7, 0.9), confidence=confidence
    )
    verdict = judge(measurement, floor, record=make_record(measurement))
    assert verdict.status is status
    told = f"an interval of {confidence * 100:g}% confidence, 95% or more is asked for" in verdict.message
    assert told == (status is Status.INVALID)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (math.exp(-0.5), Status.PASS),
        (math.exp(-0.1), Status.PASS),
        (0.6, Status.INVALID),
        (0.91, Status.INVALID),
        (1 / 0.7, Status.INVALID),
    ],
)
def test_a_ratio_lies_among_its_own_samples(value: float, status: Status) -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=2.0)
    measurement = make_measurement("latency_ratio_b1", value, device=DEVICE, samples=(-0.5, -0.3, -0.1))
    verdict = judge(measurement, floor, record=make_record(measurement))
    assert verdict.status is status
    cause = f"measured {value:g}, while its own 3 samples lie between 0.606531 and 0.904837"
    assert (cause in verdict.message) == (status is Status.INVALID)


def test_samples_of_what_is_no_ratio_are_left_alone() -> None:
    measurement = make_measurement(
        "inference_s", 0.005, device=DEVICE, interval=(0.004, 0.006), samples=(1.0, 2.0)
    )
    verdict = judge(
        measurement, make_floor("inference_s", device=DEVICE, max=0.01), record=make_record(measurement)
    )
    assert verdict.status is Status.PASS


@pytest.mark.parametrize(
    ("interval", "status"),
    [
        ((0.0070, 0.0079), Status.PASS),
        ((0.0070, 0.0081), Status.INCONCLUSIVE),
        ((0.0081, 0.0090), Status.FAIL),
        (None, Status.INVALID),
    ],
)
def test_a_budget_in_seconds_is_judged_by_an_interval(
    interval: tuple[float, float] | None, status: Status
) -> None:
    value = 0.0075 if interval is None else interval[0]
    measurement = make_measurement("inference_p99_s", value, device=DEVICE, interval=interval)
    floor = make_floor("inference_p99_s", device=DEVICE, max=0.008)
    verdict = judge(measurement, floor, record=make_record(measurement))
    assert verdict.status is status
    told = "this time has none: too few images were timed (a median takes 6, the 99 % quantile 299)"
    assert (told in verdict.message) == (interval is None)


@pytest.mark.parametrize(
    ("bounds", "value", "status"),
    [
        ({"max_drop": 0.003}, 0.8971, Status.PASS),
        ({"max_drop": 0.003}, 0.8969, Status.FAIL),
        ({"min_fraction": 0.99}, 0.8911, Status.PASS),
        ({"min_fraction": 0.99}, 0.8909, Status.FAIL),
        ({"max_rise": 0.01}, 0.911, Status.FAIL),
        ({"max_fraction": 1.01}, 0.908, Status.PASS),
        ({"max_drop": 0.003, "slack": 0.01}, 0.908, Status.STALE),
        ({"max_drop": 0.05, "min_fraction": 0.99}, 0.88, Status.FAIL),
    ],
)
def test_a_relative_floor_follows_the_reference(
    bounds: dict[str, float], value: float, status: Status
) -> None:
    floor = make_floor(relative_to=FP32, **bounds)
    measurement = make_measurement(value=value)
    reference = make_measurement(value=0.9, case=FP32)
    verdict = judge(measurement, floor, record=make_record(measurement), reference=reference)
    assert verdict.status is status
    assert f"reference  {FP32} 0.9000" in verdict.message


REFERENCES: list[tuple[Measurement | None, str]] = [
    (None, "the reference codes/fp32@onnxruntime has no map50_95 in this run"),
    (make_measurement(value=math.nan, case=FP32), "codes/fp32@onnxruntime: measured nan"),
    (make_measurement(value=0.9), "held against map50_95 of codes/int8@onnxruntime"),
    (make_measurement(value=0.9, case=FP32, provenance={"images": 8}), "measured with another images"),
    (
        make_measurement(value=0.9, case=FP32, provenance={"protocol": {"image_size": 640}}),
        "the reference codes/fp32@onnxruntime was measured with another protocol",
    ),
]


@pytest.mark.parametrize(("reference", "cause"), REFERENCES)
def test_a_reference_that_cannot_serve_is_invalid(reference: Measurement | None, cause: str) -> None:
    measurement = make_measurement()
    floor = make_floor(relative_to=FP32, max_drop=0.003)
    verdict = judge(measurement, floor, record=make_record(measurement), reference=reference)
    assert verdict.status is Status.INVALID
    assert cause in verdict.message


CHANGES: list[tuple[dict[str, object], str]] = [
    ({"unit": "ratio"}, "measured in ratio, map50_95 is in fraction"),
    ({"device": DEVICE}, f"measured on device '{DEVICE}', the floor is of 'any'"),
    ({"case": FP32}, "the floor is of map50_95 of codes/int8@onnxruntime"),
    ({"valid": False, "why_invalid": "A/A control is off by 4 %"}, "A/A control is off by 4 %"),
    ({"valid": False}, "says that it is not valid"),
    (
        {"provenance": {"versions": {"onnxruntime": "2.0"}}},
        "ran with onnxruntime 2, the floor is of onnxruntime 1",
    ),
    ({"provenance": {"versions": {}}}, "ran with an unknown runtime version"),
    ({"provenance": {"images": 12}}, "12 images, the record has 500: too few"),
    ({"provenance": {"images": 600}}, "600 images, the record has 500: more"),
    ({"provenance": {"weights_sha256": "e" * 64}}, "other weights: aaaaaaaaaaaa → eeeeeeeeeeee"),
    ({"provenance": {"dataset_sha256": None}}, "other dataset: cccccccccccc → none"),
    ({"provenance": {"protocol": {"conf": 0.25}}}, "other protocol: conf 0.001 → 0.25"),
    ({"provenance": {"calibration_sha256": "e" * 64}}, "other calibration images"),
    (
        {"provenance": {"baseline": "codes/fp32@torch"}},
        "a ratio to another baseline: none → codes/fp32@torch",
    ),
    ({"provenance": {"lineage": []}}, "other operations: quantize(observer=minmax) → no operations"),
]


@pytest.mark.parametrize(("changes", "cause"), CHANGES)
def test_what_cannot_be_compared_is_invalid_and_says_why(changes: dict[str, object], cause: str) -> None:
    record = make_record(make_measurement())
    verdict = judge(make_measurement(**changes), make_floor(min=0.83, slack=0.05), record=record)
    assert verdict.status is Status.INVALID
    assert cause in verdict.message


def test_only_notes_of_the_lineage_may_differ() -> None:
    lineage = [{"operation": "quantize", "settings": {"observer": "minmax"}, "notes": {"nodes": 60}}]
    measurement = make_measurement(provenance={"lineage": tuple(lineage)})
    verdict = judge(measurement, make_floor(min=0.89, slack=0.05), record=make_record(make_measurement()))
    assert verdict.status is Status.PASS


RECORDS: list[tuple[Record | None, str]] = [
    (
        None,
        "no record of an accepted run stands behind the floor: "
        "run 'slimgate accept RUN_DIR', commit the record, run the study again\n",
    ),
    (make_record(make_measurement(), run_id="now"), "the record was accepted from this very run"),
    (make_record(make_measurement(unit="ratio")), "the record is in ratio on 'any'"),
]


@pytest.mark.parametrize(("record", "cause"), RECORDS)
def test_a_floor_needs_a_record_of_another_run(record: Record | None, cause: str) -> None:
    verdict = judge(make_measurement(), make_floor(min=0.83, slack=0.05), record=record, run_id="now")
    assert verdict.status is Status.INVALID
    assert f"\n  cause      {cause}" in verdict.message


def test_a_failure_says_everything_a_person_needs() -> None:
    record = make_record(make_measurement(value=0.8412))
    now = make_measurement(
        value=0.791,
        provenance={"versions": {"onnxruntime": "1.31.1", "numpy": "2.3.1"}, "git_commit": "99aa"},
    )
    verdict = judge(now, make_floor(min=0.83, slack=0.01), record=record, reproduce="slimgate study codes")
    assert verdict.status is Status.FAIL
    assert (verdict.measured, verdict.floor, verdict.unit) == (0.791, 0.83, "fraction")
    assert verdict.golden == "golden/floors/codes.toml:12"
    assert verdict.message == (
        "codes/int8@onnxruntime map50_95: FAIL\n"
        "  measured   0.7910\n"
        "  floor      min 0.8300, slack 0.01\n"
        "  difference -0.0390 to min\n"
        "  golden     golden/floors/codes.toml:12 (2026-11-20: the first accepted run)\n"
        "  record     golden/records/codes/any/int8@onnxruntime.json "
        "(0.8412; run of 2026-11-20T08:00:00Z, commit fedcba0987)\n"
        "  changed    git_commit 1234567890abcdef → 99aa, onnxruntime 1.23.0 → 1.31.1\n"
        f"  look at    {look_at('map50_95')}\n"
        f"  reproduce  slimgate study codes -k '{INT8}'"
    )


def test_a_time_is_shown_with_interval_and_device() -> None:
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    now = make_measurement("latency_ratio_b1", 1.02, device=DEVICE, interval=(0.98, 1.06), confidence=0.95)
    message = judge(now, floor, record=make_record(now, dirty=True)).message
    assert f"measured   1.0200 (interval 0.9800 to 1.0600, 95% confidence) on {DEVICE}" in message
    assert "cause      the interval straddles the bound: it is not shown to hold" in message
    assert "commit fedcba0987, from a dirty tree)\n" in message
    assert "changed    nothing that the record knows of" in message


def test_a_stale_floor_says_what_to_do() -> None:
    now = make_measurement("size_bytes", 2_500_000)
    floor = make_floor("size_bytes", max=2_900_000, slack=100_000)
    message = judge(now, floor, record=make_record(now)).message
    assert "measured   2 500 000 bytes" in message
    assert "difference -400 000 bytes to max" in message
    assert "stale      better than the floor by more than its slack 100000: tighten it" in message


def test_seconds_are_shown_in_milliseconds() -> None:
    now = make_measurement("nms_typical_s", 0.0123, device=DEVICE)
    floor = make_floor("nms_typical_s", device=DEVICE, max=0.01)
    assert "measured   12.3 ms on" in judge(now, floor, record=make_record(now)).message
