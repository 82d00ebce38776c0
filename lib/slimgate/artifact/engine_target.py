"""The GPU generations that an engine is built for."""

from __future__ import annotations

import re
from typing import Any

from slimgate.artifact.trt import version_of
from slimgate.errors import UsageError, name_offenders

ANY = "any"
"""Every generation that the kind of engine targets when none is named."""


def target_capability(trt: Any, config: Any, kind: str, wanted: str | None) -> str:
    """Point a builder at GPU generations and return their name: ``8.6``, ``8.6,8.9``, or ``any``.

    Args:
        trt: the kind's module.
        config: the builder configuration.
        kind: of engine.
        wanted: compute capabilities, comma separated; None for what the kind does by itself.

    Raises:
        UsageError: it cannot build for one of them.
    """
    if not hasattr(config, "num_compute_capabilities"):
        import torch

        here = ".".join(str(part) for part in torch.cuda.get_device_capability())
        if wanted not in (None, here):
            raise UsageError(
                f"compute capability {wanted}",
                found=f"{kind} builds for the GPU that is there, {here}",
                expected=here,
                action="leave it out, or build on the other GPU",
            )
        return here
    if wanted is None:
        return ANY
    known = {
        re.sub(r"^SM(\d+)(\d)$", r"\1.\2", name): getattr(trt.ComputeCapability, name)
        for name in dir(trt.ComputeCapability)
        if re.fullmatch(r"SM\d+", name)
    }
    capabilities = list(dict.fromkeys(part.strip() for part in wanted.split(",")))
    unknown = [capability for capability in capabilities if capability not in known]
    if unknown:
        raise UsageError(
            f"compute capability {name_offenders(unknown)}",
            found=f"not a target of {kind} {version_of(kind)}",
            expected=f"one of {', '.join(sorted(known, key=float))}",
            action="use that of your GPU, or leave it out",
        )
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(known[capability], index)
    return ",".join(capabilities)


def name_target(kind: str, capability: str) -> str:
    """Return what an engine is for: ``tensorrt-rtx-1.7-sm86``; several generations are joined, ``sm86-sm89``."""
    names = [ANY if one == ANY else f"sm{one.replace('.', '')}" for one in capability.split(",")]
    return f"{kind}-{version_of(kind)}-{'-'.join(names)}"
