"""What the key of an artifact says of the packages and the source that made it, beside what it was made from."""

from __future__ import annotations

from slimgate.flow import Json
from slimgate.study.store import source_sha256

PACKAGES = (
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "torch",
    "torchvision",
    "ultralytics-opencv-headless",
)
"""Packages that shape artifacts: onnxruntime folds constants and calibrates, OpenCV and Pillow read pictures."""

MEASURING_PACKAGES = ("hotcoco", "openvino", "scipy")
"""What else an artifact depends on that was decided by measuring: a budget of mAP, a share of the latency."""

MEASURING_SOURCE = ("measure", "runtime", "study/latency.py")
"""Source of the same, below ``slimgate``."""


def versions(*more: str) -> dict[str, str | None]:
    """Return the versions of the packages that shape an artifact, and of more; None where one is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in (*PACKAGES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def measuring_inputs() -> dict[str, Json]:
    """Return what an artifact depends on that was decided by measuring, beside all that others depend on."""
    return {
        "measuring": {"source": source_sha256(MEASURING_SOURCE), "versions": versions(*MEASURING_PACKAGES)},
    }


def peer_inputs(peer: str) -> dict[str, Json]:
    """Return what another tool's file depends on beside its images."""
    from slimgate.artifact.peer import peer_version

    return {"peer_version": peer_version(peer)}
