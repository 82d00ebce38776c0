"""Looks into a model file of any kind and says what it really is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.artifact.fingerprint import compressed_bytes, hash_file
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import is_box_integral, last_convolutions
from slimgate.artifact.inspection import ALIGNMENT, Inspection, Layer
from slimgate.artifact.load import artifact_from_model, read_card
from slimgate.artifact.manifest import artifact_from_engine
from slimgate.artifact.precision import convolution_precision
from slimgate.artifact.quantized import FLOAT_CONVOLUTIONS, quantized_tensors
from slimgate.artifact.semi_structured import check_semi_structured, semi_structured_state
from slimgate.artifact.stored import stored_weight
from slimgate.errors import InputError
from slimgate.flow import Artifact, Detector, Precision

_HEAD = "output of the head: its width is set by boxes and classes"
_DETECTORS = {".safetensors": "slimgate", ".json": "slimgate", ".pt": "pt"}


def inspect_file(path: Path | str, *, multiple: int = ALIGNMENT) -> Inspection:
    """Return what is found in a model file.

    Args:
        path: a slimgate checkpoint, a YOLOv5 or ultralytics ``.pt``, an ``.onnx`` or an ``.engine``.
        multiple: what channel widths are held against, 1 or more.

    Raises:
        InputError: missing, damaged, or no model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _DETECTORS:
        return _inspect_detector(path, _DETECTORS[suffix], multiple)
    if suffix == ".onnx":
        return _inspect_onnx(path, multiple)
    if suffix == ".engine":
        return _inspection(artifact_from_engine(path), layers=(), weights_sha256="", multiple=multiple)
    raise InputError(
        str(path),
        found=f"suffix '{suffix}'" if path.exists() else "no such file",
        expected=f"a model: {', '.join([*_DETECTORS, '.onnx', '.engine'])}",
        action="name a checkpoint, an ONNX file or an engine",
    )


def _inspect_onnx(path: Path, multiple: int) -> Inspection:
    model = load_onnx(path)
    card = read_card(path, model)
    graph = Graph(model)
    artifact = artifact_from_model(path, model, build_s=0.0)
    heads = {node.name for node in last_convolutions(graph)}
    pattern = check_semi_structured(graph)
    floats = card.facts.get(FLOAT_CONVOLUTIONS, {})
    layers = tuple(
        _layer_of_node(
            graph,
            node,
            multiple,
            reason=_HEAD if node.name in heads or is_box_integral(graph, node) else "",
            semi_structured=pattern.layers[node.name],
            why_float=str(floats.get(node.name, "")),
        )
        for node in graph.convolutions()
    )
    inspection = _inspection(artifact, layers=layers, weights_sha256=card.weights_sha256, multiple=multiple)
    return dataclasses.replace(
        inspection, semi_structured_share=pattern.share, quantized=quantized_tensors(graph)
    )


def _layer_of_node(
    graph: Graph, node: Any, multiple: int, *, reason: str, semi_structured: str, why_float: str
) -> Layer:
    shape = graph.weight_shape(node)
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    transposed = node.op_type == "ConvTranspose"
    inputs, outputs = (shape[0], shape[1] * groups) if transposed else (shape[1] * groups, shape[0])
    values = stored_weight(graph, node)
    return Layer(
        name=node.name,
        kind="ConvTranspose" if transposed else "Conv",
        inputs=inputs,
        outputs=outputs,
        kernel="x".join(str(size) for size in shape[2:]),
        precision=convolution_precision(graph, node),
        weights=int(np.prod(shape)),
        nonzero=int(np.count_nonzero(values)),
        alignment=_alignment(outputs, multiple, reason),
        semi_structured=semi_structured,
        reason=reason,
        why_float=why_float,
    )


def _inspect_detector(path: Path, kind: str, multiple: int) -> Inspection:
    from slimgate.model import checkpoint_paths, count_macs, load_detector

    detector = load_detector(path)
    # The tensors are in the .safetensors, whichever of a checkpoint's two files was named.
    file = checkpoint_paths(path)[0] if kind == "slimgate" else path
    artifact = Artifact(
        path=file,
        format=kind,
        target="torch",
        precision=Precision.FP32,
        class_names=detector.class_names,
        image_size=detector.image_size,
        batch=0,
        sha256=hash_file(file),
        size_bytes=file.stat().st_size,
        build_s=0.0,
        shares={Precision.FP32.value: 1.0},
        facts={"family": detector.family.value, "source": detector.source},
        lineage=detector.lineage,
    )
    layers = tuple(_layers_of_module(detector, multiple))
    macs = count_macs(detector)
    holding = sum(macs.get(layer.name, 0) for layer in layers if layer.semi_structured == "holds")
    inspection = _inspection(
        artifact, layers=layers, weights_sha256=detector.weights_sha256, multiple=multiple
    )
    return dataclasses.replace(inspection, semi_structured_share=holding / sum(macs.values()))


def _exempt_layers(detector: Detector) -> dict[str, str]:
    """Return the layers whose width is not ours to choose, with the reason."""
    from slimgate.model import head_convolutions
    from slimgate.model.channels import trace_channels

    exempt = dict.fromkeys(head_convolutions(detector), _HEAD)
    try:
        return exempt | trace_channels(detector.module, subject=detector.name).exempt
    except InputError:
        # A network that structured pruning does not know can still be looked into.
        return exempt


def _layers_of_module(detector: Detector, multiple: int) -> Iterator[Layer]:
    from torch import nn

    from slimgate.compress.semi_structured import why_not_sparse

    exempt = _exempt_layers(detector)
    for name, layer in detector.module.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            continue
        linear = isinstance(layer, nn.Linear)
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        yield Layer(
            name=name,
            kind={"Conv2d": "Conv", "ConvTranspose2d": "ConvTranspose"}.get(type(layer).__name__, "Linear"),
            inputs=layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels,
            outputs=outputs,
            kernel="" if linear else "x".join(str(size) for size in layer.weight.shape[2:]),
            precision=Precision.FP32.value,
            weights=layer.weight.numel(),
            nonzero=int(layer.weight.count_nonzero()),
            alignment=_alignment(outputs, multiple, exempt.get(name, "")),
            reason=exempt.get(name, ""),
            semi_structured=why_not_sparse(layer) or semi_structured_state(layer.weight.detach().numpy()),
        )


def _alignment(outputs: int, multiple: int, reason: str) -> str:
    if reason:
        return "exempt"
    return "odd" if outputs % multiple else "aligned"


def _inspection(
    artifact: Artifact, *, layers: tuple[Layer, ...], weights_sha256: str, multiple: int
) -> Inspection:
    return Inspection(
        file=artifact.path.name,
        format=artifact.format,
        target=artifact.target,
        precision=artifact.precision.value,
        shares=artifact.shares,
        class_names=artifact.class_names,
        image_size=artifact.image_size,
        batch=artifact.batch,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        compressed_bytes=compressed_bytes(artifact.path),
        weights_sha256=weights_sha256,
        layers=layers,
        lineage=artifact.lineage,
        facts=artifact.facts,
        multiple=multiple,
    )
