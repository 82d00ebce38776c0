from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.flow import Case
from slimgate.gate import load_floors
from slimgate.gate.floors import runtime_major
from slimgate.gate.schema import read_floor_file

from fixtures.goldens import DEVICE, FLOORS_TOML, FP32, INT8, LATENCY_TOML, refused_floors

LINES = {
    "min": '    { min = 0.890, slack = 0.01, unit = "fraction" },',
    "size": 'size_bytes = { max = 2_900_000, slack = 100_000, unit = "bytes" }',
    "recall": '"recall/qrcode" = { min = 0.95, slack = 0.01, unit = "fraction" }',
}


def test_floors_are_read_with_their_place(golden: Path) -> None:
    floors = load_floors(golden, "codes", device=DEVICE)
    assert floors.devices == {DEVICE}
    assert floors.files == ("golden/floors/codes.toml", "golden/floors/codes.cpu-amd-epyc-9r14.toml")
    absolute, relative = floors.for_metric(INT8, "map50_95")
    assert (absolute.min, absolute.slack, absolute.unit) == (0.89, 0.01, "fraction")
    assert (relative.relative_to, relative.max_drop, relative.min) == (FP32, 0.005, None)
    assert (absolute.reason, absolute.date) == ("the first accepted run", dt.date(2026, 11, 20))
    assert absolute.where == "golden/floors/codes.toml:10"
    (size,) = floors.for_metric(INT8, "size_bytes")
    assert (size.where, size.max, size.device) == ("golden/floors/codes.toml:15", 2_900_000, "any")
    (latency,) = floors.for_metric(INT8, "latency_ratio_b1")
    assert (latency.device, latency.max, latency.slack) == (DEVICE, 0.95, None)
    assert floors.metrics_of(INT8) == ("map50_95", "recall/qrcode", "size_bytes", "latency_ratio_b1")


def test_floors_of_another_device_are_not_borrowed(golden: Path) -> None:
    floors = load_floors(golden, "codes", device="cpu:Intel Xeon")
    assert not floors.devices
    assert floors.for_metric(INT8, "latency_ratio_b1") == ()


def test_but_they_are_checked(golden: Path) -> None:
    path = golden / "floors" / "codes.cpu-amd-epyc-9r14.toml"
    path.write_text(LATENCY_TOML.replace("max", "maxx"))
    with pytest.raises(InputError, match="did you mean 'max'"):
        load_floors(golden, "codes", device="cpu:Intel Xeon")


def test_a_study_whose_name_begins_alike_is_another(golden: Path) -> None:
    other = FLOORS_TOML.replace('"codes"', '"codes.hard"').replace("codes/", "codes.hard/")
    (golden / "floors" / "codes.hard.toml").write_text(other)
    assert load_floors(golden, "codes", device="x").files == ("golden/floors/codes.toml",)
    assert load_floors(golden, "codes.hard", device="x").floors[0].case.study == "codes.hard"


def test_no_floors_file_is_no_floors(tmp_path: Path) -> None:
    assert load_floors(tmp_path, "codes", device="x").floors == ()


def test_two_floors_with_one_key_are_refused(golden: Path) -> None:
    path = golden / "floors" / "codes.toml"
    double = LINES["recall"].replace("= {", "= [{").replace("}", "}, { max = 0.99, unit = 'fraction' }]")
    path.write_text(FLOORS_TOML.replace(LINES["recall"], double))
    with pytest.raises(InputError) as raised:
        load_floors(golden, "codes", device="x")
    assert str(raised.value) == (
        "golden/floors/codes.toml:14: a second floor for recall/qrcode of codes/int8@onnxruntime"
        " with onnxruntime 1\n"
        "  expected: one; the first is at golden/floors/codes.toml:14\n"
        "  what to do: remove one of the two"
    )


def test_two_relative_floors_with_one_key_say_to_what_they_are_relative(golden: Path) -> None:
    path = golden / "floors" / "codes.toml"
    drop = '    { relative_to = "codes/fp32@onnxruntime", max_drop = 0.005, unit = "fraction" },\n'
    path.write_text(FLOORS_TOML.replace(drop, drop + drop))
    with pytest.raises(
        InputError, match=r"a second floor for map50_95 of .* relative to codes/fp32@onnxruntime with onnx"
    ):
        load_floors(golden, "codes", device="x")


def test_a_case_without_floors_is_refused(tmp_path: Path) -> None:
    line = 'map50_95 = { min = 0.895, slack = 0.01, unit = "fraction" }\n'
    for text in (FLOORS_TOML.replace(line, ""), FLOORS_TOML.replace(f"[case.floor]\n{line}", "floor = 3\n")):
        message = refused_floors(tmp_path, text)
        place = "codes.toml:22" if "floor = 3" in text else "codes.toml:17"
        assert message == (
            f"{place}: floor: there is no floor\n"
            "  expected: a [case.floor] table\n"
            "  what to do: add one, or remove the case"
        )


def test_two_blocks_of_one_case_are_refused(golden: Path) -> None:
    path = golden / "floors" / "codes.toml"
    path.write_text(FLOORS_TOML.replace('[[case]]\nid = "codes/fp32', '[[case]]\nid = "codes/int8'))
    with pytest.raises(InputError) as raised:
        load_floors(golden, "codes", device="x")
    assert str(raised.value) == (
        "golden/floors/codes.toml:18: id: a second [[case]] for 'codes/int8@onnxruntime' with 'onnxruntime 1'\n"
        "  expected: one; the first is at golden/floors/codes.toml:5\n"
        "  what to do: move these floors into the first one"
    )


def test_floors_of_two_runtime_majors_stand_side_by_side(golden: Path) -> None:
    second = FLOORS_TOML[FLOORS_TOML.index("[[case]]") :].replace("onnxruntime 1", "onnxruntime 2")
    (golden / "floors" / "codes.toml").write_text(FLOORS_TOML + second)
    assert len(load_floors(golden, "codes", device="x").for_metric(INT8, "size_bytes")) == 2


FAULTS = [
    (
        'format = "slimgate-floors/1"',
        'format = "slimgate-floors/0"',
        "codes.toml:1: format: is 'slimgate-floors/0', older than this slimgate reads\n"
        "  expected: 'slimgate-floors/1'\n"
        "  what to do: write its floors as golden/README.md shows them, then the format line",
    ),
    ('study = "codes"', "", "codes.toml: study: is None"),
    (
        'study = "codes"',
        'study = "code"',
        "codes.toml:2: study: study 'code' on device 'any' in a file named",
    ),
    (
        'study = "codes"',
        'study = "codes"\ndevise = "x"',
        "codes.toml:3: devise: unknown key; did you mean 'device'?",
    ),
    (
        '[[case]]\nid = "codes/int8',
        '[[case]\nid = "codes/int8',
        "codes.toml:4: not TOML: Expected ']]' at the end",
    ),
    (
        'id = "codes/int8@onnxruntime"',
        'id = "codes/int8"',
        "codes.toml:5: id: 'codes/int8' is not study/variant@",
    ),
    ('id = "codes/int8@', 'id = "other/int8@', "'other/int8@onnxruntime' is of study 'other'"),
    (
        'runtime = "onnxruntime 1"',
        'runtime = "onnxruntime"',
        "codes.toml:6: runtime: is 'onnxruntime' for a case",
    ),
    ('runtime = "onnxruntime 1"', 'runtime = "openvino 2026"', "is 'openvino 2026' for a case that runs in"),
    ('reason = "the first accepted run"', "", "reason: is None"),
    ('reason = "the first accepted run"', 'reason = " "', "codes.toml:7: reason: is ' '"),
    ("date = 2026-11-20", "", "date: is None\n  expected: a date such as 2026-11-22, unquoted"),
    ("date = 2026-11-20", 'date = "2026-11-20"', "codes.toml:8: date: is '2026-11-20'"),
    (
        "[case.floor]\nmap50_95 = [",
        "[case.floors]\nmap50_95 = [",
        "floors: unknown key; did you mean 'floor'?",
    ),
    (
        LINES["recall"],
        LINES["recall"].replace("recall/", "recal/"),
        "codes.toml:14: recal/qrcode: unknown metric",
    ),
    (LINES["size"], LINES["size"].replace("size_b", "sise_b"), "unknown metric; did you mean 'size_bytes'?"),
    (LINES["size"], 'size_bytes = { max = 3, unit = "bites" }', "unit is 'bites'; did you mean 'bytes'?"),
    (LINES["size"], "size_bytes = { max = 3 }", "unit is None\n  expected: 'bytes'"),
    (LINES["size"], "size_bytes = 3", "codes.toml:15: size_bytes: is 3\n  expected: a table such as { min"),
    (LINES["size"], "size_bytes = []", "size_bytes: is []"),
    (LINES["size"], LINES["size"].replace("max", "maks"), "unknown key 'maks'; did you mean 'max'?"),
    (LINES["size"], 'nms_s = { max = 3, unit = "seconds" }', "nms_s: in a file for device 'any'"),
]


@pytest.mark.parametrize(("old", "new", "complaint"), FAULTS)
def test_a_fault_is_named_with_line_and_key(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in FLOORS_TOML
    message = refused_floors(tmp_path, FLOORS_TOML.replace(old, new, 1))
    assert complaint in message
    assert "expected: " in message
    assert "what to do: " in message


NUMBERS = [
    ("min = 96.5, slack = 0.01", "min = 96.5 looks like percent", "write min = 0.965"),
    ("min = 0.9, slack = 0.3", "slack = 0.3 on a fraction metric", "above 0 and at most 0.05 fraction"),
    ("min = 0.9, slack = 0", "slack = 0 on a fraction metric", "above 0"),
    ("min = 0.9", "has no slack", "how much better than min is still unremarkable, in fraction"),
    (
        "min = 0, slack = 0.01",
        "min = 0 can never fail",
        "a bound above 0\n  what to do: write the value that must hold",
    ),
    ("min = nan, slack = 0.01", "min is nan", "a finite number"),
    ("min = true, slack = 0.01", "min is True", "a finite number"),
    ("min = 0.9, max = 0.8", "min 0.9 is not below max 0.8", "a band: min below max"),
    ("min = 0.9, max = 0.9", "min 0.9 is not below max 0.9", "a band: min below max"),
    ("min = 0.9, max = 0.95, slack = 0.01", "slack where no bound can be beaten", "remove slack"),
    ("max = 0.9, slack = 0.01", "slack where no bound can be beaten", "slack only beside min"),
    ("min = 0.9, max_drop = 0.01", "has min and max_drop", "write two floors as a list"),
    ("slack = 0.01", "has no bound", "one of min, max, max_drop"),
    ("max_drop = 0.01", "lacks relative_to", "add relative_to"),
    ('relative_to = "codes/fp32@onnxruntime"', "has no bound", "add it"),
    (
        'relative_to = "codes/fp32@onnxruntime", min = 0.5, slack = 0.01',
        "lacks one of max_drop",
        "add one of",
    ),
    (
        'relative_to = "codes/fp32@onnxruntime", max_drop = 0.3',
        "max_drop = 0.3 on a fraction",
        "between 0 and 0.1",
    ),
    (
        'relative_to = "codes/fp32@onnxruntime", min_fraction = 99',
        "looks like percent",
        "write min_fraction = 0.99",
    ),
    ('relative_to = "codes/fp32@onnxruntime", min_fraction = 0.2', "min_fraction = 0.2\n", "above 0.5"),
    ("min = 0.9, slack = 1", "slack = 1 on a", "if 1 percentage points are meant, slack = 0.01"),
    (
        'relative_to = "codes/fp32@onnxruntime", max_drop = 0.5',
        "max_drop = 0.5 on a fraction",
        "if 0.5 percentage points are meant, max_drop = 0.005",
    ),
    (
        'relative_to = "codes/fp32@onnxruntime", max_rise = 0.05',
        "max_rise cannot notice that recall/qrcode got worse",
        "expected: max_drop or min_fraction",
    ),
    (
        'relative_to = "codes/int8@onnxruntime", max_drop = 0.01',
        "is relative to its own case 'codes/int8@onnxruntime'",
        "such as the FP32 one",
    ),
    (
        'relative_to = "fp32", max_drop = 0.01',
        "relative_to 'fp32' is not study/variant@runtime",
        "write it out",
    ),
    (
        'relative_to = "other/fp32@onnxruntime", max_drop = 0.01',
        "relative_to 'other/fp32@onnxruntime' is of study 'other'\n  expected: 'codes/...'",
        "correct it",
    ),
]


@pytest.mark.parametrize(("bounds", "found", "help_text"), NUMBERS)
def test_numbers_that_cannot_be_meant_are_refused(
    tmp_path: Path, bounds: str, found: str, help_text: str
) -> None:
    line = f'"recall/qrcode" = {{ {bounds}, unit = "fraction" }}'
    message = refused_floors(tmp_path, FLOORS_TOML.replace(LINES["recall"], line))
    assert message.startswith("codes.toml:14: recall/qrcode: ")
    assert found in message
    assert help_text in message


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('size_bytes = { max = 1000, slack = 300, unit = "bytes" }', "slack = 300 on a bytes metric"),
        (
            'size_bytes = { min = 1000, max = 3000, unit = "bytes" }',
            "the band 1000 to 3000 is a factor of 3.0 wide",
        ),
        ('size_bytes = { max = -1, slack = 1, unit = "bytes" }', "max = -1"),
        ('misses = { max = 10, slack = 6, unit = "count" }', "slack = 6 on a count metric"),
        (
            'int8_share = { min = 0.4, max = 0.7, unit = "fraction" }',
            "the band 0.4 to 0.7 is 0.3 wide\n  expected: at most 0.1 fraction",
        ),
        (
            'size_ratio_same = { min = 0.2, max = 0.6, unit = "ratio" }',
            "the band 0.2 to 0.6 is a factor of 3.0 wide\n  expected: at most a factor of 2",
        ),
        (
            'size_ratio_same = { max = 26, unit = "ratio" }',
            "max = 26 looks like percent\n  expected: a ratio, of which 1 means no difference, of at most 10\n"
            "  what to do: write max = 0.26",
        ),
        (
            'misses = { relative_to = "codes/fp32@onnxruntime", max_rise = 1000, unit = "count" }',
            "max_rise = 1000 on a count metric\n  expected: between 0 and 100 count",
        ),
        (
            'size_ratio_same = { relative_to = "codes/fp32@onnxruntime", max_rise = 5, unit = "ratio" }',
            "max_rise = 5 on a ratio metric\n  expected: between 0 and 0.5 ratio",
        ),
        (
            'size_bytes = { relative_to = "codes/fp32@onnxruntime", max_drop = 5, unit = "bytes" }',
            "max_drop = 5 on a bytes metric, which has no natural scale\n"
            "  expected: min_fraction: a share of the reference",
        ),
        (
            'size_bytes = { relative_to = "codes/fp32@onnxruntime", max_rise = 9e9, unit = "bytes" }',
            "max_rise = 9e+09 on a bytes metric, which has no natural scale\n"
            "  expected: max_fraction: a share of the reference",
        ),
    ],
)
def test_sizes_and_counts_have_bounded_tolerances(tmp_path: Path, line: str, found: str) -> None:
    assert found in refused_floors(tmp_path, FLOORS_TOML.replace(LINES["size"], line))


@pytest.mark.parametrize(
    ("line", "found", "action"),
    [
        (
            'map50 = { min = 96.5, slack = 1, unit = "%" }',
            "unit is '%'\n  expected: 'fraction'",
            'write min = 0.965, slack = 0.01, unit = "fraction"',
        ),
        (
            'size_bytes = { max = 2.9, slack = 0.1, unit = "MB" }',
            "unit is 'MB'\n  expected: 'bytes'",
            'write max = 2900000, slack = 100000, unit = "bytes"',
        ),
        (
            'size_bytes = { max = 2_900_000, slack = 1, unit = "byte" }',
            "unit is 'byte'; did you mean 'bytes'?",
            "write the unit of the metric",
        ),
        (
            'size_bytes = { max = 2_900_000, slack = 1, unit = "ms" }',
            "unit is 'ms'\n  expected: 'bytes'",
            "write the unit of the metric",
        ),
        ("size_bytes = { max = 2_900_000, slack = 1 }", "unit is None", "write the unit of the metric"),
    ],
)
def test_another_unit_is_refused_with_the_numbers_in_the_right_one(
    tmp_path: Path, line: str, found: str, action: str
) -> None:
    message = refused_floors(tmp_path, FLOORS_TOML.replace(LINES["size"], line))
    assert message.startswith("codes.toml:15: ")
    assert found in message
    assert f"what to do: {action}" in message


def test_a_newer_file_asks_for_a_newer_slimgate(tmp_path: Path) -> None:
    message = refused_floors(tmp_path, FLOORS_TOML.replace("floors/1", "floors/2") + "new_key = 1\n")
    assert "codes.toml:1: format: is 'slimgate-floors/2', newer than this slimgate reads" in message
    assert "what to do: install the slimgate that wrote it, or a newer one" in message


def test_what_is_meant_is_read(tmp_path: Path) -> None:
    text = FLOORS_TOML.replace(
        LINES["size"],
        'misses = { max = 3, slack = 2, unit = "count" }\n'
        'int8_share = { min = 0.8, max = 0.9, unit = "fraction" }\n'
        'score_shift = { min = -0.02, slack = 0.02, unit = "fraction" }\n'
        'size_bytes = { min = 1500, max = 2500, unit = "bytes", reason = "engines", date = 2026-11-21 }\n'
        'map50 = { max = 0.05, unit = "fraction" }',
    )
    (tmp_path / "codes.toml").write_text(text)
    floors = {floor.metric: floor for floor in read_floor_file(tmp_path / "codes.toml").floors[3:8]}
    assert list(floors) == ["misses", "int8_share", "score_shift", "size_bytes", "map50"]
    assert (floors["size_bytes"].reason, floors["misses"].reason) == ("engines", "the first accepted run")


def test_cases_written_inline_have_no_line_but_are_checked(tmp_path: Path) -> None:
    text = 'format = "slimgate-floors/1"\nstudy = "codes"\ncase = [{ id = "codes/int8" }]\n'
    assert refused_floors(tmp_path, text).startswith(
        "codes.toml: id: 'codes/int8' is not study/variant@runtime"
    )
    assert "case: is no array of tables" in refused_floors(
        tmp_path, text.replace("[{", "{").replace("}]", "}")
    )


@pytest.mark.parametrize(
    ("runtime", "versions", "major"),
    [
        ("onnxruntime", {"onnxruntime-gpu": "1.31.1"}, "onnxruntime 1"),
        ("onnxruntime-cuda", {"onnxruntime": "1.31.1", "tensorrt": "10.9"}, "onnxruntime 1"),
        ("tensorrt-rtx-sm86", {"tensorrt": "11.0", "tensorrt_rtx": "1.7.1"}, "tensorrt-rtx 1"),
        ("torch", {"torch": "2.14.1+cpu", "torchvision": "0.29"}, "torch 2"),
        ("torch", {"torch": ""}, None),
        ("openvino", {"onnxruntime": "1.31.1"}, None),
    ],
)
def test_the_runtime_major_comes_from_the_versions(
    runtime: str, versions: dict[str, str], major: str | None
) -> None:
    case = Case(study="codes", variant="int8", runtime=runtime)
    assert runtime_major(case, versions.items()) == major
