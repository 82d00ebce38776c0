"""PyTorch: the reference that every other runtime is held against."""

from __future__ import annotations

from typing import Any

import numpy as np

from slimgate.flow import Artifact, Detector, Json
from slimgate.runtime.base import FloatArray, Runner, Runtime, class_count, refuse_format

NAME = "torch"
FORMATS = ("slimgate",)


class TorchRunner(Runner):
    """Runs the detector's own float32 module on the CPU."""

    def __init__(self, detector: Detector, *, batch: int, threads: int | None) -> None:
        import torch

        self.runtime = NAME
        self.provider = "cpu"
        self.image_size = detector.image_size
        self.batch = batch
        self.class_count = class_count(detector)
        self.rectangle_stride = detector.stride
        self._module: Any = detector.module
        # Torch has one thread count per process: it is set around each run, so that runners do not disturb
        # each other or a training in the same process.
        self._threads = threads or torch.get_num_threads()

    def _infer(self, images: FloatArray) -> FloatArray:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                return np.asarray(self._module(torch.from_numpy(images)).numpy(), dtype=np.float32)
        finally:
            torch.set_num_threads(before)

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, provider and threads."""
        import torch

        return {**super().describe(), "version": torch.__version__, "threads": self._threads}


def open_torch(source: Artifact | Detector, *, batch: int = 0, threads: int | None = None) -> TorchRunner:
    """Return a runner over a detector, or over a checkpoint file."""
    if isinstance(source, Artifact):
        if source.format not in FORMATS:
            raise refuse_format(NAME, source, FORMATS)
        from slimgate.model import load_detector

        source = load_detector(source.path)
    return TorchRunner(source, batch=batch, threads=threads)


def _why_unavailable() -> str | None:
    return None


RUNTIME = Runtime(name=NAME, formats=FORMATS, device="cpu", why_unavailable=_why_unavailable, open=open_torch)
