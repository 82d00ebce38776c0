"""How an engine is built, beyond its batch sizes and its GPU; and which kind of TensorRT has which option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgate.errors import UsageError
from slimgate.flow import Json

HARDWARE_COMPATIBILITY = ("none", "ampere+", "same-compute-capability")
"""``HardwareCompatibilityLevel`` of TensorRT 10 and 11, in the order of its values."""

OPTIMIZATION_LEVELS = range(6)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of a build; the defaults are TensorRT's own.

    Attributes:
        workspace_bytes: most scratch memory a kernel may use, or None for all there is.
        optimization_level: 0 (quickest build) to 5 (most kernels tried), or None for TensorRT's 3.
        version_compatible: also runs on later versions of TensorRT, at some cost in speed and size.
        hardware_compatibility: ``none``, ``ampere+``, or ``same-compute-capability``.
        timing_cache: file of kernel timings: read when it is there, else written after the build.
        timing_cache_sha256: what that file must hash to; then nothing is timed and the file is not written.
    """

    workspace_bytes: int | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware_compatibility: str = "none"
    timing_cache: Path | None = None
    timing_cache_sha256: str = ""

    def chosen(self) -> dict[str, Json]:
        """Return the options that differ from TensorRT's own, as JSON values; a timing cache by its hash alone."""
        values: dict[str, Json] = {
            "workspace_bytes": self.workspace_bytes,
            "optimization_level": self.optimization_level,
            "version_compatible": self.version_compatible or None,
            "hardware_compatibility": self.hardware_compatibility
            if self.hardware_compatibility != HARDWARE_COMPATIBILITY[0]
            else None,
            "timing_cache_sha256": self.timing_cache_sha256 or None,
        }
        return {name: value for name, value in values.items() if value is not None}


_NOT_IN_RTX: Mapping[str, str] = {
    "optimization_level": "it compiles for the GPU when it runs, and its builder ignores the level",
    "version_compatible": "its engines run on exactly the version that built them",
    "hardware_compatibility": "its engines name the compute capabilities they are for",
    "timing_cache": "it times nothing when it builds",
}
"""Options that TensorRT-RTX takes without effect, warns about, or fails on; with what it does instead."""


def check_options(kind: str, options: EngineOptions) -> None:
    """Refuse what a kind of TensorRT does not have, and values that none has.

    Raises:
        UsageError: the first such option, by name.
    """
    if options.timing_cache_sha256 and options.timing_cache is None:
        raise UsageError(
            "timing cache sha256",
            found="there is no timing cache to pin",
            expected="a timing cache beside its sha256",
            action="name the file with --timing-cache",
        )
    given = dict.fromkeys(options.chosen(), True) | {"timing_cache": options.timing_cache is not None}
    for name, reason in _NOT_IN_RTX.items() if kind == "tensorrt-rtx" else ():
        if given.get(name):
            raise UsageError(
                f"engine option '{name.replace('_', ' ')}'",
                found=f"tensorrt-rtx does not have it: {reason}",
                expected="workspace, profiles and compute capabilities, or kind 'tensorrt'",
                action="leave it out",
            )
    if options.hardware_compatibility not in HARDWARE_COMPATIBILITY:
        raise _out_of_range("hardware compatibility", options.hardware_compatibility, HARDWARE_COMPATIBILITY)
    if options.optimization_level is not None and options.optimization_level not in OPTIMIZATION_LEVELS:
        raise _out_of_range("optimization level", options.optimization_level, OPTIMIZATION_LEVELS)
    if options.workspace_bytes is not None and options.workspace_bytes < 1:
        raise UsageError(
            "engine option 'workspace'",
            found=f"{options.workspace_bytes} bytes",
            expected="a positive number of bytes",
            action="leave it out for all the memory there is",
        )


def apply_options(trt: Any, config: Any, options: EngineOptions) -> None:
    """Set checked options, the timing cache apart, on a builder configuration."""
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility != HARDWARE_COMPATIBILITY[0]:
        level = {"ampere+": "AMPERE_PLUS"}.get(options.hardware_compatibility, "SAME_COMPUTE_CAPABILITY")
        if not hasattr(trt.HardwareCompatibilityLevel, level):
            raise UsageError(
                "engine option 'hardware compatibility'",
                found=f"this TensorRT, {trt.__version__}, has no '{options.hardware_compatibility}'",
                expected="a TensorRT that has it",
                action="choose ampere+, or another TensorRT",
            )
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)


def _out_of_range(name: str, value: object, known: object) -> UsageError:
    listed = ", ".join(str(one) for one in known)  # type: ignore[attr-defined]
    return UsageError(
        f"engine option '{name}'",
        found=f"'{value}'",
        expected=f"one of {listed}",
        action="choose one of them",
    )
