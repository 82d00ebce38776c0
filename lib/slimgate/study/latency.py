"""How fast a detector is beside another one, measured here and now."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.data import CalibrationList
    from slimgate.flow import Detector

_ROUNDS = 21


class LatencyMeter:
    """Measures detectors against one original, in interleaved pairs at batch 1.

    The original runs in FP32, and so do the others, unless there are images to calibrate them on: then they run in
    INT8, written for the runtime as a study writes it.

    Context manager: the original's file and session live inside.

    Args:
        original: what others are compared with.
        runtime: that runs both, such as ``onnxruntime`` or ``openvino``.
        calibration: images that INT8 is calibrated on; None: everything runs in FP32.

    Raises:
        UsageError: there is no such runtime.
    """

    def __init__(self, original: Detector, runtime: str, calibration: CalibrationList | None = None) -> None:
        from slimgate.runtime import get_runtime

        get_runtime(runtime)
        self._original, self._runtime, self._calibration = original, runtime, calibration

    def __enter__(self) -> LatencyMeter:
        """Export the original."""
        from slimgate.artifact import export_onnx

        self._folder = tempfile.TemporaryDirectory(prefix="slimgate-latency-")
        export_onnx(self._original, self._path("original"))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def ratio(self, detector: Detector) -> float:
        """Return the detector's median latency ratio to the original; below 1 it is faster."""
        import numpy as np

        from slimgate.measure import measure_pairs
        from slimgate.runtime import open_model

        other = self._write(detector)
        size = detector.image_size
        images = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
        with (
            open_model(str(self._path("original")), runtime=self._runtime).runner as first,
            open_model(str(other), runtime=self._runtime).runner as second,
        ):
            pairs = measure_pairs(lambda: first.run(images), lambda: second.run(images), rounds=_ROUNDS)
        return pairs.ratio

    def _write(self, detector: Detector) -> Path:
        """Return the file of a detector that is timed."""
        from slimgate.artifact import export_onnx, write_qdq
        from slimgate.compress.quantize import QuantizationSettings
        from slimgate.study.build import TARGET_BY_RUNTIME
        from slimgate.study.int8 import Pictures, calibrate

        for name in ("other", "int8"):
            self._path(name).unlink(missing_ok=True)
        fp32 = export_onnx(detector, self._path("other"))
        if self._calibration is None:
            return fp32.path
        plan = calibrate(fp32, Pictures(calibration=self._calibration), QuantizationSettings())
        return write_qdq(fp32, plan, self._path("int8"), target=TARGET_BY_RUNTIME[self._runtime]).path

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / f"{name}.onnx"


def latency_ratio(original: Detector, other: Detector, runtime: str) -> float:
    """Return the median latency ratio of another detector to an original; see ``LatencyMeter``."""
    with LatencyMeter(original, runtime) as meter:
        return meter.ratio(other)
