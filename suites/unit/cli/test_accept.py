"""Accepting a run: what is written, what is printed to be pasted, and what that holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from slimgate.flow import Status, Verdict
from slimgate.gate import Judgement, Matrix, judge_run, load_floors, load_records

from fixtures.acceptances import (
    MEASURED,
    NEW_WEIGHTS,
    SIZE,
    accept,
    change,
    judge_again,
    paste,
    with_provenance,
)
from fixtures.goldens import DEVICE, FLOORS_TOML, FP32, INT8, LATENCY_TOML, make_measurement, make_run


def test_from_a_first_run_to_a_green_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = tmp_path / "golden"
    assert accept(make_run(tmp_path / "run", MEASURED), golden) == 0
    output, told = capsys.readouterr()
    assert not (golden / "floors").exists(), "no program writes floors"
    assert "# ---- golden/floors/codes.toml: new floors\nformat" in output
    assert "# ---- golden/floors/codes.cpu-amd-epyc-9r14.toml: new floors\nformat" in output
    assert "map75" not in output
    assert str(tmp_path) not in output + told
    assert "floors: 5 new; 0 stand as they are" in told
    assert "records: 3 written: 2 in golden/records/codes/any, 1 in golden/records/codes/cpu-amd" in told
    assert "next: paste the floors that you stand behind" in told
    paste(output, golden)
    assert judge_again(golden, MEASURED).counts() == {"PASS": 5, "not proven": 0}
    same_run = judge_again(golden, MEASURED, "now")
    assert same_run.counts() == {"INVALID": 5, "not proven": 0}


def test_floors_that_stand_are_not_printed(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert accept(make_run(held.parent / "run", MEASURED), held) == 0
        output, told = capsys.readouterr()
        assert output == ""
        assert "floors: none to change; 6 stand as they are" in told


def test_a_failing_run_needs_a_reason_and_shows_both_values(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = change(4, 0.90)
    run = make_run(held.parent / "run", measured)
    assert accept(run, held) == 2
    complaint = capsys.readouterr().err
    assert f"{run}: does not hold its floors: codes/int8@onnxruntime recall/qrcode\n" in complaint
    assert "what to do: mend the model, or say why with --reason" in complaint
    assert not (held / "records").exists()
    assert accept(run, held, "--reason", 'the "smaller" head was asked for') == 0
    output = capsys.readouterr().out
    assert '# ---- golden/floors/codes.toml: LOOSER floors: the "smaller" head was asked for\n' in output
    assert (
        "# codes/int8@onnxruntime recall/qrcode, in place of line 14: min 0.9500 → 0.8950, looser by 0.0550\n"
    ) in output
    record = load_records(held, "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.accepted.reason == 'the "smaller" head was asked for'
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 7, "not proven": 0}
    (floor,) = load_floors(held, "codes", device=DEVICE).for_metric(INT8, "recall/qrcode")
    assert floor.reason == 'the "smaller" head was asked for'


def test_what_failed_then_needs_a_reason_though_its_floor_was_lowered_since(held: Path) -> None:
    failed = Verdict(
        case=INT8,
        metric="recall/qrcode",
        status=Status.FAIL,
        measured=0.955,
        floor=0.99,
        unit="fraction",
        message="",
    )
    run = make_run(held.parent / "run", MEASURED, Judgement(verdicts=(failed,)))
    assert accept(run, held) == 2
    assert accept(run, held, "--reason", "it was set by mistake") == 0
    passed = dataclasses.replace(failed, status=Status.PASS)
    no_gain = dataclasses.replace(failed, metric="pays/int8_b1")
    run = make_run(held.parent / "run", MEASURED, Judgement(verdicts=(passed, no_gain)))
    assert accept(run, held) == 0, "what does not pay lowers no floor"


def test_a_beaten_floor_is_printed_tighter(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = change(4, 0.99)
    assert accept(make_run(held.parent / "run", measured), held) == 0
    output, told = capsys.readouterr()
    assert "in place of line 14: min 0.9500 → 0.9850, tighter by 0.0350" in output
    assert "LOOSER" not in output
    assert "floors: 1 tighter; 5 stand as they are" in told
    assert judge_again(held, measured).counts()["STALE"] == 1
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 7, "not proven": 0}


def test_a_line_is_what_an_editor_counts_as_one(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = held / "floors" / "codes.toml"
    file.write_text(file.read_text().replace("the first", "the\u2028first", 1), encoding="utf-8")
    assert accept(make_run(held.parent / "run", change(4, 0.99)), held) == 0
    assert "in place of line 14: min 0.9500 → 0.9850" in capsys.readouterr().out


def test_a_relative_floor_beside_an_absolute_one_is_put_in_place_with_it(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = change(2, 0.88)
    assert accept(make_run(held.parent / "run", measured), held, "--reason", "r") == 0
    output = capsys.readouterr().out
    assert (
        "map50_95, in place of lines 10-13: min 0.8900 → 0.8750, looser by 0.0150; "
        "relative to codes/fp32@onnxruntime: max_drop 0.0050 → 0.0170, looser by 0.0120\n"
    ) in output
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 7, "not proven": 0}


def test_a_drop_that_is_no_tolerance_is_taken_out(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = change(2, 0.5)
    assert accept(make_run(held.parent / "run", measured), held, "--reason", "r") == 0
    output = capsys.readouterr().out
    assert "relative to codes/fp32@onnxruntime: no such floor can hold 0.5: remove it" in output
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 6, "not proven": 0}


def test_new_weights_are_taken_with_a_reason_and_every_difference_is_named(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept(make_run(held.parent / "old", MEASURED, run_id="old"), held)
    capsys.readouterr()
    better = (*change(4, 0.952)[:3], *change(4, 0.958)[3:])
    measured = with_provenance(better, **NEW_WEIGHTS)
    assert judge_again(held, measured).counts()["INVALID"] == 7
    run = make_run(held.parent / "run", measured)
    before = {path: path.read_bytes() for path in held.rglob("*.json")}
    assert accept(run, held) == 2
    complaint = capsys.readouterr().err
    assert (
        f"is not of what its records are of: other weights: {'a' * 12} → {'e' * 12} (2 cases)\n" in complaint
    )
    assert "say why with --reason" in complaint
    assert {path: path.read_bytes() for path in held.rglob("*.json")} == before
    assert accept(run, held, "--reason", "new weights") == 0
    output, told = capsys.readouterr()
    assert f"accepted as another thing than its records: other weights: {'a' * 12} → {'e' * 12}" in told
    assert "tighter floors" in output
    assert "min 0.9500 → 0.9530, tighter by 0.0030" in output
    assert "latency_ratio_b1" not in output, "a budget of time is asked for, not measured"
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 7, "not proven": 0}


def test_new_weights_hide_nothing_else_that_is_invalid(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept(make_run(held.parent / "old", MEASURED, run_id="old"), held)
    capsys.readouterr()
    text = (held / "floors" / "codes.toml").read_text()
    (held / "floors" / "codes.toml").write_text(text.replace("recall/qrcode", "recall/barcode"))
    run = make_run(held.parent / "run", with_provenance(MEASURED, **NEW_WEIGHTS))
    assert accept(run, held, "--reason", "new weights") == 2
    complaint = capsys.readouterr().err
    assert (
        "cannot be evidence: codes/int8@onnxruntime recall/barcode (the metric was not measured; "
        "did you mean 'recall/qrcode'?)\n"
    ) in complaint
    assert "but for floors or records that are missing" in complaint


def test_a_newer_runtime_gets_floors_of_its_own(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = with_provenance(MEASURED, versions={"onnxruntime": "2.0"})
    run = make_run(held.parent / "run", measured)
    assert accept(run, held) == 2
    assert "other runtime version: onnxruntime 1 → onnxruntime 2 (2 cases)" in capsys.readouterr().err
    assert accept(run, held, "--reason", "onnxruntime 2") == 0
    output = capsys.readouterr().out
    assert "# at the end of the file:" in output
    paste(output, held)
    assert judge_again(held, measured).counts() == {"PASS": 6, "not proven": 0}


def test_a_floor_that_a_broken_detector_holds_is_turned_round(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (held / "floors" / "codes.toml").write_text(FLOORS_TOML.replace("min = 0.95,", "min = 0.01,") + SIZE)
    measured = change(4, 0.02)
    broken = {"every class taken for the next": {"recall/qrcode": 0.05}}
    assert accept(make_run(held.parent / "run", measured, broken=broken), held) == 0
    output = capsys.readouterr().out
    assert "codes.toml: vacuous floors: a detector that is broken on purpose holds them too" in output
    assert "in place of line 14: min 0.0100 → none; max none → 0.0300\n" in output
    paste(output, held)
    matrix = Matrix(cases=(FP32, INT8), full=True, required=(), run_id="next", broken=broken)
    floors, records = (load(held, "codes", device=DEVICE) for load in (load_floors, load_records))
    assert judge_run(measured, floors, records, matrix).counts() == {"PASS": 7, "not proven": 0}


def test_a_run_that_does_not_say_its_versions_leaves_them_to_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = [
        dataclasses.replace(
            one, provenance={key: value for key, value in one.provenance.items() if key != "versions"}
        )
        for one in MEASURED
    ]
    assert accept(make_run(tmp_path / "run", measured), tmp_path / "golden") == 0
    assert 'runtime = "onnxruntime UNKNOWN"\n' in capsys.readouterr().out


def test_a_first_floor_is_none_that_a_broken_detector_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"every class taken for the next": {"map50_95": 0.05}}
    assert accept(make_run(tmp_path / "run", change(2, 0.04), broken=broken), tmp_path / "golden") == 0
    floors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("map50_95 = ")]
    assert floors == [
        'map50_95 = { min = 0.891, slack = 0.01, unit = "fraction" }',
        'map50_95 = { max = 0.050, unit = "fraction" }',
    ]


FRACTION = st.floats(0, 1).map(lambda value: round(value, 4))


@settings(
    max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fp32=FRACTION,
    int8=FRACTION,
    recall=FRACTION,
    size=st.integers(1000, 20_000_000),
    ratio=st.floats(0.1, 3),
    width=st.floats(0, 0.4),
)
def test_whatever_was_measured_what_is_printed_holds_it(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    fp32: float,
    int8: float,
    recall: float,
    size: int,
    ratio: float,
    width: float,
) -> None:
    golden = tmp_path_factory.mktemp("project") / "golden"
    (golden / "floors").mkdir(parents=True)
    (golden / "floors" / "codes.toml").write_text(FLOORS_TOML + SIZE)
    (golden / "floors" / "codes.cpu-amd-epyc-9r14.toml").write_text(LATENCY_TOML)
    measured = (
        make_measurement("map50_95", fp32, FP32),
        make_measurement("size_bytes", 10_000_000, FP32),
        make_measurement("map50_95", int8),
        make_measurement("recall/qrcode", recall),
        make_measurement("size_bytes", size),
        make_measurement(
            "latency_ratio_b1", ratio, device=DEVICE, interval=(ratio - width / 9, ratio + width)
        ),
    )
    assert accept(make_run(golden.parent / "run", measured), golden, "--reason", "measured") == 0
    paste(capsys.readouterr().out, golden)
    judgement = judge_again(golden, measured)
    assert [one.message for one in judgement.verdicts if one.status is not Status.PASS] == []


WAIVER = """\
format = "slimgate-waivers/1"
[[waiver]]
case = "codes/int8@onnxruntime"
metric = "recall/qrcode"
owner = "Ada"
reason = "the printer is being replaced"
expires = 2999-01-01
"""


@pytest.mark.parametrize("devices", ["", f"devices = ['{DEVICE}']"])
def test_what_is_waived_needs_no_reason_and_keeps_its_floor(
    held: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, devices: str
) -> None:
    monkeypatch.setattr("slimgate.gate.waivers.LONGEST_DAYS", 10**6)
    (held / "waivers.toml").write_text(WAIVER + devices)
    untimed = [one for one in change(4, 0.90) if one.device != DEVICE]
    assert accept(make_run(held.parent / "run", untimed), held) == 0
    output, told = capsys.readouterr()
    assert output == ""
    assert "waived, so its floor stands: codes/int8@onnxruntime recall/qrcode until 2999-01-01 by Ada" in told


def test_a_waiver_of_what_does_not_pay_is_not_called_unused(
    held: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimgate.gate.waivers.LONGEST_DAYS", 10**6)
    run = make_run(held.parent / "run", change(4, 0.95))
    (held / "waivers.toml").write_text(WAIVER)
    assert accept(run, held, "--reason", "better") == 0
    assert "unused waiver" in "".join(capsys.readouterr())
    (held / "waivers.toml").write_text(WAIVER.replace('metric = "recall/qrcode"', 'check = "pays/int8_b1"'))
    assert accept(run, held, "--reason", "better") == 0
    assert "unused waiver" not in "".join(capsys.readouterr())


def test_a_waiver_of_what_cannot_be_judged_is_not_called_unused(
    held: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimgate.gate.waivers.LONGEST_DAYS", 10**6)
    (held / "waivers.toml").write_text(WAIVER)
    broken = {"every class taken for the next": {"recall/qrcode": 0.96}}
    assert accept(make_run(held.parent / "run", MEASURED, broken=broken), held) == 0
    output, told = capsys.readouterr()
    assert "vacuous floors" in output
    assert "unused waiver" not in told
