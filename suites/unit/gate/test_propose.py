from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.flow import Case, Measurement, Status
from slimgate.gate import judge, load_floors, propose_floor, propose_floors
from slimgate.gate.floors import floors_file_name
from slimgate.gate.kinds import is_timed
from slimgate.gate.propose import propose_header, split_by_device
from slimgate.measure import METRICS, metric_for

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
        (
            make_measurement("miss_rate", 0.6),
            'miss_rate = { max = 0.605, slack = 0.01, unit = "fraction" }',
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


VALUES = {
    "fraction": (0.0, 0.0004, 0.004, 0.3, 0.5, 0.9964, 1.0),
    "bytes": (12.0, 10_109_237.0),
    "count": (0.0, 1.0, 95.0, 2_508_919.0),
    "flops": (1_766_451_200.0,),
    "ratio": (0.05, 1.0, 3.2),
    "seconds": (1.3e-5, 0.004),
}
EVERY = [
    (name, value)
    for name, metric in [*METRICS.items(), ("recall/a 'b\"", metric_for("recall/x"))]
    for value in (*VALUES[metric.unit], *((-0.02,) if name == "score_shift" else ()))
]


@pytest.mark.parametrize("engine", [False, True])
def test_every_metric_pasted_is_read_and_passes_strictly(tmp_path: Path, engine: bool) -> None:
    case, provenance = (ENGINE, RTX) if engine else (INT8, {})
    assert len(EVERY) > 100
    for index, (name, value) in enumerate(EVERY):
        device = DEVICE if is_timed(name) else "any"
        known = {"interval": (value, value)} if metric_for(name).unit == "seconds" else {}
        measurement = make_measurement(name, value, case, device=device, provenance=provenance, **known)
        header = propose_header("codes", DEVICE if is_timed(name) else None)
        text = header + propose_floors([measurement], today="2026-11-22")
        golden = tmp_path / str(index)
        (golden / "floors").mkdir(parents=True)
        (golden / "floors" / floors_file_name("codes", device)).write_text(text)
        (floor,) = load_floors(golden, "codes", device=DEVICE).floors
        status = judge(measurement, floor, record=make_record(measurement)).status
        assert status is Status.PASS, f"{name} {value}: {status} by {text}"


@pytest.mark.parametrize(
    ("metric", "value", "level", "line"),
    [
        ("map50", 0.03, 0.035, 'map50 = { max = 0.040, unit = "fraction" }'),
        ("map50", 0.05, 0.035, 'map50 = { min = 0.045, slack = 0.01, unit = "fraction" }'),
        # Nothing is above 1, whatever scored nothing.
        ("precision", 0.996, 1.0, 'precision = { max = 1.000, unit = "fraction" }'),
        ("misses", 985, 990, 'misses = { min = 975, unit = "count" }'),
        ("miss_rate", 0.98, 0.984, 'miss_rate = { min = 0.970, unit = "fraction" }'),
    ],
)
def test_no_floor_is_proposed_that_a_broken_detector_holds(
    metric: str, value: float, level: float, line: str
) -> None:
    broken = {"every class taken for the next": {metric: level}}
    assert propose_floor(make_measurement(metric, value), broken=broken) == line


def test_one_block_per_case(tmp_path: Path) -> None:
    text = propose_floors([make_measurement(), make_measurement("map50", 0.9)], today="2026-11-22")
    assert text.count("[[case]]") == 1
    assert f'id = "{INT8}"\nruntime = "onnxruntime 1"' in text


def test_a_runtime_that_nobody_named_is_left_to_the_person() -> None:
    bare = Measurement(case=INT8, metric="map50", value=0.9, unit="fraction")
    assert 'runtime = "onnxruntime UNKNOWN"' in propose_floors([bare], today="2026-11-22")
