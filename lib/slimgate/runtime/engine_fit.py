"""Whether an engine fits the TensorRT and the GPU that are here, told before it is loaded."""

from __future__ import annotations

from typing import Any

from slimgate.artifact.engine_target import ANY
from slimgate.artifact.plan_header import PlanHeader
from slimgate.errors import InputError
from slimgate.flow import Artifact

_AMPERE = 8.0


def check_engine_fits(source: Artifact, header: PlanHeader, *, installed: str, device: str) -> None:
    """Refuse an engine of another version of TensorRT, or for another GPU.

    Args:
        source: the engine; its manifest's facts say what it was built for.
        header: what its first bytes say.
        installed: version of the TensorRT (of the header's kind) that would run it.
        device: compute capability of the GPU that would run it, such as ``8.6``.

    Raises:
        InputError: it does not fit; the message names both sides.
    """
    options = source.facts.get("options", {})
    built, here = _numbers(header.version), _numbers(installed)
    # Documented: engines run on the version that built them alone, a version compatible one on later ones too.
    fits = built <= here if options.get("version_compatible") else built[: len(here)] == here[: len(built)]
    if not fits:
        raise refuse_engine(
            source,
            found=f"built by {header.kind} {header.version}; {installed} is installed",
            expected=f"an engine of {header.kind} {installed}",
        )
    wanted = str(source.facts.get("compute_capability", ANY)).split(",")
    ampere = wanted == [ANY] or options.get("hardware_compatibility") == "ampere+"
    if device not in wanted and not (ampere and float(device) >= _AMPERE):
        shown = "8.0 and newer" if ampere else ", ".join(wanted)
        raise refuse_engine(
            source,
            found=f"built for GPUs of compute capability {shown}; this one has {device}",
            expected=f"an engine for compute capability {device}",
        )


def engine_complaint(trt: Any, runtime: Any, content: bytes) -> str:
    """Return what TensorRT-RTX itself holds against an engine's header, or nothing (TensorRT proper has no such check).

    Args:
        trt: the module.
        runtime: its ``Runtime``.
        content: the engine.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    validity, diagnostics = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return ""
    flags = trt.EngineInvalidityDiagnostics.__members__
    named = [name.lower().replace("_", " ") for name, flag in flags.items() if diagnostics & int(flag)]
    return ", ".join(named) or "the GPU could not be asked"


def refuse_engine(source: Artifact, *, found: str, expected: str) -> InputError:
    """Return the error for an engine that does not run here."""
    return InputError(
        str(source.path),
        found=found,
        expected=expected,
        action="build it again on this machine with 'slimgate export --format engine'",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
