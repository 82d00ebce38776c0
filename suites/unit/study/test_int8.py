"""From an FP32 file and pictures to INT8: what it took is told whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from slimgate.compress.quantize import QuantizationPlan, QuantizationSettings
from slimgate.data import calibration_list, load_dataset
from slimgate.study.int8 import Pictures, calibrate, write_int8

from fixtures.artifacts import ArtifactSet
from fixtures.datasets import write_dataset


def test_the_build_time_of_int8_has_its_calibration_in_it(artifacts: ArtifactSet, tmp_path: Path) -> None:
    write_dataset(tmp_path)
    pictures = Pictures(calibration=calibration_list(load_dataset(str(tmp_path)), count=2, evaluated=None))
    settings = QuantizationSettings()
    plan = calibrate(artifacts.fp32, pictures, settings)
    assert plan.seconds > 0
    # A plan that was kept says what it once took, and is the same plan.
    kept = QuantizationPlan.from_json(
        json.loads(json.dumps(dataclasses.replace(plan, seconds=100.0).to_json()))
    )
    assert (kept, kept.seconds) == (plan, 100.0)
    made, _ = write_int8(
        artifacts.fp32, kept, tmp_path / "m.onnx", target="x86", pictures=pictures, settings=settings
    )
    assert 100 < made.build_s < 160
