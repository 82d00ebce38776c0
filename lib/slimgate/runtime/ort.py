"""ONNX Runtime: on the CPU, and through its CUDA and TensorRT execution providers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.errors import UnavailableError
from slimgate.flow import Artifact, Detector, Json
from slimgate.runtime.base import (
    FloatArray,
    Runner,
    Runtime,
    class_count,
    graph_nms,
    loading,
    refuse_format,
)
from slimgate.runtime.gpu import why_no_gpu
from slimgate.runtime.ort_placement import CPU as CPU_PROVIDER
from slimgate.runtime.ort_placement import check_placement, placement_from_session

FORMATS = ("onnx",)
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"


class OnnxRuntimeRunner(Runner):
    """Runs an ONNX file with one execution provider, and knows where every node was placed."""

    def __init__(
        self, source: Artifact, *, name: str, providers: tuple[str, ...], batch: int, threads: int | None
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Spinning workers slow down whatever is timed next to this session.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with loading(name, source):
            if providers[0] != CPU_PROVIDER:
                onnxruntime.preload_dlls()
            self._session = onnxruntime.InferenceSession(
                str(source.path), options, providers=[_options(provider) for provider in providers]
            )
            self._session.disable_fallback()
            self.placement = placement_from_session(self._session)
            self.nms = graph_nms(source)
        self.runtime = name
        self.image_size = source.image_size
        self.batch = batch or source.batch
        self.class_count = class_count(source)
        self.provider = _check_provider(self._session, source.path, wanted=providers[0], name=name)
        check_placement(f"{source.path} on {name}", self.placement, provider=self.provider)
        self._shares = dict(source.shares)
        self._input = self._session.get_inputs()[0].name
        self._threads = threads

    def _infer(self, images: FloatArray) -> FloatArray:
        return np.asarray(self._session.run(None, {self._input: images})[0])

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, provider, threads, and how many nodes each provider runs."""
        import onnxruntime

        nodes = Counter(placed.provider for placed in self.placement.values())
        return {
            **super().describe(),
            "version": onnxruntime.__version__,
            "threads": self._threads,
            "nodes": dict(nodes),
        }

    def executed_shares(self) -> dict[str, float] | None:
        """Return the shares that run on CUDA, whose provider has no INT8 convolution; None where it is not known.

        There, Q/DQ around a convolution only rounds: the arithmetic is float32 whatever the file is called.
        """
        if self.provider != _CUDA or "int8" not in self._shares:
            return None
        rest = {name: share for name, share in self._shares.items() if name != "int8"}
        return {**rest, "fp32": rest.get("fp32", 0.0) + self._shares["int8"]}


def open_onnxruntime(
    source: Artifact | Detector,
    *,
    batch: int = 0,
    threads: int | None = None,
    name: str = "onnxruntime",
    providers: tuple[str, ...] = (CPU_PROVIDER,),
) -> OnnxRuntimeRunner:
    """Return a runner over an ONNX artifact on the first of the providers."""
    if not isinstance(source, Artifact) or source.format not in FORMATS:
        raise refuse_format(name, source, FORMATS)
    reason = _why_unavailable(providers[0])
    if reason is not None:
        raise UnavailableError(
            f"runtime '{name}'",
            found=reason,
            expected=f"onnxruntime's {providers[0]} and a device for it",
            action="choose runtime 'onnxruntime', or run on a GPU machine",
        )
    return OnnxRuntimeRunner(source, name=name, providers=providers, batch=batch, threads=threads)


def _options(provider: str) -> tuple[str, dict[str, str]]:
    # TF32 would make "FP32" a 10-bit mantissa without saying so.
    return provider, {"use_tf32": "0"} if provider == _CUDA else {}


def _check_provider(session: Any, path: Path, *, wanted: str, name: str) -> str:
    active = session.get_providers()
    if active[0] != wanted:
        raise UnavailableError(
            f"{path} on {name}",
            found=f"onnxruntime fell back to {active[0]}",
            expected=wanted,
            action="check that the GPU driver, CUDA and TensorRT libraries fit this onnxruntime-gpu",
        )
    return str(active[0])


def _why_unavailable(provider: str) -> str | None:
    if provider == CPU_PROVIDER:
        return None
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return f"this onnxruntime was built without {provider}"
    return why_no_gpu()


def _runtime(name: str, device: str, *providers: str) -> Runtime:
    return Runtime(
        name=name,
        formats=FORMATS,
        device=device,
        why_unavailable=partial(_why_unavailable, providers[0]),
        open=partial(open_onnxruntime, name=name, providers=providers),
    )


CPU = _runtime("onnxruntime", "cpu", CPU_PROVIDER)
CUDA = _runtime("onnxruntime-cuda", "gpu", _CUDA, CPU_PROVIDER)
# Nodes that TensorRT does not take go to CUDA, never silently to the CPU: the placement is checked.
TENSORRT = _runtime("onnxruntime-tensorrt", "gpu", _TENSORRT, _CUDA, CPU_PROVIDER)
