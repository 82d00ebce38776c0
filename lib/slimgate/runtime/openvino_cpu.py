"""OpenVINO on the CPU, in the precision of the file or, by its own runtime name, in bfloat16."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from slimgate.errors import InputError, UnavailableError
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

FORMATS = ("onnx",)
_HINT = "INFERENCE_PRECISION_HINT"


class OpenVinoRunner(Runner):
    """Runs an ONNX file with OpenVINO's CPU plugin in one stated floating-point type."""

    def __init__(
        self, source: Artifact, *, name: str, precision: str, batch: int, threads: int | None
    ) -> None:
        import openvino

        core = openvino.Core()
        # Left alone, the plugin computes FP32 files in bfloat16 wherever the CPU can: an FP32 row that is none.
        settings: dict[str, Any] = {
            _HINT: precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(str(source.path))
            if batch and not source.batch:
                model.reshape([batch, 3, source.image_size, source.image_size])
            self._compiled = core.compile_model(model, "CPU", settings)
        # openvino wraps its C++ errors in RuntimeError and a few classes that are not public.
        except Exception as error:
            raise refuse_model(name, source, error) from error
        self._request = self._compiled.create_infer_request()
        self.runtime = name
        self.image_size = source.image_size
        self.batch = batch or source.batch
        self.class_count = class_count(source)
        self.nms = graph_nms(source)
        self.precision = _type_name(self._compiled.get_property(_HINT))
        if self.precision != precision:
            raise InputError(
                f"{source.path} on {name}",
                found=f"OpenVINO computes in {self.precision}",
                expected=precision,
                action="choose another runtime for this machine",
            )
        self.provider = "+".join(self._compiled.get_property("EXECUTION_DEVICES"))

    def _infer(self, images: FloatArray) -> FloatArray:
        outputs = self._request.infer({0: images}, share_inputs=True)
        return np.array(outputs[0])

    def describe(self) -> dict[str, Json]:
        """Return runtime, version, provider, threads, streams and the floating-point type really used."""
        import openvino

        return {
            **super().describe(),
            "version": openvino.get_version(),
            "inference_precision": self.precision,
            "threads": int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            "streams": int(self._compiled.get_property("NUM_STREAMS")),
        }

    def executed_types(self) -> dict[str, str]:
        """Return the element type that each executed convolution really computes in, by layer name."""
        runtime_model = self._compiled.get_runtime_model()
        return {
            operation.get_friendly_name(): str(operation.get_rt_info()["runtimePrecision"].astype(str))
            for operation in runtime_model.get_ops()
            if str(operation.get_rt_info()["layerType"].astype(str)) in ("Convolution", "Deconvolution")
        }


def open_openvino(
    source: Artifact | Detector,
    *,
    batch: int = 0,
    threads: int | None = None,
    name: str = "openvino",
    precision: str = "f32",
) -> OpenVinoRunner:
    """Return a runner over an ONNX artifact; ``precision`` is ``f32`` or ``bf16``."""
    if not isinstance(source, Artifact) or source.format not in FORMATS:
        raise refuse_format(name, source, FORMATS)
    reason = _why_unavailable(precision)
    if reason is not None:
        raise UnavailableError(
            f"runtime '{name}'",
            found=reason,
            expected="a CPU with AVX-512 BF16 or AMX",
            action="choose runtime 'openvino'",
        )
    return OpenVinoRunner(source, name=name, precision=precision, batch=batch, threads=threads)


@cache
def _why_unavailable(precision: str) -> str | None:
    if precision == "f32":
        return None
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return None if "BF16" in capabilities else "this CPU does not compute in bfloat16"


def _type_name(element: Any) -> str:
    return str(element.get_type_name()) if hasattr(element, "get_type_name") else str(element)


def _runtime(name: str, precision: str) -> Runtime:
    return Runtime(
        name=name,
        formats=FORMATS,
        device="cpu",
        why_unavailable=partial(_why_unavailable, precision),
        open=partial(open_openvino, name=name, precision=precision),
    )


F32 = _runtime("openvino", "f32")
BF16 = _runtime("openvino-bf16", "bf16")
