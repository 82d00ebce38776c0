"""From case records to measurements, and when the machine may not judge."""

from __future__ import annotations

import dataclasses
import math

import pytest
from slimgate.flow import Case
from slimgate.gate import kind_of, propose_floors
from slimgate.gate.judge import find_causes
from slimgate.measure import PairResult
from slimgate.study.control import control_complaint
from slimgate.study.measuring import _artifact_values, add_executed_shares, list_measurements

CASE = Case(study="s", variant="v", runtime="onnxruntime")
RECORD = {
    "accuracy": {"coco": {"AP": 0.8, "AP50": 0.9}},
    "confusion": {
        "all": {"precision": 0.7, "recall": 0.6, "fp": 3, "misses": 4, "partial": 1},
        "per_class": {"a": {"recall": 0.5}, "b": {}},
    },
    "parity": {"score_max_abs": 0.02, "score_mean_abs": 0.001, "positions": 3, "box_max_share": 0.01},
    "stages": {"preprocess_s": 0.001, "inference_s": 0.01, "nms_s": 0.002},
    "model": {"flops": 100, "parameters": 10, "nonzero_parameters": 9, "weights_sha256": "x"},
    "latency": {
        "batch1": {
            "baseline": "s/fp32@onnxruntime",
            "ratio": 0.5,
            "interval": [0.4, 0.6],
            "confidence": 0.95,
            "log_ratios": [-0.7, -0.6],
        }
    },
}


def _by_metric(record):
    found = list_measurements(CASE, record, artifact=None, provenance={"images": 5}, device="cpu:x")
    return {measurement.metric: measurement for measurement in found}


def test_values_come_from_the_record_and_nothing_is_invented():
    found = _by_metric(RECORD)
    assert found["map50_95"].value == 0.8
    assert found["recall/a"].value == 0.5
    assert found["misses"].value == 4
    assert (found["parity_max_abs"].value, found["parity_box_max_abs"].value) == (0.02, 0.01)
    assert "map75" not in found
    assert "recall/b" not in found
    assert "size_bytes" not in found


def test_a_batch_size_of_the_study_is_measured_proposed_and_judged():
    entry = RECORD["latency"]["batch1"]
    versions = {"versions": {"onnxruntime": "1.23.0"}}
    (one,) = list_measurements(
        CASE, {"latency": {"batch8": entry}}, artifact=None, provenance=versions, device="cpu:x"
    )
    assert (one.metric, kind_of(one.metric), find_causes(one)) == ("latency_ratio_b8", "latency", [])
    assert propose_floors([one], today="2026-11-23").endswith(
        'latency_ratio_b8 = { max = 0.63, unit = "ratio" }\n'
    )


def test_boxes_that_nobody_sees_have_no_parity():
    found = _by_metric({"parity": {"score_max_abs": 0.0, "score_mean_abs": 0.0, "positions": 0}})
    assert list(found) == ["parity_max_abs"]


def test_seconds_have_an_interval_where_there_were_samples_enough():
    stages = {**RECORD["stages"], "inference_p99_s": 0.02, "intervals": {"inference_s": [0.009, 0.011]}}
    samples = {"few": {"median_s": 0.003, "samples_s": [0.001 * count for count in range(1, 8)]}}
    found = _by_metric({"stages": stages, "nms": samples})
    assert (found["inference_s"].interval, found["inference_s"].confidence) == ((0.009, 0.011), 0.95)
    assert (found["inference_p99_s"].value, found["inference_p99_s"].interval) == (0.02, None)
    assert found["nms_few_s"].interval == (0.001, 0.007)
    assert {one.device for one in found.values()} == {"cpu:x"}


def test_times_carry_the_device_and_accuracy_does_not():
    found = _by_metric(RECORD)
    assert found["inference_s"].device == "cpu:x"
    assert found["latency_ratio_b1"].device == "cpu:x"
    assert found["latency_ratio_b1"].interval == (0.4, 0.6)
    assert found["latency_ratio_b1"].provenance["baseline"] == "s/fp32@onnxruntime"
    assert found["map50_95"].device == "any"


def test_a_complaint_of_the_control_makes_the_latency_invalid():
    entry = {**RECORD["latency"]["batch1"], "why_invalid": "too busy"}
    found = _by_metric({**RECORD, "latency": {"batch1": entry}})
    assert not found["latency_ratio_b1"].valid
    assert found["latency_ratio_b1"].why_invalid == "too busy"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"comparisons": 60, "interval": [0.3, 0.7]}, ((0.3, 0.7), 60)),
        ({"comparisons": 60, "interval": None}, ((0.0, math.inf), 60)),
        (None, (None, 1)),  # a record of before there was one
    ],
)
def test_a_latency_carries_what_holds_in_all_comparisons_at_once(part, expected):
    entry = {**RECORD["latency"]["batch1"], **({"simultaneous": part} if part else {})}
    found = _by_metric({**RECORD, "latency": {"batch1": entry}})["latency_ratio_b1"]
    assert (found.simultaneous, found.comparisons) == expected


def _control(ratio: float) -> PairResult:
    return PairResult(
        ratio=ratio,
        interval=(ratio, ratio),
        confidence=0.95,
        rounds=9,
        calls=(1, 1),
        log_ratios=(math.log(ratio),),
        seconds_a=(1.0,),
        seconds_b=(ratio,),
        extended=False,
    )


@pytest.mark.parametrize(
    ("ratio", "budget", "complains"),
    [
        (1.00, 0.8, False),
        (1.03, 0.93, False),
        (1.04, 0.93, True),
        (1.048, 0.5, False),  # however much is asked for, 5 % are the most
        (1.05, 0.5, True),
        (1 / 1.05, 0.5, True),
        (1.02, 1.0, False),
        (1.03, 1.0, True),
        (1.02, None, False),
        (1.03, None, True),
    ],
)
def test_the_control_may_be_off_by_half_of_what_the_budget_asks(ratio, budget, complains):
    assert bool(control_complaint(_control(ratio), budget)) is complains


@pytest.mark.parametrize(
    ("interval", "budget", "complaint"),
    [
        ((0.96, 1.04), 1.0, ""),
        ((0.92, 1.09), 0.75, ""),
        ((0.96, 1.04), None, ""),
        (
            (0.80, 1.20),
            None,
            "known to lie between 0.800 and 1.200 only, off by more than the smallest effect, 5.0%",
        ),
        (
            (0.96, 1.06),
            1.0,
            "known to lie between 0.960 and 1.060 only, off by more than the 5.0% that the budget 1 asks for",
        ),
        (
            (0.90, 1.01),
            0.75,
            "known to lie between 0.900 and 1.010 only, off by more than the largest effect that a control is held "
            "against, 10.0%",
        ),
    ],
)
def test_a_control_that_knows_less_than_the_budget_asks_is_none(interval, budget, complaint):
    found = control_complaint(dataclasses.replace(_control(1.0), interval=interval), budget)
    assert complaint in found
    assert bool(found) is bool(complaint)


@pytest.mark.parametrize(
    ("measured", "known", "complaint"),
    [
        ((0.49, 0.56), (0.951, 1.023), ""),  # a gain of nearly half, beside a control known to a twentieth
        (
            (0.49, 0.56),
            (0.89, 1.0),
            "off by more than the largest effect that a control is held against, 10.0%",
        ),
        ((1.50, 1.70), (0.92, 1.09), ""),  # a loss as well
        ((0.90, 0.93), (0.93, 1.00), ""),
        ((0.90, 0.93), (0.92, 1.00), "off by more than the 7.5% that were measured"),
        ((0.97, 0.99), (0.94, 1.00), "off by more than the smallest effect, 5.0%"),
        ((0.90, 1.10), (0.80, 1.20), "off by more than the smallest effect, 5.0%"),
    ],
)
def test_without_a_budget_the_control_is_held_against_what_was_measured(measured, known, complaint):
    found = control_complaint(dataclasses.replace(_control(1.0), interval=known), None, measured)
    assert complaint in found
    assert bool(found) is bool(complaint)


def test_a_control_that_is_off_hides_no_gain_of_more_than_twice_that():
    off = _control(1.04)
    assert control_complaint(off, None, (0.7, 0.8)) == ""
    assert "more than half of the 7.5% that were measured" in control_complaint(off, None, (0.7, 0.93))


class _Runner:
    def __init__(self, shares):
        self.shares = shares

    def executed_shares(self):
        return self.shares


def test_the_shares_that_run_replace_those_of_the_graph():
    record = {
        "artifact": {
            "shares": {"int8": 1.0},
            "facts": {},
            "size_bytes": 10,
            "compressed_bytes": 5,
        }
    }
    add_executed_shares(record, _Runner(None))
    assert "graph_shares" not in record["artifact"]
    add_executed_shares(record, _Runner({"int8": 0.995, "fp16": 0.005}))
    assert record["artifact"]["graph_shares"] == {"int8": 1.0}
    found = {one[0]: one[1] for one in _artifact_values(record)}
    assert (found["int8_share"], found["fp16_share"]) == (0.995, 0.005)


def test_only_a_row_that_is_called_bfloat16_has_a_share_of_it():
    entry = {"shares": {"fp32": 1.0}, "facts": {}, "size_bytes": 1, "compressed_bytes": 1}
    ran = {"artifact": {**entry, "shares": {"bf16": 1.0}, "graph_shares": {"fp32": 1.0}}}
    assert ("bf16_share", 1.0) in _artifact_values({**ran, "precision": "bf16"})
    assert "bf16_share" not in dict(_artifact_values({**ran, "precision": "fp32"}))
    # A share of 0 where nothing ran would be a number that nobody measured.
    assert "bf16_share" not in dict(_artifact_values({"artifact": entry, "precision": "bf16"}))
    there = {"artifact": {**entry, "graph_shares": {"fp32": 1.0}}}
    assert ("bf16_share", 0.0) in _artifact_values({**there, "precision": "bf16"})
