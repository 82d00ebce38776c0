"""TensorRT and TensorRT-RTX engines on the GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from slimgate.artifact.trt import load_trt, trt_log, why_not_installed
from slimgate.errors import InputError, UnavailableError
from slimgate.flow import Artifact, Detector, Json
from slimgate.runtime.base import FloatArray, Runner, Runtime, class_count, refuse_format
from slimgate.runtime.gpu import why_no_gpu

FORMATS = ("engine",)


class TensorRtRunner(Runner):
    """Runs a serialised engine; images and predictions live in torch's device memory.

    Attributes:
        execution_s: GPU seconds of the last run between two CUDA events, transfers left out.
    """

    def __init__(self, source: Artifact, *, kind: str, batch: int) -> None:
        import torch

        cuda: Any = torch.cuda
        trt = load_trt(kind)
        log = trt_log(kind)
        start = len(log.messages)
        self._torch = torch
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(source.path.read_bytes())
        if self._engine is None:
            raise _refuse_engine(
                source, kind, str(trt.__version__), log.since(start, "ERROR", "INTERNAL_ERROR")
            )
        self._context = self._engine.create_execution_context()
        self._stream = cuda.Stream()
        self._input, self._output = _tensor_names(source, trt, self._engine)
        self._events = [cuda.Event(enable_timing=True) for _ in range(2)]
        self.execution_s: float | None = None
        self.runtime = kind
        self.provider = f"{kind} {trt.__version__} on {torch.cuda.get_device_name()}"
        self.image_size = source.image_size
        self.batch = source.batch or batch
        self.class_count = class_count(source)

    def _infer(self, images: FloatArray) -> FloatArray:
        torch = self._torch
        with torch.cuda.stream(self._stream):
            device_images = torch.from_numpy(images).cuda(non_blocking=True)
            if not self._context.set_input_shape(self._input, tuple(images.shape)):
                raise InputError(
                    f"input of {self.runtime}",
                    found=f"shape {images.shape} outside the engine's profile",
                    expected="a batch size that the engine was built for",
                    action="build the engine with --batch 0, or with this batch",
                )
            shape = tuple(self._context.get_tensor_shape(self._output))
            predictions = torch.empty(shape, dtype=torch.float32, device="cuda")
            self._context.set_tensor_address(self._input, device_images.data_ptr())
            self._context.set_tensor_address(self._output, predictions.data_ptr())
            self._events[0].record()
            executed = self._context.execute_async_v3(self._stream.cuda_stream)
            self._events[1].record()
            answer = predictions.cpu()
        self._stream.synchronize()
        if not executed:
            raise InputError(
                f"engine on {self.runtime}",
                found="the execution failed",
                expected="predictions",
                action="build the engine again on this machine",
            )
        self.execution_s = self._events[0].elapsed_time(self._events[1]) / 1e3
        return np.asarray(answer.numpy())

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, GPU, and the engine's layers with the types they run in."""
        trt = load_trt(self.runtime)
        return {**super().describe(), "version": str(trt.__version__), "layers": self.executed_types()}

    def executed_types(self) -> str:
        """Return the engine inspector's JSON: per layer its tactic and the types of its tensors."""
        trt = load_trt(self.runtime)
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free context, engine and runtime, in the order that TensorRT asks for."""
        self._context = None
        self._engine = None
        self._runtime = None


def open_engine(
    source: Artifact | Detector, *, batch: int = 0, threads: int | None = None, kind: str = "tensorrt"
) -> TensorRtRunner:
    """Return a runner over an engine; ``threads`` has no meaning on the GPU."""
    if not isinstance(source, Artifact) or source.format not in FORMATS:
        raise refuse_format(kind, source, FORMATS)
    built_by = source.facts.get("kind")
    if built_by != kind:
        raise InputError(
            str(source.path),
            found=f"built by {built_by}",
            expected=f"an engine of {kind}",
            action=f"run it with runtime '{built_by}'",
        )
    reason = _why_unavailable(kind)
    if reason is not None:
        raise UnavailableError(
            f"runtime '{kind}'",
            found=reason,
            expected=f"an NVIDIA GPU, and {kind} installed",
            action=f"run on a GPU machine with slimgate[{kind}] installed",
        )
    return TensorRtRunner(source, kind=kind, batch=batch)


def _tensor_names(source: Artifact, trt: Any, engine: Any) -> tuple[str, str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            str(source.path),
            found=f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}",
            expected="one input and one output",
            action="build it with 'slimgate export --format engine'",
        )
    return inputs[0], outputs[0]


def _refuse_engine(source: Artifact, kind: str, version: str, reasons: list[str]) -> InputError:
    built = source.facts.get("version", "an unknown version")
    reason = reasons[0].splitlines()[0] if reasons else "no reason given"
    return InputError(
        str(source.path),
        found=f"{kind} {version} cannot load it ({reason}); it was built by version {built} for {source.target}",
        expected=f"an engine of {kind} {version} for this GPU",
        action="build it again on this machine with 'slimgate export --format engine'",
    )


def _why_unavailable(kind: str) -> str | None:
    return why_not_installed(kind) or why_no_gpu()


def _runtime(kind: str) -> Runtime:
    return Runtime(
        name=kind,
        formats=FORMATS,
        device="gpu",
        why_unavailable=partial(_why_unavailable, kind),
        open=partial(open_engine, kind=kind),
    )


TENSORRT = _runtime("tensorrt")
TENSORRT_RTX = _runtime("tensorrt-rtx")
