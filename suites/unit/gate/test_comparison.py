from __future__ import annotations

import math

import pytest
from slimgate.flow import Case, Measurement
from slimgate.gate.comparison import (
    Comparison,
    Outcome,
    compare_measurements,
    count_outcomes,
    explain_changes,
    smallest_change,
)
from slimgate.measure import METRICS

from fixtures.goldens import DEVICE, FP32, make_measurement
from fixtures.histories import with_version

ENGINE = Case(study="codes", variant="int8", runtime="tensorrt-rtx-sm86")


def compare(first: Measurement, second: Measurement) -> Comparison:
    (one,) = compare_measurements([first], [second])
    return one


def ratio(value: float, low: float, high: float, **changes: object) -> Measurement:
    return make_measurement(
        "latency_ratio_b1", value, interval=(low, high), confidence=0.95, **{"device": DEVICE, **changes}
    )


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (ratio(0.6, 0.58, 0.62), ratio(0.7, 0.67, 0.73), Outcome.WORSE),
        (ratio(0.7, 0.67, 0.73), ratio(0.6, 0.58, 0.62), Outcome.BETTER),
        (ratio(0.6, 0.58, 0.62), ratio(0.64, 0.61, 0.67), Outcome.WITHIN_NOISE),
        (ratio(0.6, 0.58, 0.62), ratio(0.66, 0.62, 0.70), Outcome.WITHIN_NOISE),
        (ratio(0.66, 0.62, 0.70), ratio(0.6, 0.58, 0.62), Outcome.WITHIN_NOISE),
        (ratio(0.6, 0.58, 0.62), ratio(0.6, 0.5, 0.7), Outcome.SAME),
        (
            make_measurement(value=0.9, interval=(0.88, 0.92)),
            make_measurement(value=0.897),
            Outcome.WORSE,
        ),
        (
            make_measurement("inference_s", 1.0, interval=(0.9, 1.1), confidence=0.95),
            make_measurement("inference_s", 9.0, interval=(8.0, 10.0), confidence=0.95),
            Outcome.DIFFERENT,
        ),
        (make_measurement(value=0.9), make_measurement(value=0.897), Outcome.WORSE),
        (make_measurement(value=0.9), make_measurement(value=0.903), Outcome.BETTER),
        (make_measurement(value=0.9), make_measurement(value=0.899), Outcome.DIFFERENT),
        (
            make_measurement(value=0.9, interval=(0.88, 0.92)),
            make_measurement(value=0.89, interval=(0.87, 0.91)),
            Outcome.WITHIN_NOISE,
        ),
        (make_measurement("size_bytes", 1000), make_measurement("size_bytes", 1001), Outcome.WORSE),
        (make_measurement("misses", 30), make_measurement("misses", 31), Outcome.DIFFERENT),
        (make_measurement("inference_s", 1.0), make_measurement("inference_s", 9.0), Outcome.DIFFERENT),
        (
            make_measurement("size_bytes", 1000, ENGINE),
            make_measurement("size_bytes", 1001, ENGINE),
            Outcome.DIFFERENT,
        ),
    ],
)
def test_a_difference_counts_where_it_is_more_than_the_known_noise(
    first: Measurement, second: Measurement, outcome: Outcome
) -> None:
    one = compare(first, second)
    assert one.outcome is outcome
    assert one.difference == second.value - first.value


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (
            make_measurement(),
            make_measurement(provenance={"dataset_sha256": "e" * 64}),
            "other dataset: cccccccccccc → eeeeeeeeeeee",
        ),
        (
            make_measurement(),
            make_measurement(provenance={"images": 100}),
            "100 images, the record has 500: too few",
        ),
        (
            make_measurement(),
            make_measurement(provenance={"protocol": {"iou": 0.7}}),
            "other protocol: conf 0.001 → none, image_size 320 → none",
        ),
        (
            ratio(0.6, 0.58, 0.62),
            ratio(0.6, 0.58, 0.62, device="cpu:B"),
            f"other device: {DEVICE} → cpu:B",
        ),
        (
            ratio(0.6, 0.58, 0.62, provenance={"baseline": "codes/fp32@onnxruntime"}),
            ratio(0.6, 0.58, 0.62, provenance={"baseline": "codes/fp32@torch"}),
            "a ratio to another baseline: codes/fp32@onnxruntime → codes/fp32@torch",
        ),
        (
            make_measurement("flops", 1e9),
            make_measurement("flops", 4e9, provenance={"protocol": {"image_size": 640}}),
            "other protocol: image_size 320 → 640",
        ),
        (make_measurement(), make_measurement(value=math.nan), "invalid: measured nan"),
        (
            make_measurement(),
            make_measurement(valid=False, why_invalid="wrong provider"),
            "invalid: wrong provider",
        ),
    ],
)
def test_what_says_nothing_about_the_other_is_not_compared(
    first: Measurement, second: Measurement, why: str
) -> None:
    one = compare(first, second)
    assert one.outcome is Outcome.NOT_COMPARED
    assert one.difference is None
    assert why in one.why


def test_a_difference_that_says_less_than_it_seems_says_why() -> None:
    assert compare(make_measurement("size_bytes", 1000), make_measurement("size_bytes", 1001)).why == ""
    assert compare(ratio(0.6, 0.58, 0.62), ratio(0.7, 0.67, 0.73)).why == ""
    accuracies = compare(make_measurement(value=0.9), make_measurement(value=0.897))
    assert accuracies.why == "no interval is known; 0.002 and more counts"


def test_a_size_has_no_dataset() -> None:
    other = make_measurement("size_bytes", 1000, provenance={"dataset_sha256": "e" * 64, "images": 3})
    assert compare(make_measurement("size_bytes", 1000), other).outcome is Outcome.SAME


def test_other_weights_and_versions_are_what_is_compared() -> None:
    first = make_measurement()
    second = with_version(make_measurement(provenance={"weights_sha256": "f" * 64}), "onnxruntime", "1.24.0")
    assert compare(first, second).outcome is Outcome.SAME
    assert explain_changes(first, second) == [
        "other weights: aaaaaaaaaaaa → ffffffffffff",
        "onnxruntime 1.23.0 → 1.24.0",
    ]


def test_what_only_one_run_has_is_listed_in_the_order_of_the_runs() -> None:
    first = [make_measurement("map50"), make_measurement("map75"), make_measurement("map50", case=FP32)]
    second = [make_measurement("recall"), make_measurement("map50")]
    compared = compare_measurements(first, second)
    assert [(one.case.variant, one.metric, one.outcome.value) for one in compared] == [
        ("int8", "map50", "same"),
        ("int8", "map75", "only in the first"),
        ("int8", "recall", "only in the second"),
        ("fp32", "map50", "only in the first"),
    ]
    assert count_outcomes(compared) == {Outcome.SAME: 1, Outcome.ONLY_FIRST: 2, Outcome.ONLY_SECOND: 1}


def test_every_metric_that_is_judged_has_a_smallest_change() -> None:
    judged = [name for name, metric in METRICS.items() if metric.unit != "seconds"]
    assert all(smallest_change(name, 1.0) > 0 for name in judged)
    assert smallest_change("map50", 0.9, 0.01) == 0.01
