from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from slimgate.cli import main
from slimgate.flow import Measurement, Status, Verdict
from slimgate.gate import Judgement, Matrix, judge_run, load_floors, load_records, load_run

from fixtures.goldens import DEVICE, FLOORS_TOML, FP32, INT8, LATENCY_TOML, make_measurement, make_run

MEASURED = (
    make_measurement("map50_95", 0.896, FP32),
    make_measurement("size_bytes", 10_000_000, FP32),
    make_measurement("map50_95", 0.895),
    make_measurement("map75", 0.885),
    make_measurement("recall/qrcode", 0.955),
    make_measurement("size_bytes", 2_850_000),
    make_measurement("latency_ratio_b1", 0.6, device=DEVICE, interval=(0.58, 0.62), confidence=0.95),
)
SIZE = 'size_bytes = { max = 10_100_000, slack = 500_000, unit = "bytes" }\n'
NEW_WEIGHTS = {"weights_sha256": "e" * 64}


@pytest.fixture
def held(golden: Path) -> Path:
    """Give every measurement of ``MEASURED`` that needs one a floor."""
    (golden / "floors" / "codes.toml").write_text(FLOORS_TOML + SIZE)
    return golden


def accept(run: Path, golden: Path, *options: str) -> int:
    return main(["accept", str(run), "--golden", str(golden), *options])


def change(index: int, value: float, **changes: Any) -> tuple[Measurement, ...]:
    """Return the measurements with another value in one place."""
    old = MEASURED[index]
    new = make_measurement(old.metric, value, old.case, device=old.device, **changes)
    return (*MEASURED[:index], new, *MEASURED[index + 1 :])


def with_provenance(measured: Sequence[Measurement], **provenance: Any) -> tuple[Measurement, ...]:
    """Return measurements of something else: other weights, another machine."""
    return tuple(
        make_measurement(
            one.metric,
            one.value,
            one.case,
            device=one.device,
            interval=one.interval,
            provenance=provenance,
        )
        for one in measured
    )


def judge_again(golden: Path, measurements: Sequence[Measurement], run_id: str = "next") -> Judgement:
    return judge_run(
        measurements,
        load_floors(golden, "codes", device=DEVICE),
        load_records(golden, "codes", device=DEVICE),
        Matrix(cases=(FP32, INT8), full=True, required=("map50_95",), run_id=run_id),
    )


def paste(output: str, golden: Path) -> None:
    """Do what a person does, from top to bottom: put each printed line where the one above it says."""
    (golden / "floors").mkdir(parents=True, exist_ok=True)
    for part in output.split("# ---- ")[1:]:
        head, _, text = part.partition("\n")
        file = golden.parent / head.split(": ")[0]
        lines = file.read_text().splitlines() if file.exists() else []
        pieces = re.split(r"^# (.* line.*: .*|.* after line .*:|at the end .*:)$", text, flags=re.MULTILINE)
        lines += pieces[0].splitlines()
        for told, block in zip(pieces[1::2], pieces[2::2], strict=True):
            numbers = re.search(r"(in place of|after) lines? (\d+)(?:-(\d+))?", told)
            if numbers is None:
                assert told == "at the end of the file:"
                lines += block.splitlines()
                continue
            first, last = int(numbers[2]), int(numbers[3] or numbers[2])
            start = first if numbers[1] == "after" else first - 1
            lines[start:last] = block.strip("\n").splitlines()
        file.write_text("\n".join(lines) + "\n")


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


def test_what_is_waived_needs_no_reason_and_keeps_its_floor(
    held: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimgate.gate.waivers.LONGEST_DAYS", 10**6)
    (held / "waivers.toml").write_text(WAIVER)
    assert accept(make_run(held.parent / "run", change(4, 0.90)), held) == 0
    output, told = capsys.readouterr()
    assert output == ""
    assert "waived, so its floor stands: codes/int8@onnxruntime recall/qrcode until 2999-01-01 by Ada" in told


def test_times_of_another_device_are_refused(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(held.parent / "run", MEASURED, device="cpu:Intel Xeon")
    assert accept(run, held) == 2
    complaint = capsys.readouterr().err
    assert f"has times of {DEVICE}\n" in complaint
    assert "times of the machine that it ran on: cpu:Intel Xeon\n" in complaint
    assert not (held / "records").exists()


def test_a_floors_file_of_a_device_with_the_same_file_name_is_not_taken_over(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = held / "floors" / "codes.cpu-amd-epyc-9r14.toml"
    path.write_text(LATENCY_TOML.replace(DEVICE, "cpu:AMD EPYC, 9R14"))
    assert accept(make_run(held.parent / "run", MEASURED), held) == 2
    complaint = capsys.readouterr().err
    assert f"golden/floors/{path.name}: is of another device than '{DEVICE}'" in complaint
    assert "tell the device apart in its key" in complaint


def test_records_of_another_machine_are_kept_and_never_replaced_unasked(
    held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = "cpu:AMD EPYC 9R14", "cpu:Intel Xeon"
    accept(make_run(held.parent / "old", with_provenance(MEASURED, machine=there), run_id="old"), held)
    run = make_run(held.parent / "run", with_provenance(MEASURED, machine=here))
    capsys.readouterr()
    assert accept(run, held) == 0
    told = capsys.readouterr().err
    assert "records: 1 written: 1 in golden/records/codes/cpu-amd-epyc-9r14" in told
    assert "records: 2 of accuracy and size kept as another machine measured them" in told
    record = load_records(held, "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.measurement.provenance["machine"] == there
    other = with_provenance(MEASURED, machine=here, **NEW_WEIGHTS)
    run = make_run(held.parent / "other", other, run_id="other")
    assert accept(run, held, "--reason", "new weights") == 2
    complaint = capsys.readouterr().err
    assert (
        f"would replace records of another device, {there}: codes/fp32@onnxruntime, codes/int8" in complaint
    )
    assert "with --another-device" in complaint
    assert accept(run, held, "--reason", "new weights", "--another-device") == 0
    record = load_records(held, "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.measurement.provenance["machine"] == here


def test_orphan_records_are_told(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accept(make_run(held.parent / "old", MEASURED, run_id="old"), held)
    folder = held / "records" / "codes" / "any"
    record = json.loads((folder / "int8@onnxruntime.json").read_text())
    (folder / "gone@onnxruntime.json").write_text(json.dumps({**record, "case": "codes/gone@onnxruntime"}))
    capsys.readouterr()
    run = make_run(held.parent / "run", MEASURED, cases=[str(FP32), str(INT8)])
    assert accept(run, held) == 0
    assert (
        "orphan record: golden/records/codes/any/gone@onnxruntime.json: the study has no such case"
        in capsys.readouterr().err
    )


REFUSALS = [
    (
        {"complete": False, "filter": "int8"},
        "is a partial run (-k 'int8')",
        "run the whole study, without -k",
    ),
    ({"complete": False}, "is an incomplete run", "run the whole study"),
    ({"git": {"commit": "12", "dirty": True}}, "ran in a tree with uncommitted changes", "--allow-dirty"),
    ({"git": {}}, "ran outside a git repository", "--allow-dirty"),
]


@pytest.mark.parametrize(("run", "found", "action"), REFUSALS)
def test_a_run_that_is_no_evidence_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: dict[str, object], found: str, action: str
) -> None:
    assert accept(make_run(tmp_path / "run", MEASURED, **run), tmp_path / "golden") == 2
    complaint = capsys.readouterr().err
    assert found in complaint
    assert action in complaint
    assert not (tmp_path / "golden").exists()


def test_a_dirty_run_that_is_accepted_says_so_for_ever(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", MEASURED, git={"commit": "12", "dirty": True})
    assert accept(run, tmp_path / "golden", "--allow-dirty") == 0
    record = load_records(tmp_path / "golden", "codes", device=DEVICE).find(INT8, "map50_95")
    assert record is not None
    assert record.accepted.dirty


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (make_measurement("map50", math.nan), "codes/int8@onnxruntime map50 (measured nan"),
        (make_measurement("map50", 0.9, valid=False, why_invalid="wrong provider"), "map50 (wrong provider)"),
        (make_measurement("map50_95", 0.9), "codes/int8@onnxruntime map50_95 (measured twice)"),
    ],
)
def test_a_run_with_an_invalid_measurement_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Measurement, found: str
) -> None:
    assert accept(make_run(tmp_path / "run", [*MEASURED, bad]), tmp_path / "golden") == 2
    complaint = capsys.readouterr().err
    assert "cannot be evidence: codes/int8@onnxruntime map50" in complaint
    assert found in complaint


def test_a_run_with_a_failed_case_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Verdict(
        case=INT8, metric="case", status=Status.INVALID, measured=None, floor=None, unit="", message="m"
    )
    assert accept(make_run(tmp_path / "run", MEASURED, Judgement(verdicts=(failed,))), tmp_path) == 2
    assert "cannot be evidence: codes/int8@onnxruntime (failed)" in capsys.readouterr().err


def test_a_run_without_measurements_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accept(make_run(tmp_path / "run", []), tmp_path) == 2
    assert "cannot be evidence: nothing was measured" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accept(tmp_path, tmp_path) == 2
    assert "run.json: no such file" in capsys.readouterr().err


def test_the_run_is_left_as_it_was(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", MEASURED)
    before = {path: path.read_bytes() for path in run.iterdir()}
    accept(run, tmp_path / "golden")
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert load_run(run).measurements == MEASURED
