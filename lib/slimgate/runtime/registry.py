"""The runtimes by name."""

from __future__ import annotations

from slimgate.errors import unknown_name
from slimgate.runtime import openvino_cpu, ort, tensorrt_engine, torch_cpu
from slimgate.runtime.base import Runtime

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        torch_cpu.RUNTIME,
        ort.CPU,
        ort.CUDA,
        ort.TENSORRT,
        openvino_cpu.F32,
        openvino_cpu.BF16,
        tensorrt_engine.TENSORRT,
        tensorrt_engine.TENSORRT_RTX,
        tensorrt_engine.TENSORRT_CUDAGRAPH,
        tensorrt_engine.TENSORRT_RTX_CUDAGRAPH,
    )
}


def get_runtime(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        UsageError: there is none of that name; the message lists the known ones.
    """
    try:
        return RUNTIMES[name]
    except KeyError:
        raise unknown_name("runtime", name, RUNTIMES) from None
