"""How fast a detector is beside another one, measured here and now."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.flow import Detector

_ROUNDS = 21


class LatencyMeter:
    """Measures detectors against one original, in interleaved pairs at batch 1, exported to ONNX as they are (FP32).

    Context manager: the original's file and session live inside.

    Args:
        original: what others are compared with.
        runtime: that runs both, such as ``onnxruntime`` or ``openvino``.

    Raises:
        UsageError: there is no such runtime.
    """

    def __init__(self, original: Detector, runtime: str) -> None:
        from slimgate.runtime import get_runtime

        get_runtime(runtime)
        self._original, self._runtime = original, runtime

    def __enter__(self) -> LatencyMeter:
        """Export the original."""
        self._folder = tempfile.TemporaryDirectory(prefix="slimgate-latency-")
        self._export(self._original, "original")
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def ratio(self, detector: Detector) -> float:
        """Return the detector's median latency ratio to the original; below 1 it is faster."""
        import numpy as np

        from slimgate.measure import measure_pairs
        from slimgate.runtime import open_model

        self._export(detector, "other")
        size = detector.image_size
        images = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
        with (
            open_model(str(self._path("original")), runtime=self._runtime).runner as first,
            open_model(str(self._path("other")), runtime=self._runtime).runner as second,
        ):
            pairs = measure_pairs(lambda: first.run(images), lambda: second.run(images), rounds=_ROUNDS)
        return pairs.ratio

    def _export(self, detector: Detector, name: str) -> None:
        from slimgate.artifact import export_onnx

        self._path(name).unlink(missing_ok=True)
        export_onnx(detector, self._path(name))

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / f"{name}.onnx"


def latency_ratio(original: Detector, other: Detector, runtime: str) -> float:
    """Return the median latency ratio of another detector to an original; see ``LatencyMeter``."""
    with LatencyMeter(original, runtime) as meter:
        return meter.ratio(other)
