"""Where a shipped file runs: one small file per runtime, one contract."""

from slimgate.errors import unknown_name
from slimgate.runtime import openvino_cpu, ort, torch_cpu
from slimgate.runtime.base import Runner, Runtime

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        torch_cpu.RUNTIME,
        ort.CPU,
        ort.CUDA,
        ort.TENSORRT,
        openvino_cpu.F32,
        openvino_cpu.BF16,
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


__all__ = ["RUNTIMES", "Runner", "Runtime", "get_runtime"]
