"""One GPU per worker of pytest-xdist: a worker sees only its own."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any

import pytest

VISIBLE = "CUDA_VISIBLE_DEVICES"
_GPUS = "slimgate_gpus"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which GPUs there are, before it starts."""
    node.workerinput[_GPUS] = list_gpus()


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return as many workers as there are GPUs for ``-n auto --require gpu``, so that each has its own."""
    return len(list_gpus()) or None if "gpu" in config.getoption("--require") else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Hide every GPU but one from a worker, before anything in it asks the driver."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and worker.get(_GPUS):
        os.environ[VISIBLE] = gpu_of_worker(worker["workerid"], worker[_GPUS])


def gpu_of_worker(worker: str, gpus: Sequence[str]) -> str:
    """Return the GPU of a worker such as ``gw3``; workers beyond the last GPU start again at the first."""
    return gpus[int(worker.removeprefix("gw")) % len(gpus)]


def list_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; empty without any.

    What the caller has set decides, so that a runner that shares its machine keeps to its share.
    """
    count = count_gpus()[0]
    named = os.environ.get(VISIBLE)
    if named is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in named.split(",") if name.strip()][:count]


@functools.cache
def count_gpus() -> tuple[int, str | None]:
    """Return how many GPUs the driver offers, and why none if there are none; loads no framework."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "the NVIDIA driver is not installed (libcuda.so.1 does not load)"
    code = cuda.cuInit(0)
    if code != 0:
        return 0, f"the NVIDIA driver does not start (cuInit returned {code})"
    count = ctypes.c_int(0)
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return count.value, None if count.value else "the NVIDIA driver sees no GPU"
