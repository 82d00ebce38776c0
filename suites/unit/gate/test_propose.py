from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.flow import Case, Measurement, Status
from slimgate.gate import judge, load_floors, propose_floor, propose_floors
from slimgate.gate.propose import propose_header, split_by_device

from fixtures.goldens import DEVICE, INT8, make_measurement, make_record

ENGINE = Case(study="codes", variant="int8", runtime="tensorrt-rtx-sm86")
RTX = {"versions": {"tensorrt_rtx": "1.7.1"}}


@pytest.mark.parametrize(
    ("measurement", "line"),
    [
        (make_measurement(value=0.8956), 'map50_95 = { min = 0.890, slack = 0.01, unit = "fraction" }'),
        (
            make_measurement("recall/qr", 1.0),
            '"recall/qr" = { min = 0.995, slack = 0.01, unit = "fraction" }',
        ),
        (make_measurement(value=0.002), 'map50_95 = { max = 0.012, unit = "fraction" }'),
        (make_measurement("size_bytes", 1000), 'size_bytes = { max = 1010, slack = 50, unit = "bytes" }'),
        (
            make_measurement("size_bytes", 1000, ENGINE),
            'size_bytes = { min = 750, max = 1250, unit = "bytes" }',
        ),
        (
            make_measurement("int8_share", 0.838127),
            'int8_share = { min = 0.8381, max = 0.8382, unit = "fraction" }',
        ),
        (
            make_measurement("int8_share", 1.0),
            'int8_share = { min = 0.9999, max = 1.0000, unit = "fraction" }',
        ),
        (make_measurement("fp16_share", 0.0), 'fp16_share = { max = 0.0001, unit = "fraction" }'),
        (make_measurement("nms_s", 0.00123, device=DEVICE), 'nms_s = { max = 0.0013, unit = "seconds" }'),
        (
            make_measurement("latency_ratio_b1", 0.6, device=DEVICE, interval=(0.58, 0.62)),
            'latency_ratio_b1 = { max = 0.651, unit = "ratio" }',
        ),
        (
            make_measurement("parity_max_abs", 3e-6),
            'parity_max_abs = { max = 0.006, slack = 0.01, unit = "fraction" }',
        ),
        (
            make_measurement("miss_rate", 0.09),
            'miss_rate = { max = 0.095, slack = 0.01, unit = "fraction" }',
        ),
    ],
)
def test_the_floor_leaves_a_little_room(measurement: Measurement, line: str) -> None:
    assert propose_floor(measurement) == line


def test_what_is_pasted_is_read_and_passes_strictly(tmp_path: Path) -> None:
    measured = [
        make_measurement(value=0.8956),
        make_measurement("map50", 0.001),
        make_measurement("recall/data matrix", 0.97),
        make_measurement("size_bytes", 2_850_123),
        make_measurement("int8_share", 0.8381),
        make_measurement("fp16_share", 0.0),
        make_measurement("misses", 3),
        make_measurement("miss_rate", 0.09),
        make_measurement("parity_max_abs", 0.0),
        make_measurement("latency_ratio_b1", 0.6, device=DEVICE, interval=(0.58, 0.62)),
        make_measurement("size_bytes", 12_100_000, ENGINE, provenance=RTX),
    ]
    (tmp_path / "floors").mkdir()
    split = split_by_device(measured)
    for name, device in (("codes.toml", None), ("codes.cpu-amd-epyc-9r14.toml", DEVICE)):
        text = propose_header("codes", device) + propose_floors(split[device is not None], today="2026-11-22")
        (tmp_path / "floors" / name).write_text(text)
    floors = load_floors(tmp_path, "codes", device=DEVICE)
    assert len(floors.floors) == len(measured)
    for measurement in measured:
        (floor,) = floors.for_metric(measurement.case, measurement.metric)
        assert floor.reason == "WRITE WHY THIS IS GOOD ENOUGH"
        assert judge(measurement, floor, record=make_record(measurement)).status is Status.PASS


def test_one_block_per_case(tmp_path: Path) -> None:
    text = propose_floors([make_measurement(), make_measurement("map50", 0.9)], today="2026-11-22")
    assert text.count("[[case]]") == 1
    assert f'id = "{INT8}"\nruntime = "onnxruntime 1"' in text
