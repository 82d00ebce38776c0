"""ONNX Runtime: on the CPU, and through its CUDA and TensorRT execution providers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.errors import InputError, UnavailableError, name_offenders
from slimgate.flow import Artifact, Detector, Json
from slimgate.runtime.base import (
    FloatArray,
    Runner,
    Runtime,
    class_count,
    graph_nms,
    refuse_format,
    refuse_model,
)
from slimgate.runtime.gpu import why_no_gpu

FORMATS = ("onnx",)
_CPU = "CPUExecutionProvider"
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
        if providers[0] != _CPU:
            onnxruntime.preload_dlls()
        try:
            self._session = onnxruntime.InferenceSession(
                str(source.path), options, providers=[_options(provider) for provider in providers]
            )
        # onnxruntime raises a dozen exception classes of its own, without a common public base.
        except Exception as error:
            raise refuse_model(name, source, error) from error
        self._session.disable_fallback()
        self.runtime = name
        self.image_size = source.image_size
        self.batch = batch or source.batch
        self.class_count = class_count(source)
        self.nms = graph_nms(source)
        self.placement = _placement(self._session)
        self.provider = _check_provider(self._session, source.path, wanted=providers[0], name=name)
        self._check_convolutions(source.path)
        self._input = self._session.get_inputs()[0].name
        self._threads = threads

    def _infer(self, images: FloatArray) -> FloatArray:
        return np.asarray(self._session.run(None, {self._input: images})[0])

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, provider, threads, and how many nodes each provider runs."""
        import onnxruntime

        nodes = Counter(provider for provider, _ in self.placement.values())
        return {
            **super().describe(),
            "version": onnxruntime.__version__,
            "threads": self._threads,
            "nodes": dict(nodes),
        }

    def _check_convolutions(self, path: Path) -> None:
        # get_providers() lists what a session may use; a convolution can still have been left to the CPU.
        elsewhere = [
            node
            for node, (provider, operator) in self.placement.items()
            if operator in ("Conv", "ConvTranspose", "QLinearConv") and provider != self.provider
        ]
        if elsewhere:
            raise InputError(
                f"{path} on {self.runtime}",
                found=f"{len(elsewhere)} convolutions left to another provider: {name_offenders(elsewhere)}",
                expected=f"every convolution on {self.provider}",
                action="choose another runtime, or another precision for this one",
            )


def open_onnxruntime(
    source: Artifact | Detector,
    *,
    batch: int = 0,
    threads: int | None = None,
    name: str = "onnxruntime",
    providers: tuple[str, ...] = (_CPU,),
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


def _placement(session: Any) -> dict[str, tuple[str, str]]:
    """Return provider and operator of each node."""
    return {
        node.name: (subgraph.ep_name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    }


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
    if provider == _CPU:
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


CPU = _runtime("onnxruntime", "cpu", _CPU)
CUDA = _runtime("onnxruntime-cuda", "gpu", _CUDA, _CPU)
# Nodes that TensorRT does not take go to CUDA, never silently to the CPU: the placement is checked.
TENSORRT = _runtime("onnxruntime-tensorrt", "gpu", _TENSORRT, _CUDA, _CPU)
