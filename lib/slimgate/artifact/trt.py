"""TensorRT and TensorRT-RTX: one Python API under two names."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

from slimgate.errors import UnavailableError, unknown_name

KINDS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Kind of engine to the module that builds and runs it."""

NO_GPU = "no NVIDIA GPU on this machine"


def device_capability() -> str:
    """Return the compute capability of the GPU that is here, such as ``8.6``.

    Raises:
        UnavailableError: there is no GPU to ask.
    """
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError(
            "compute capability 'device'",
            found=NO_GPU,
            expected="a GPU that says what it is",
            action="run on a GPU machine, or name the capability that engines are for, such as '8.6'",
        )
    return ".".join(str(part) for part in torch.cuda.get_device_capability())


def why_not_installed(kind: str) -> str | None:
    """Return why a kind's module cannot be imported, or None when it can.

    Raises:
        UsageError: unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("engine kind", kind, KINDS)
    module = KINDS[kind]
    return None if importlib.util.find_spec(module) else f"the package '{kind}' is not installed"


def load_trt(kind: str) -> Any:
    """Return the module of a kind.

    Raises:
        UsageError: unknown kind.
        UnavailableError: it is not installed.
    """
    reason = why_not_installed(kind)
    if reason is not None:
        raise UnavailableError(
            f"engine kind '{kind}'",
            found=reason,
            expected=f"the Python package of {kind}",
            action=f"pip install slimgate[{kind}]",
        )
    return importlib.import_module(KINDS[kind])


@cache
def trt_log(kind: str) -> Any:
    """Return the logger of a kind; its ``messages`` are ``(severity name, text)``, oldest first.

    There is one per process: TensorRT keeps the first logger it is given and ignores every later one.
    """
    trt = load_trt(kind)

    base: Any = trt.ILogger

    class Log(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            name = str(severity).rsplit(".", 1)[-1]
            if name != "VERBOSE":
                self.messages.append((name, message))

        def since(self, start: int, *severities: str) -> list[str]:
            return [text for name, text in self.messages[start:] if not severities or name in severities]

    return Log()


def version_of(kind: str) -> str:
    """Return major and minor version of an installed kind, such as ``1.7``."""
    return ".".join(str(load_trt(kind).__version__).split(".")[:2])
