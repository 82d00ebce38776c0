"""Floors of times: a file for each device, and nothing else in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.gate import device_slug

from fixtures.goldens import LATENCY_TOML, refused_floors

SIZE = 'size_bytes = { max = 2_900_000, slack = 100_000, unit = "bytes" }'


def test_a_latency_file_holds_times_only(tmp_path: Path) -> None:
    name = "codes.cpu-amd-epyc-9r14.toml"
    text = LATENCY_TOML.replace('latency_ratio_b1 = { max = 0.95, unit = "ratio" }', SIZE)
    message = refused_floors(tmp_path, text, name)
    assert "expected: the file without a device\n  what to do: move it: only times are of a device" in message


def test_a_latency_budget_in_percent_is_refused(tmp_path: Path) -> None:
    text = LATENCY_TOML.replace("max = 0.95", "max = 95")
    message = refused_floors(tmp_path, text, "codes.cpu-amd-epyc-9r14.toml")
    assert "latency_ratio_b1: max = 95 looks like percent" in message
    assert "what to do: write max = 0.95" in message


@pytest.mark.parametrize(
    "bounds",
    [
        'latency_ratio_b1 = { relative_to = "codes/fp32@onnxruntime", max_rise = 0.1, unit = "ratio" }',
        'inference_s = { relative_to = "codes/fp32@onnxruntime", max_fraction = 0.9, unit = "seconds" }',
    ],
)
def test_a_time_is_never_relative_to_another_case(tmp_path: Path, bounds: str) -> None:
    name = "codes.cpu-amd-epyc-9r14.toml"
    text = LATENCY_TOML.replace('latency_ratio_b1 = { max = 0.95, unit = "ratio" }', bounds)
    message = refused_floors(tmp_path, text, name)
    assert f"{bounds.partition(' ')[0]}: a time relative to 'codes/fp32@onnxruntime'" in message
    assert "two times are only compared in interleaved pairs" in message
    assert "what to do: bound latency_ratio_b1 (against FP32) or latency_ratio_same_b1" in message


def test_a_latency_file_is_named_after_its_device(tmp_path: Path) -> None:
    message = refused_floors(tmp_path, LATENCY_TOML, "codes.cpu-intel.toml")
    assert (
        "device: study 'codes' on device 'cpu:AMD EPYC 9R14' in a file named codes.cpu-intel.toml" in message
    )
    assert "the name codes.cpu-amd-epyc-9r14.toml" in message


def test_a_device_key_becomes_a_file_name() -> None:
    assert device_slug("gpu:NVIDIA H100 80GB HBM3 driver 570") == "gpu-nvidia-h100-80gb-hbm3-driver-570"
