"""Every red verdict says what to do: by its metric where a floor is missed, by its cause where it cannot be judged."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.errors import InputError, UsageError
from slimgate.flow import Case, Status
from slimgate.gate import Floor, Matrix, Records, judge, judge_run
from slimgate.gate.advice import DO, LOOK_AT, RECALL_OF_CLASS, advise, look_at
from slimgate.gate.floors import Floors
from slimgate.measure import METRICS, metric_for

from fixtures.goldens import DEVICE, FP32, INT8, make_floor, make_measurement, make_record

REPORT = Path(__file__).parents[3] / "docs" / "report.md"


def test_every_metric_has_its_line_and_no_line_is_of_another() -> None:
    assert set(LOOK_AT) == {*METRICS, RECALL_OF_CLASS}
    assert [metric for metric, text in LOOK_AT.items() if not text] == []
    assert look_at("recall/qr code[1]") == look_at("recall/qrcode[codes:test]") == look_at("recall/qrcode")
    assert look_at("recall/qrcode").startswith("this class alone")
    assert look_at("map50_95[codes:test]") == look_at("map50_95")
    assert look_at("latency_ratio_same_b8") == look_at("latency_ratio_same_b1")
    with pytest.raises(UsageError, match="unknown metric"):
        look_at("map50-95")


@pytest.mark.parametrize("metric", [*METRICS, "recall/qrcode", "misses[codes:test]"])
def test_a_miss_says_where_to_look(metric: str) -> None:
    # Times are judged by their intervals.
    timed = {"interval": (0.48, 0.52), "confidence": 0.95} if metric_for(metric).unit == "seconds" else {}
    measurement = make_measurement(metric, 0.5, **timed)
    verdict = judge(measurement, make_floor(metric, min=0.6), record=make_record(measurement))
    assert verdict.status is Status.FAIL
    assert f"\n  look at    {look_at(metric)}\n  reproduce  " in verdict.message
    verdict = judge(measurement, make_floor(metric, max=0.4), record=make_record(measurement))
    assert f"\n  look at    {look_at(metric, high=True)}\n  reproduce  " in verdict.message


@pytest.mark.parametrize(
    "metric", ["map50_95", "recall/qrcode", "size_bytes", "nonzero_parameters", "int8_share"]
)
def test_too_much_of_a_metric_comes_from_elsewhere_than_too_little(metric: str) -> None:
    assert look_at(metric) != look_at(metric, high=True)


def test_advice_names_the_command_that_shows_more() -> None:
    for precision in ("int8_share", "fp16_share", "bf16_share"):
        for high in (False, True):
            assert look_at(precision, high=high).endswith(": 'slimgate inspect FILE'")


def test_what_is_not_shown_to_hold_blames_the_machine_first() -> None:
    timed = make_measurement("latency_ratio_b1", 0.95, device=DEVICE, interval=(0.9, 1.1), confidence=0.95)
    floor = make_floor("latency_ratio_b1", device=DEVICE, max=1.0)
    verdict = judge(timed, floor, record=make_record(timed))
    assert verdict.status is Status.INCONCLUSIVE
    assert "\n  look at    what else runs on this machine: time it alone" in verdict.message


@pytest.mark.parametrize("status", [Status.PASS, Status.STALE])
def test_what_is_green_needs_no_advice(status: Status) -> None:
    assert advise(status, "map50_95") is None
    measurement = make_measurement("map50_95", 0.9)
    assert "look at" not in judge(measurement, make_floor(min=0.8), record=make_record(measurement)).message


def cause_of(floor: Floor | None = None, *, record: Any = True, **changes: Any) -> str:
    measurement = make_measurement(**changes)
    floor = floor or make_floor(measurement.metric, device=measurement.device, min=0.5)
    evidence = make_record(measurement) if record is True else record
    reference = make_measurement(case=FP32, value=math.nan) if floor.relative_to else None
    return judge(measurement, floor, record=evidence, reference=reference, run_id="now").message


RATIO = {"metric": "latency_ratio_b1", "value": 1.0, "device": DEVICE}
OTHER = make_record(make_measurement(provenance={"images": 12}))
SINGLE = {
    "not valid": cause_of(valid=False, why_invalid="the A/A control is off by 9 %"),
    "busy": cause_of(valid=False, why_invalid="16 % more: this machine is too busy to judge"),
    "state": cause_of(
        valid=False, why_invalid="x took 1.70 times as long: the machine was in a slower state"
    ),
    "unit": cause_of(unit="count"),
    "NaN": cause_of(value=math.nan),
    "percent": cause_of(value=90.0),
    "outside": cause_of(**RATIO, interval=(1.1, 1.2), confidence=0.95),
    "simultaneous": cause_of(
        **RATIO, interval=(0.8, 1.2), confidence=0.95, simultaneous=(0.9, 1.1), comparisons=3
    ),
    "confidence": cause_of(**RATIO, interval=(0.8, 1.2), confidence=0.5),
    "samples": cause_of(**RATIO, samples=(0.5, 0.6)),
    "floor of another": cause_of(make_floor(case=FP32, min=0.5)),
    "floor's unit": cause_of(make_floor(unit="count", min=0.5)),
    "device": cause_of(make_floor(device="cpu:other", min=0.5)),
    "major": cause_of(make_floor(runtime="onnxruntime 2", min=0.5)),
    "no record": cause_of(record=None),
    "own record": cause_of(record=make_record(make_measurement(), run_id="now")),
    "record's unit": cause_of(record=make_record(make_measurement(device="cpu:other"))),
    "another run": cause_of(record=OTHER),
    "reference": cause_of(make_floor(relative_to=FP32, max_drop=0.1)),
    "no reference": judge(
        make_measurement(), make_floor(relative_to=FP32, max_drop=0.1), record=make_record(make_measurement())
    ).message,
    "held against": judge(
        make_measurement(),
        make_floor(relative_to=FP32, max_drop=0.1),
        record=make_record(make_measurement()),
        reference=make_measurement(),
    ).message,
}


def messages_of_a_run() -> dict[str, str]:
    """Return what is said about a whole run in which everything is missing that can be."""
    gone, broken = Case(study="codes", variant="gone", runtime="onnxruntime"), "x.onnx: cut off"
    stray = Case(study="codes", variant="stray", runtime="onnxruntime")
    error = str(InputError("x.onnx", found="cut off", expected="a file", action="export it again"))
    told = Case(study="codes", variant="told", runtime="onnxruntime")
    empty = Case(study="codes", variant="empty", runtime="onnxruntime")
    floors = Floors(
        study="codes",
        floors=(make_floor(case=gone, min=0.5), make_floor("map75", min=0.5)),
        devices=frozenset(),
        files=(),
    )
    run = [
        make_measurement(),
        make_measurement(),
        make_measurement(case=stray),
        make_measurement("map50", 90),
    ]
    matrix = Matrix(
        cases=(FP32, INT8, told, empty), full=True, required=("map50_95",), failed={FP32: broken, told: error}
    )
    judgement = judge_run(run, floors, Records(), matrix)
    assert {verdict.status for verdict in judgement.verdicts} == {Status.INVALID}
    return {
        f"{verdict.case} {verdict.metric} {index}": verdict.message
        for index, verdict in enumerate(judgement.verdicts)
    }


OF_A_RUN = messages_of_a_run()
EVERY = {**SINGLE, **OF_A_RUN}


@pytest.mark.parametrize("message", EVERY.values(), ids=EVERY)
def test_what_cannot_be_judged_says_what_to_do_once(message: str) -> None:
    assert ": INVALID\n" in message
    said_by_the_cause = any(words in message for words, action in DO if not action)
    assert message.count("what to do") == (0 if said_by_the_cause else 1), message


def test_every_line_of_the_table_is_said() -> None:
    told = "\n".join([*EVERY.values(), "the floor is vacuous"])  # that one is test_vacuous.py's
    silent = [words for words, action in DO if (action or words) not in told]
    assert silent == []


def test_an_error_that_says_what_to_do_is_not_talked_over() -> None:
    (message,) = [text for text in OF_A_RUN.values() if "export it again" in text]
    assert message.count("what to do") == 1
    assert advise(Status.INVALID, "case", "it failed: x.onnx: cut off\n  what to do: export it again") is None
    assert advise(Status.INVALID, "case", "something new") == (
        "what to do",
        "mend what the cause names, and run the case again",
    )


def test_the_message_in_the_documentation_is_one_that_is_said() -> None:
    accepted = make_measurement("recall/barcode", 0.9312)
    measurement = replace(
        accepted,
        value=0.9031,
        provenance={**accepted.provenance, "versions": {"onnxruntime": "1.24.0", "numpy": "2.3.1"}},
    )
    floor = make_floor(
        "recall/barcode",
        min=0.92,
        slack=0.01,
        date=dt.date(2026, 1, 10),
        reason="barcodes are what the line stops for",
        where="golden/floors/codes.toml:41",
    )
    record = make_record(accepted, started="2026-01-10T08:00:00Z", git_commit="1a2b3c4d5e")
    message = judge(measurement, floor, record=record, reproduce="slimgate study codes").message
    shown = re.search(
        r"^    codes/int8@onnxruntime recall/barcode: FAIL\n(?:    .*\n)+", REPORT.read_text(), re.MULTILINE
    )
    assert shown is not None
    assert shown[0] == "".join(f"    {line}\n" for line in message.splitlines())
