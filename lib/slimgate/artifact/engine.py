"""TensorRT engines, ahead of time: strongly typed, so the precision is what the ONNX graph says."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

from slimgate.artifact.fingerprint import hash_file
from slimgate.artifact.graph import load_onnx
from slimgate.artifact.load import read_card
from slimgate.artifact.manifest import artifact_from_engine, manifest_json, manifest_path
from slimgate.artifact.semi_structured import OPERATION as SEMI_STRUCTURED
from slimgate.artifact.trt import load_trt, trt_log, version_of
from slimgate.artifact.write import replace_file
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.flow import Artifact, Precision, Step

LARGEST_DYNAMIC_BATCH = 32

_FAILED = ("ERROR", "INTERNAL_ERROR")


def build_engine(
    source: Artifact, path: Path, *, kind: str, compute_capability: str | None = None, batch: int = 1
) -> Artifact:
    """Build a TensorRT engine from an ONNX artifact.

    ``tensorrt-rtx`` builds for any GPU, also where there is none; ``tensorrt`` builds on and for the GPU that is
    there. The engine's manifest, ``<engine>.json``, is written beside it.

    Args:
        source: the ONNX artifact: FP32, FP16, or INT8 written for ``tensorrt``.
        path: the ``.engine`` file; replaced as a whole or not at all.
        kind: ``tensorrt`` or ``tensorrt-rtx``.
        compute_capability: of the GPU that will run it, such as ``8.6``; None: every GPU the kind targets by
            itself (``tensorrt-rtx``: Ampere and newer), or the one that is there (``tensorrt``).
        batch: fixed batch size, or 0 for 1 to 32.

    Raises:
        UsageError: unknown kind, or a compute capability that it cannot target.
        UnavailableError: the kind is not installed, or needs a GPU that is not there.
        InputError: TensorRT refuses the graph, or the file cannot be written.
    """
    trt = load_trt(kind)
    _check_source(source, batch)
    log = trt_log(kind)
    start = len(log.messages)
    started = time.perf_counter()
    builder = _builder(trt, kind, log, start)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(source.path.read_bytes()):
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise _refused(source, kind, reasons or log.since(start, *_FAILED))
    config = _config(trt, builder, network, source, batch)
    capability = _target(trt, config, kind, compute_capability)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused(source, kind, log.since(start, *_FAILED))
    build_s = time.perf_counter() - started
    weight_bytes = _logged_bytes(log.since(start), "Total Weights Memory")
    facts = {
        "kind": kind,
        "version": str(trt.__version__),
        "compute_capability": capability,
        "sparse_weights_allowed": _is_semi_structured(source),
        "onnx_sha256": source.sha256,
        "weight_memory_bytes": weight_bytes,
        "activation_memory_bytes": _logged_bytes(log.since(start), "Total Activation Memory"),
        "proof": "shares of the ONNX graph, which a strongly typed network keeps; running it needs a GPU",
    }
    return _write(
        source, path, bytes(plan), facts=facts, build_s=build_s, target=_name(kind, capability), batch=batch
    )


def _check_source(source: Artifact, batch: int) -> None:
    if source.format != "onnx":
        raise InputError(
            str(source.path),
            found=f"format '{source.format}'",
            expected="an ONNX artifact",
            action="export the detector to ONNX first",
        )
    if source.precision is Precision.INT8 and source.target != "tensorrt":
        raise InputError(
            str(source.path),
            found=f"quantised for target '{source.target}'",
            expected="target 'tensorrt': signed activations with zero point 0",
            action="write it again with 'slimgate export --precision int8 --target tensorrt'",
        )
    if source.batch and source.batch != batch:
        raise UsageError(
            f"batch {batch}",
            found=f"{source.path} is fixed to batch {source.batch}",
            expected=f"batch {source.batch}",
            action="export the ONNX file with a dynamic batch (0), or build this batch",
        )


def _builder(trt: Any, kind: str, log: Any, start: int) -> Any:
    try:
        return trt.Builder(log)
    # pybind11 turns a null builder into TypeError; without a CUDA driver it is a RuntimeError.
    except (TypeError, RuntimeError) as error:
        raise UnavailableError(
            f"engine kind '{kind}'",
            found=f"its builder does not start ({_first(log.since(start, *_FAILED), str(error))})",
            expected="an NVIDIA GPU and its driver",
            action="build 'tensorrt-rtx' engines here, or go to a GPU machine",
        ) from error


def _config(trt: Any, builder: Any, network: Any, source: Artifact, batch: int) -> Any:
    config = builder.create_builder_config()
    # TF32 has a 10-bit mantissa; a file called FP32 does not compute in it.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if _is_semi_structured(source):
        # Without it the zeros are multiplied like any other weight.
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    tensor = network.get_input(0)
    if tensor.shape[0] == -1:
        image = (3, source.image_size, source.image_size)
        smallest, usual, largest = (batch,) * 3 if batch else (1, 1, LARGEST_DYNAMIC_BATCH)
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, (smallest, *image), (usual, *image), (largest, *image))
        config.add_optimization_profile(profile)
    return config


def _is_semi_structured(source: Artifact) -> bool:
    return any(step.operation == SEMI_STRUCTURED for step in source.lineage)


def _target(trt: Any, config: Any, kind: str, wanted: str | None) -> str:
    """Point the builder at one GPU generation and return its name: ``8.6``, or ``any``."""
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
        return "any"
    known = {
        re.sub(r"^SM(\d+)(\d)$", r"\1.\2", name): getattr(trt.ComputeCapability, name)
        for name in dir(trt.ComputeCapability)
        if re.fullmatch(r"SM\d+", name)
    }
    if wanted not in known:
        raise UsageError(
            f"compute capability {wanted}",
            found=f"not a target of {kind} {version_of(kind)}",
            expected=f"one of {', '.join(sorted(known, key=float))}",
            action="use that of your GPU, or leave it out",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[wanted], 0)
    return wanted


def _name(kind: str, capability: str) -> str:
    suffix = "any" if capability == "any" else f"sm{capability.replace('.', '')}"
    return f"{kind}-{version_of(kind)}-{suffix}"


def _write(
    source: Artifact,
    path: Path,
    plan: bytes,
    *,
    facts: dict[str, Any],
    build_s: float,
    target: str,
    batch: int,
) -> Artifact:
    step = Step(
        operation="engine",
        settings={"kind": facts["kind"], "compute_capability": facts["compute_capability"], "batch": batch},
        notes={"version": facts["version"]},
    )
    card = read_card(source.path, load_onnx(source.path))
    card = dataclasses.replace(card, target=target, batch=batch, lineage=(*card.lineage, step))
    # The manifest goes first and names the new bytes: a kill between the two leaves a pair that is refused.
    with replace_file(path) as temporary:
        temporary.write_bytes(plan)
        artifact = dataclasses.replace(
            source,
            path=path,
            format="engine",
            target=target,
            batch=batch,
            sha256=hash_file(temporary),
            size_bytes=len(plan),
            build_s=build_s,
            facts=facts,
            lineage=card.lineage,
        )
        with replace_file(manifest_path(path)) as manifest:
            manifest.write_text(json.dumps(manifest_json(artifact, card), indent=1, sort_keys=True) + "\n")
    return artifact_from_engine(path)


def _logged_bytes(messages: list[str], label: str) -> int | None:
    found = [re.search(rf"{label}: (\d+) bytes", text) for text in messages]
    return next((int(match.group(1)) for match in reversed(found) if match), None)


def _refused(source: Artifact, kind: str, reasons: list[str]) -> InputError:
    return InputError(
        str(source.path),
        found=f"{kind} refuses it ({_first(reasons, 'no reason given')})",
        expected="a graph of operators that TensorRT knows, in consistent types",
        action="export it with 'slimgate export'; if it was, report this with the message",
    )


def _first(reasons: list[str], otherwise: str) -> str:
    lines = [line.strip() for reason in reasons for line in reason.splitlines() if line.strip()]
    return lines[0] if lines else otherwise
