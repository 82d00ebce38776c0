"""FP16 files as studies make them: what comes near the largest half on pictures stays in float32."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.flow import Artifact, Json

if TYPE_CHECKING:
    from slimgate.data import CalibrationList

IMAGES = 64
"""Calibration images that ranges are looked at on: an overflow is a matter of factors of two, not of percentiles."""


def write_fp16(fp32: Artifact, path: Path, ranges: CalibrationList | None) -> Artifact:
    """Write an FP16 file, and say in its facts what was looked at for overflow.

    Args:
        fp32: the FP32 ONNX file.
        path: the ``.onnx`` file.
        ranges: pictures that activations are observed on; None: only constants are looked at.

    Raises:
        InputError: the file or the images cannot be used.
    """
    from slimgate.artifact import convert_fp16
    from slimgate.compress.quantize import observe_maxima
    from slimgate.study.int8 import calibration_inputs

    started = time.perf_counter()
    maxima = None if ranges is None else observe_maxima(fp32.path, calibration_inputs(ranges.paths, fp32))
    artifact = convert_fp16(fp32, path, maxima=maxima)
    checked = "constants alone"
    if ranges is not None:
        checked = f"constants, and activations on {len(ranges.paths)} calibration images"
    facts: dict[str, Json] = {**artifact.facts, "range_checked": checked}
    return dataclasses.replace(artifact, facts=facts, build_s=time.perf_counter() - started)
