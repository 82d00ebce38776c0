"""OpenVINO on the CPU, in the precision of the file or, by its own runtime name, in bfloat16."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.artifact.executed import check_executed_shares
from slimgate.errors import InputError, UnavailableError
from slimgate.flow import Artifact, Detector, Json, Precision
from slimgate.runtime.base import (
    FloatArray,
    Runner,
    Runtime,
    class_count,
    graph_nms,
    loading,
    refuse_format,
)
from slimgate.runtime.openvino_graph import (
    ExecutedLayer,
    count_kernels,
    executed_convolutions,
    precisions_by_node,
)

FORMATS = ("onnx",)
_HINT = "INFERENCE_PRECISION_HINT"
_FLOAT_OF_HINT = {"f32": Precision.FP32.value, "bf16": Precision.BF16.value}


class OpenVinoRunner(Runner):
    """Runs an ONNX file with OpenVINO's CPU plugin in one stated floating-point type."""

    def __init__(
        self, source: Artifact, *, name: str, precision: str, batch: int, threads: int | None
    ) -> None:
        import openvino

        # Left alone, the plugin computes FP32 files in bfloat16 wherever the CPU can: an FP32 row that is none.
        settings: dict[str, Any] = {
            _HINT: precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        with loading(name, source):
            core = openvino.Core()
            model = core.read_model(str(source.path))
            if batch and not source.batch:
                model.reshape([batch, 3, source.image_size, source.image_size])
            self._compiled = core.compile_model(model, "CPU", settings)
            self._request = self._compiled.create_infer_request()
            self.convolutions = executed_convolutions(self._compiled)
            hint = _type_name(self._compiled.get_property(_HINT))
            self.provider = "+".join(self._compiled.get_property("EXECUTION_DEVICES"))
            self.nms = graph_nms(source)
        self.runtime = name
        self.image_size = source.image_size
        self.batch = batch or source.batch
        self.class_count = class_count(source)
        self.precision = precision
        self._path = source.path
        self._check_float(hint)

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
            "convolutions": dict(count_kernels(self.convolutions)),
        }

    def executed_shares(self) -> dict[str, float]:
        """Return the share of convolution MACs per precision as OpenVINO's execution graph reports it.

        A convolution that the graph calls float may execute in INT8: the plugin moves Q/DQ through operators that
        only copy, such as Concat.

        Raises:
            InputError: INT8 of the graph executes in float, or float in another type than this runtime's.
        """
        float_type = _FLOAT_OF_HINT[self.precision]
        graph = _convolution_work(self._path)
        executed = precisions_by_node(self.convolutions, list(graph))
        int8 = Precision.INT8.value
        expected = {
            name: {**entry, "precision": int8 if int8 in (entry["precision"], executed[name]) else float_type}
            for name, entry in graph.items()
        }
        return check_executed_shares(
            f"{self._path} on {self.runtime}",
            executed,
            expected,
            expected=f"INT8 where the file's graph says so, {float_type} elsewhere",
            action="do not ship it under this precision's name; another target's file may suit OpenVINO",
        )

    def _check_float(self, hint: str) -> None:
        """Refuse another floating-point type than this runtime is called by, whatever the settings say."""
        wanted = _FLOAT_OF_HINT[self.precision]
        strange = [layer for layer in self.convolutions if _is_other_float(layer, wanted)]
        if hint == self.precision and not strange:
            return
        found = sorted({layer.precision for layer in self.convolutions})
        raise InputError(
            f"{self._path} on {self.runtime}",
            found=f"convolutions executed in {', '.join(found)} under the hint {hint}",
            expected=f"float convolutions in {wanted}",
            action="choose another runtime for this machine: this CPU, or this OpenVINO, does not compute in it",
        )


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


def _is_other_float(layer: ExecutedLayer, wanted: str) -> bool:
    return layer.precision not in (wanted, Precision.INT8.value)


def _convolution_work(path: Path) -> dict[str, dict[str, Json]]:
    from slimgate.artifact.graph import Graph, load_onnx
    from slimgate.artifact.precision import convolution_work

    return convolution_work(Graph(load_onnx(path)))


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
