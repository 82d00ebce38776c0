"""Whether this machine has a GPU that can be computed on."""

from __future__ import annotations

from functools import cache

from slimgate.artifact.trt import NO_GPU


@cache
def why_no_gpu() -> str | None:
    """Return why nothing can run on a GPU here, or None when something can."""
    import torch

    return None if torch.cuda.is_available() else NO_GPU
