from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slimgate.flow import Case, Measurement, Status
from slimgate.gate import Floors, Judgement, Matrix, Records, judge_run, load_floors

from fixtures.goldens import DEVICE, FP32, INT8, LATENCY_TOML, make_floor, make_measurement, make_record

ENGINE = Case(study="codes", variant="int8", runtime="tensorrt-rtx-sm86")
REQUIRED = ("map50_95", "size_bytes")


def green_run() -> list[Measurement]:
    return [
        make_measurement("map50_95", 0.896, FP32),
        make_measurement("map50_95", 0.895),
        make_measurement("recall/qrcode", 0.955),
        make_measurement("size_bytes", 2_850_000),
        make_measurement("latency_ratio_b1", 0.6, device=DEVICE, interval=(0.58, 0.62), confidence=0.95),
    ]


def judge_all(
    floors: Floors, measurements: Sequence[Measurement], records: Sequence[Measurement] = (), **settings: Any
) -> Judgement:
    accepted = {(one.case, one.metric, one.device): make_record(one) for one in records or green_run()}
    matrix = Matrix(**{"cases": (FP32, INT8), "full": True, "required": ("map50_95",), **settings})
    return judge_run(measurements, floors, Records(by_key=accepted), matrix)


@pytest.fixture
def floors(golden: Path) -> Floors:
    return load_floors(golden, "codes", device=DEVICE)


def red_messages(judgement: Judgement) -> list[str]:
    return [f"{verdict.case} {verdict.metric}\n{verdict.message}" for verdict in judgement.red()]


def test_a_green_run_uses_every_floor(floors: Floors) -> None:
    judgement = judge_all(floors, green_run())
    assert judgement.counts() == {"PASS": 6, "not proven": 0}
    assert not judgement.is_red(strict_floors=True)


def test_a_stale_floor_is_red_only_when_floors_are_strict(floors: Floors) -> None:
    run = green_run()
    run[2] = make_measurement("recall/qrcode", 0.999)
    judgement = judge_all(floors, run)
    assert judgement.counts() == {"STALE": 1, "PASS": 5, "not proven": 0}
    assert judgement.summary() == "1 STALE, 5 PASS, 0 not proven"
    assert not judgement.is_red()
    assert judgement.is_red(strict_floors=True)
    assert [verdict.metric for verdict in judgement.red(strict_floors=True)] == ["recall/qrcode"]


@pytest.mark.parametrize("index", range(5))
def test_a_metric_that_vanished_is_invalid(floors: Floors, index: int) -> None:
    run = green_run()
    gone = run.pop(index)
    messages = red_messages(judge_all(floors, run))
    expected = "nothing of it was measured" if index == 0 else "the metric was not measured"
    assert expected in messages[0]
    assert str(gone.case) in messages[0]


def test_a_case_that_vanished_is_invalid_in_a_full_run_only(floors: Floors) -> None:
    run = [one for one in green_run() if one.case == FP32]
    full = red_messages(judge_all(floors, run, cases=(FP32,)))
    assert len(full) == 5
    assert "the floor is unused: the study has no such case" in full[0]
    assert "golden/floors/codes.toml:10 (2026-11-20: the first accepted run)" in full[0]
    vanished = judge_all(floors, run, cases=(FP32,)).red()
    assert [verdict.floor for verdict in vanished] == [0.89, None, 0.95, 2_900_000, 0.95]
    assert [verdict.golden for verdict in vanished] == [
        *(f"golden/floors/codes.toml:{line}" for line in (10, 10, 14, 15)),
        "golden/floors/codes.cpu-amd-epyc-9r14.toml:11",
    ]
    assert not judge_all(floors, run, cases=(FP32,), full=False).is_red()


def test_a_failed_case_is_one_invalid_verdict(floors: Floors) -> None:
    judgement = judge_all(floors, green_run()[:1], failed={INT8: "export: opset 17 lacks Foo"})
    assert [(verdict.case, verdict.metric) for verdict in judgement.red()] == [(INT8, "case")]
    assert "it failed: export: opset 17 lacks Foo" in judgement.red()[0].message
    assert "slimgate study -k 'codes/int8@onnxruntime'" in judgement.red()[0].message


def test_a_required_metric_without_a_floor_prints_the_floor_to_paste(floors: Floors) -> None:
    run = [*green_run(), make_measurement("size_bytes", 10_000_000, FP32)]
    judgement = judge_all(floors, run, required=REQUIRED)
    (verdict,) = judgement.red()
    assert verdict.floor is None
    assert (verdict.case, verdict.metric, verdict.measured) == (FP32, "size_bytes", 10_000_000)
    assert 'size_bytes = { max = 10100000, slack = 505000, unit = "bytes" }' in verdict.message
    assert "measured   10 000 000 bytes" in verdict.message


def test_a_metric_nobody_requires_needs_no_floor_unless_it_is_invalid(floors: Floors) -> None:
    assert not judge_all(floors, [*green_run(), make_measurement("map75", 0.9)]).is_red()
    bad = make_measurement("map75", 0.9, valid=False, why_invalid="wrong provider: CPU ran")
    assert "wrong provider: CPU ran" in red_messages(judge_all(floors, [*green_run(), bad]))[0]
    asked = [*green_run()[:2], make_measurement("recall/qrcode", 0.9, valid=False, why_invalid="CPU ran")]
    (told,) = judge_all(floors, [*asked, *green_run()[3:]]).red()
    assert (told.metric, told.golden) == ("recall/qrcode", "golden/floors/codes.toml:14")


def test_a_missing_number_is_no_reason_to_propose_a_floor(floors: Floors) -> None:
    run = [*green_run(), make_measurement("size_bytes", math.nan, FP32)]
    (verdict,) = judge_all(floors, run, required=REQUIRED).red()
    assert verdict.measured is None
    assert "measured nan" in verdict.message


def test_a_metric_measured_twice_is_invalid(floors: Floors) -> None:
    (verdict,) = judge_all(floors, [*green_run(), make_measurement("map50_95", 0.896)]).red()
    assert verdict.measured == 0.896
    assert verdict.message.splitlines() == [
        "codes/int8@onnxruntime map50_95: INVALID",
        "  cause      measured twice in one run",
        "  measured   0.8960",
        "  what to do list the case once in the study; a second number may be of another file",
        "  reproduce  slimgate study -k 'codes/int8@onnxruntime'",
    ]


def test_a_case_that_nobody_selected_is_invalid(floors: Floors) -> None:
    stray = make_measurement("map50_95", 0.9, ENGINE)
    (verdict,) = judge_all(floors, [*green_run(), stray]).red()
    assert verdict.measured == 0.9
    assert "its case was not selected" in verdict.message


def test_a_case_that_cannot_run_here_is_counted_and_what_was_measured_is_judged(floors: Floors) -> None:
    settings = {
        "cases": (FP32, INT8, ENGINE),
        "required": ("map50_95",),
        "not_proven": {ENGINE: "no GPU here"},
    }
    judgement = judge_all(floors, green_run(), **settings)
    assert judgement.counts()["not proven"] == 1
    assert (judgement.not_proven[0].case, judgement.not_proven[0].reason) == (ENGINE, "no GPU here")
    assert not judgement.is_red()
    size = make_measurement("size_bytes", 9_000_000, ENGINE, provenance={"versions": {"tensorrt-rtx": "1.7"}})
    run = [*green_run(), size, make_measurement("size_bytes", 10_000_000, FP32)]
    messages = red_messages(judge_all(floors, run, **{**settings, "required": REQUIRED}))
    assert len(messages) == 2
    assert 'size_bytes = { min = 6750000, max = 11250000, unit = "bytes" }' in messages[1]


def test_what_a_file_no_longer_tells_is_invalid_though_the_case_cannot_run_here(floors: Floors) -> None:
    metrics = ("size_bytes", "int8_share", "weight_memory_bytes", "map50")
    bounds = [make_floor(metric, ENGINE, runtime="tensorrt-rtx 1", min=0.5) for metric in metrics]
    floors = replace(floors, floors=(*floors.floors, *bounds))
    settings = {"cases": (FP32, INT8, ENGINE), "not_proven": {ENGINE: "built, not run: no GPU"}}
    versions = {"versions": {"tensorrt-rtx": "1.7"}}
    size = make_measurement("size_bytes", 9_000_000, ENGINE, provenance=versions)
    run = [*green_run(), size]
    judgement = judge_all(floors, run, records=run, **settings)
    assert [(one.case, one.metric) for one in judgement.red()] == [
        (ENGINE, "int8_share"),
        (ENGINE, "weight_memory_bytes"),
    ]
    assert "the metric was not measured" in judgement.red()[0].message
    # Without a file there is nothing to read them from: the whole case is not proven.
    model = make_measurement("parameters", 1000, ENGINE, provenance=versions)
    assert not judge_all(floors, [*green_run(), model], **settings).is_red()


def test_bfloat16_is_in_no_file_and_is_not_proven_where_nothing_runs_it(floors: Floors) -> None:
    row = Case(study="codes", variant="bf16", runtime="openvino-bf16")
    bounds = [
        make_floor(metric, row, runtime="openvino 2026", min=0.5) for metric in ("size_bytes", "bf16_share")
    ]
    floors = replace(floors, floors=(*floors.floors, *bounds))
    reason = "built, not run: this CPU does not compute in bfloat16"
    size = make_measurement("size_bytes", 9_000_000, row, provenance={"versions": {"openvino": "2026.1"}})
    run = [*green_run(), size]
    settings = {"cases": (FP32, INT8, row), "required": ()}
    judgement = judge_all(floors, run, records=run, not_proven={row: reason}, **settings)
    assert judgement.red() == ()
    assert [(gap.case, gap.reason) for gap in judgement.not_proven] == [(row, reason)]
    ran = judge_all(floors, run, records=run, **settings)
    assert [(one.case, one.metric) for one in ran.red()] == [(row, "bf16_share")]


def test_a_device_without_latency_floors_is_not_proven(golden: Path) -> None:
    floors = load_floors(golden, "codes", device="cpu:new")
    run = [one for one in green_run() if one.metric != "latency_ratio_b1"]
    run += [make_measurement("latency_ratio_b1", 0.6, case, device="cpu:new") for case in (FP32, INT8)]
    judgement = judge_all(floors, run, required=("latency_ratio_b1",))
    assert not judgement.is_red()
    assert [gap.metric for gap in judgement.not_proven] == ["latency_ratio_b1"] * 2
    assert (
        "no latency floors for cpu:new: 'slimgate accept RUN_DIR' prints them"
        in judgement.not_proven[0].reason
    )


def on_a_new_device(*metrics: str, **changes: Any) -> list[Measurement]:
    """Return a run on a device that has no floors, with these times of the INT8 case; ratios are to FP32."""
    run = [one for one in green_run() if one.metric != "latency_ratio_b1"]
    settings = {"device": "cpu:new", "provenance": {"baseline": str(FP32)}, **changes}
    return [*run, *(make_measurement(metric, 3.0, **settings) for metric in metrics)]


def test_times_of_a_new_device_are_not_proven_though_nobody_requires_them(golden: Path) -> None:
    floors = load_floors(golden, "codes", device="cpu:new")
    run = on_a_new_device("inference_s", "latency_ratio_b1", "latency_ratio_b32")
    own = make_measurement(
        "latency_ratio_b1", 1.0, FP32, device="cpu:new", provenance={"baseline": str(FP32)}
    )
    judgement = judge_all(floors, [*run, own], required=("map50_95",))
    assert [(gap.case, gap.metric) for gap in judgement.not_proven] == [
        (INT8, "latency_ratio_b1"),
        (INT8, "latency_ratio_b32"),
    ]
    assert judgement.summary() == "5 PASS, 2 not proven"


def test_what_another_device_has_a_floor_for_is_not_proven_on_a_new_one(golden: Path) -> None:
    held = LATENCY_TOML.replace(
        'latency_ratio_b1 = { max = 0.95, unit = "ratio" }', 'nms_s = { max = 1, unit = "seconds" }'
    )
    (golden / "floors" / "codes.cpu-third.toml").write_text(held.replace(DEVICE, "cpu:third"))
    floors = load_floors(golden, "codes", device="cpu:new")
    assert floors.elsewhere == {(INT8, "latency_ratio_b1"), (INT8, "nms_s")}
    # The ratio was not even measured: what it is compared with may not have run.
    judgement = judge_all(floors, on_a_new_device("inference_s", "nms_s"), required=())
    assert sorted(gap.metric for gap in judgement.not_proven) == ["latency_ratio_b1", "nms_s"]
    assert {gap.reason for gap in judgement.not_proven} == {
        "no latency floors for cpu:new: 'slimgate accept RUN_DIR' prints them"
    }
    known = load_floors(golden, "codes", device=(DEVICE, "cpu:new"))
    assert "the metric was not measured" in red_messages(judge_all(known, on_a_new_device("nms_s")))[0]


@pytest.mark.parametrize("required", [(), ("latency_ratio_b1",)])
def test_a_time_that_is_invalid_is_so_on_a_new_device_too(golden: Path, required: tuple[str, ...]) -> None:
    floors = load_floors(golden, "codes", device="cpu:new")
    run = on_a_new_device("latency_ratio_b1", valid=False, why_invalid="the A/A control is off")
    judgement = judge_all(floors, run, required=required)
    assert "the A/A control is off" in red_messages(judgement)[-1]
    assert judgement.not_proven == ()


def test_times_that_were_not_measured_beside_other_workers_are_not_proven(floors: Floors) -> None:
    run = [one for one in green_run() if one.metric != "latency_ratio_b1"]
    judgement = judge_all(floors, run, timed=False)
    assert not judgement.is_red()
    assert [(gap.case, gap.metric) for gap in judgement.not_proven] == [(INT8, "latency_ratio_b1")]
    assert "other processes shared the cores" in judgement.not_proven[0].reason


def test_a_machine_with_two_devices_is_judged_by_the_floors_of_each(golden: Path) -> None:
    gpu = "gpu:NVIDIA H100 driver 570"
    text = LATENCY_TOML.replace(DEVICE, gpu).replace("0.95", "0.30")
    (golden / "floors" / "codes.gpu-nvidia-h100-driver-570.toml").write_text(text)
    floors = load_floors(golden, "codes", device=(DEVICE, gpu))
    assert floors.devices == {DEVICE, gpu}
    run = [*green_run()[:-1], make_measurement("latency_ratio_b1", 0.6, device=gpu)]
    (message,) = red_messages(judge_all(floors, run, records=run))
    assert "max 0.3000" in message
    assert f"0.6000 on {gpu}" in message


def test_a_known_device_must_have_every_required_latency_floor(floors: Floors) -> None:
    run = [*green_run(), make_measurement("latency_ratio_b1", 1.0, FP32, device=DEVICE)]
    (message,) = red_messages(judge_all(floors, run, required=("latency_ratio_b1",)))
    assert "codes/fp32@onnxruntime latency_ratio_b1" in message
    assert "no floor" in message


def test_the_floor_of_another_runtime_major_is_not_borrowed(floors: Floors) -> None:
    newer = {"versions": {"onnxruntime": "2.0"}}
    run = [*green_run()[:-2], make_measurement("size_bytes", 2_850_000, provenance=newer), green_run()[-1]]
    (message,) = red_messages(judge_all(floors, run))
    assert "ran with onnxruntime 2, the floor is of onnxruntime 1" in message


def test_a_measurement_that_does_not_say_its_versions_is_invalid(floors: Floors) -> None:
    bare = Measurement(case=INT8, metric="size_bytes", value=2_850_000, unit="bytes")
    run = [*green_run()[:3], bare, green_run()[-1]]
    (verdict,) = judge_all(floors, run, records=run).red()
    assert (verdict.metric, verdict.status) == ("size_bytes", Status.INVALID)
    assert "ran with" in verdict.message


def test_a_required_metric_that_has_no_floor_and_was_not_measured_is_invalid(floors: Floors) -> None:
    messages = red_messages(judge_all(floors, green_run(), required=("map50_95", "map75")))
    assert len(messages) == 2
    assert all("map75\n" in message and "the metric was not measured" in message for message in messages)


def test_a_floor_that_a_broken_detector_holds_is_invalid_in_a_run(floors: Floors) -> None:
    broken = {"every class taken for the next": {"map50_95": 0.02, "recall/qrcode": 0.96}}
    (verdict,) = judge_all(floors, green_run(), broken=broken).red()
    assert (verdict.metric, verdict.status) == ("recall/qrcode", Status.INVALID)
    assert "with every class taken for the next it scores 0.9600" in verdict.message


def test_a_floor_relative_to_another_case_is_held_against_a_broken_detector_too(floors: Floors) -> None:
    broken = {"every class taken for the next": {"map50_95": 0.892}}
    absolute, relative = judge_all(floors, green_run(), broken=broken).red()
    assert "floor      min 0.8900, slack 0.01\n" in absolute.message
    assert "floor      min 0.8910, max_drop 0.005 from codes/fp32@onnxruntime\n" in relative.message
    assert "cause      the floor is vacuous" in relative.message


def test_a_relative_floor_is_held_against_the_same_run(floors: Floors) -> None:
    run = green_run()
    run[0] = make_measurement("map50_95", 0.9021, FP32)
    (message,) = red_messages(judge_all(floors, run))
    assert "max_drop 0.005 from codes/fp32@onnxruntime" in message
    assert "reference  codes/fp32@onnxruntime 0.9021" in message


def test_a_record_of_this_very_run_is_no_judge(floors: Floors) -> None:
    judgement = judge_all(floors, green_run(), run_id="earlier")
    assert len(judgement.red()) == 6
    assert "accepted from this very run" in judgement.red()[0].message


def test_a_run_in_which_nothing_was_judged_is_red(floors: Floors) -> None:
    judgement = judge_all(floors, [], full=False, not_proven={FP32: "no data", INT8: "no data"})
    assert judgement.verdicts == ()
    assert judgement.is_red()


def test_verdicts_are_listed_worst_first(floors: Floors) -> None:
    run = green_run()
    run[1] = make_measurement("map50_95", 0.5)
    run[2] = make_measurement("recall/qrcode", 0.999)
    run[3] = make_measurement("size_bytes", math.nan)
    run[4] = make_measurement("latency_ratio_b1", 0.95, device=DEVICE, interval=(0.9, 1.0))
    statuses = [verdict.status for verdict in judge_all(floors, run).worst_first]
    assert statuses == [
        Status.FAIL,
        Status.FAIL,
        Status.INVALID,
        Status.INCONCLUSIVE,
        Status.STALE,
        Status.PASS,
    ]
