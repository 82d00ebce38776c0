"""TensorRT engines, ahead of time: strongly typed, so the precision is what the ONNX graph says."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

from slimgate.artifact.engine_options import EngineOptions, apply_options, check_options
from slimgate.artifact.engine_target import name_target, target_capability
from slimgate.artifact.fingerprint import hash_file
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.load import read_card
from slimgate.artifact.manifest import artifact_from_engine, manifest_json, manifest_path
from slimgate.artifact.precision import convolution_work
from slimgate.artifact.profile import Profile, fixed_batch, profiles_from_batch
from slimgate.artifact.semi_structured import OPERATION as SEMI_STRUCTURED
from slimgate.artifact.timing_cache import attach_timing_cache, keep_timing_cache, read_timing_cache
from slimgate.artifact.trt import load_trt, trt_log
from slimgate.artifact.write import replace_file
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.flow import Artifact, Json, Precision, Step

_FAILED = ("ERROR", "INTERNAL_ERROR")
_DEFAULTS = EngineOptions()


def build_engine(
    source: Artifact,
    path: Path,
    *,
    kind: str,
    compute_capability: str | None = None,
    batch: int | tuple[Profile, ...] = 1,
    options: EngineOptions = _DEFAULTS,
) -> Artifact:
    """Build a TensorRT engine from an ONNX artifact.

    ``tensorrt-rtx`` builds for any GPU, also where there is none; ``tensorrt`` builds on and for the GPU that is
    there. The engine's manifest, ``<engine>.json``, is written beside it.

    Args:
        source: the ONNX artifact: FP32, FP16, or INT8 written for ``tensorrt``.
        path: the ``.engine`` file; replaced as a whole or not at all.
        kind: ``tensorrt`` or ``tensorrt-rtx``.
        compute_capability: of the GPU that will run it, such as ``8.6``; of several, ``8.6,8.9``
            (``tensorrt-rtx``); None: every GPU the kind targets by itself (``tensorrt-rtx``: Ampere and newer), or
            the one that is there (``tensorrt``).
        batch: fixed batch size, 0 for 1 to 32, or the optimisation profiles.
        options: how it is built.

    Raises:
        UsageError: unknown kind, a compute capability that it cannot target, or an option that it does not have.
        UnavailableError: the kind is not installed, or needs a GPU that is not there.
        InputError: TensorRT refuses the graph, the timing cache is not the pinned one, or a file cannot be written.
    """
    trt = load_trt(kind)
    check_options(kind, options)
    profiles = profiles_from_batch(batch) if isinstance(batch, int) else batch
    _check_source(source, kind, profiles)
    timings = read_timing_cache(options)
    log = trt_log(kind)
    start = len(log.messages)
    started = time.perf_counter()
    builder = _builder(trt, kind, log, start)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(source.path.read_bytes()):
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise _refused(source, kind, reasons or log.since(start, *_FAILED))
    config = _config(trt, builder, network, source, profiles)
    apply_options(trt, config, options)
    attach_timing_cache(trt, config, options, timings)
    capability = target_capability(trt, config, kind, compute_capability)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused(source, kind, log.since(start, *_FAILED))
    build_s = time.perf_counter() - started
    facts = {
        "kind": kind,
        "version": str(trt.__version__),
        "compute_capability": capability,
        "profiles": [list(profile) for profile in profiles],
        "options": options.chosen(),
        "sparse_weights_allowed": _is_semi_structured(source),
        "onnx_sha256": source.sha256,
        "weight_memory_bytes": _logged_bytes(log.since(start), "Total Weights Memory"),
        "activation_memory_bytes": _logged_bytes(log.since(start), "Total Activation Memory"),
        "convolutions": convolution_work(Graph(load_onnx(source.path))),
        "proof": "shares of the ONNX graph, which a strongly typed network keeps; running it needs a GPU",
        **keep_timing_cache(config, options),
        **({"nms": source.facts["nms"]} if "nms" in source.facts else {}),
    }
    step = _step(facts, profiles, options)
    target = name_target(kind, capability)
    return _write(source, path, bytes(plan), facts=facts, build_s=build_s, target=target, step=step)


def _check_source(source: Artifact, kind: str, profiles: tuple[Profile, ...]) -> None:
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
    if kind == "tensorrt-rtx" and "nms" in source.facts:
        raise InputError(
            str(source.path),
            found="suppresses inside the graph",
            expected="raw predictions: tensorrt-rtx has no kernel for non-maximum suppression",
            action="leave --nms out, or build with kind 'tensorrt'",
        )
    if source.batch and profiles != profiles_from_batch(source.batch):
        raise UsageError(
            f"batch {fixed_batch(profiles) or ', '.join(str(profile) for profile in profiles)}",
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


def _strongly_typed(trt: Any) -> int:
    # A flag of TensorRT 10 and TensorRT-RTX; TensorRT 11 knows no other networks.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _config(trt: Any, builder: Any, network: Any, source: Artifact, profiles: tuple[Profile, ...]) -> Any:
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
        for sizes in profiles:
            profile = builder.create_optimization_profile()
            profile.set_shape(tensor.name, *((size, *image) for size in sizes))
            config.add_optimization_profile(profile)
    return config


def _is_semi_structured(source: Artifact) -> bool:
    return any(step.operation == SEMI_STRUCTURED for step in source.lineage)


def _step(facts: dict[str, Json], profiles: tuple[Profile, ...], options: EngineOptions) -> Step:
    settings: dict[str, Json] = {
        "kind": facts["kind"],
        "compute_capability": facts["compute_capability"],
        "batch": fixed_batch(profiles) or ", ".join(str(profile) for profile in profiles),
        **options.chosen(),
    }
    return Step(operation="engine", settings=settings, notes={"version": facts["version"]})


def _write(
    source: Artifact,
    path: Path,
    plan: bytes,
    *,
    facts: dict[str, Any],
    build_s: float,
    target: str,
    step: Step,
) -> Artifact:
    batch = fixed_batch([Profile(*sizes) for sizes in facts["profiles"]])
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
