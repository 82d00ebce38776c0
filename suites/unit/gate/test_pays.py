from __future__ import annotations

import dataclasses
import math

import pytest
from slimgate.flow import Case, Status
from slimgate.gate import Claim, judge_claim, kind_of

FP32 = Case(study="codes", variant="slim18", runtime="onnxruntime")
INT8 = Case(study="codes", variant="slim18-int8", runtime="onnxruntime")
FASTER = Claim(
    case=INT8,
    what="int8",
    gain="faster",
    against=FP32,
    batch=1,
    ratio=0.6,
    interval=(0.55, 0.65),
    control=(0.98, 1.02),
)
SMALLER = Claim(case=INT8, what="fp16", gain="smaller", against=FP32, batch=0, ratio=0.51)


@pytest.mark.parametrize(
    ("interval", "control", "status"),
    [
        ((0.55, 0.65), (0.98, 1.02), Status.PASS),
        ((0.90, 0.979), (0.98, 1.02), Status.PASS),
        ((0.90, 0.98), (0.98, 1.02), Status.INCONCLUSIVE),
        # Inside what the machine calls no difference between a network and itself.
        ((0.90, 0.99), (0.98, 1.02), Status.INCONCLUSIVE),
        ((0.95, 1.03), (0.98, 1.02), Status.INCONCLUSIVE),
        ((1.00, 1.10), (0.98, 1.02), Status.FAIL),
        ((1.20, 1.30), (0.98, 1.02), Status.FAIL),
        # A control that is off to the slow side proves no gain.
        ((0.99, 1.01), (1.02, 1.10), Status.INCONCLUSIVE),
        ((math.nan, 1.0), (0.98, 1.02), Status.INVALID),
        (None, (0.98, 1.02), Status.INVALID),
    ],
)
def test_faster_is_an_interval_wholly_below_one_and_below_the_control(interval, control, status):
    middle = 0.6 if interval is None else sum(interval) / 2
    claim = dataclasses.replace(
        FASTER, ratio=middle if math.isfinite(middle) else 1.0, interval=interval, control=control
    )
    verdict = judge_claim(claim)
    assert (verdict.status, verdict.floor) == (status, min(1.0, control[0]))


@pytest.mark.parametrize(
    ("interval", "simultaneous", "status"),
    [
        ((0.55, 0.65), (0.40, 1.10), Status.PASS),
        ((1.01, 1.10), (0.99, 1.15), Status.INCONCLUSIVE),
        ((1.05, 1.10), (1.00, 1.15), Status.FAIL),
    ],
)
def test_not_faster_must_hold_in_all_comparisons_at_once(interval, simultaneous, status):
    claim = dataclasses.replace(FASTER, ratio=sum(interval) / 2, interval=interval, simultaneous=simultaneous)
    assert judge_claim(claim).status is status


@pytest.mark.parametrize(
    ("ratio", "status"),
    [
        (0.51, Status.PASS),
        (0.60, Status.PASS),
        (0.61, Status.FAIL),
        (1.0, Status.FAIL),
        (math.nan, Status.INVALID),
    ],
)
def test_smaller_is_a_share_of_the_bytes(ratio, status):
    verdict = judge_claim(dataclasses.replace(SMALLER, ratio=ratio))
    assert (verdict.status, verdict.metric, verdict.floor) == (status, "pays/fp16", 0.6)
    assert verdict.measured == (ratio if math.isfinite(ratio) else None)


def test_a_step_that_gains_nothing_says_so_with_the_numbers_and_what_to_do():
    slower = dataclasses.replace(FASTER, ratio=1.21, interval=(1.15, 1.25))
    verdict = judge_claim(slower, reproduce="slimgate study codes")
    assert (verdict.metric, verdict.measured, verdict.unit) == ("pays/int8_b1", 1.21, "ratio")
    assert verdict.message.splitlines() == [
        "codes/slim18-int8@onnxruntime pays/int8_b1: FAIL",
        "  cause      int8 is not faster: 8-bit arithmetic that is not faster only costs accuracy: conversions "
        "between the layers eat what it saves, or the layers run in float",
        "  measured   1.210 of the time of codes/slim18@onnxruntime at batch 1 (interval 1.150 to 1.250)",
        "  expected   an interval wholly below 1 and below that of the A/A control, 0.980 to 1.020",
        "  action     leave this step out, or waive the verdict with a reason and an expiry date",
        "  reproduce  slimgate study codes -k 'codes/slim18-int8@onnxruntime'",
    ]


def test_half_precision_that_is_not_smaller_says_so():
    message = judge_claim(dataclasses.replace(SMALLER, ratio=0.99)).message
    assert "fp16 is not smaller: the weights were not stored in half precision" in message
    assert "0.990 of the bytes of codes/slim18@onnxruntime" in message
    assert "expected   0.6 or less" in message


def test_the_verdict_is_one_of_its_suite():
    assert [kind_of(judge_claim(one).metric) for one in (FASTER, SMALLER)] == ["latency", "size"]


@pytest.mark.parametrize("interval", [(0.55, 0.65), (1.20, 1.30)])
def test_a_machine_that_cannot_tell_neither_proves_a_gain_nor_refutes_it(interval):
    why = "the A/A control is off by 10.0%, more than half of the smallest effect, 5.0%"
    verdict = judge_claim(
        dataclasses.replace(FASTER, ratio=sum(interval) / 2, interval=interval, why_invalid=why)
    )
    assert verdict.status is Status.INVALID
    assert f"  cause      {why}\n" in verdict.message
    assert "action     measure it again, alone on the machine: what cannot be judged cannot be waived" in (
        verdict.message
    )


def test_int8_beside_fp16_has_a_verdict_and_a_cause_of_its_own():
    claim = dataclasses.replace(FASTER, what="int8_fp16", ratio=1.2, interval=(1.15, 1.25))
    verdict = judge_claim(claim)
    assert (verdict.metric, verdict.status) == ("pays/int8_fp16_b1", Status.FAIL)
    assert (
        "int8_fp16 is not faster: FP16 is nearly as accurate as FP32, so INT8 that is not" in verdict.message
    )
