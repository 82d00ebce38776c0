"""Looks into a model file of any kind and says what it really is."""

from __future__ import annotations

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
from slimgate.errors import InputError
from slimgate.flow import Artifact, Detector, Precision

_DETECTORS = {".safetensors": "slimgate", ".json": "slimgate", ".pt": "pt"}


def inspect_file(path: Path | str) -> Inspection:
    """Return what is found in a model file.

    Args:
        path: a slimgate checkpoint, a YOLOv5 or ultralytics ``.pt``, an ``.onnx`` or an ``.engine``.

    Raises:
        InputError: missing, damaged, or no model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _DETECTORS:
        return _inspect_detector(path, _DETECTORS[suffix])
    if suffix == ".onnx":
        return _inspect_onnx(path)
    if suffix == ".engine":
        return _inspection(artifact_from_engine(path), layers=(), weights_sha256="")
    raise InputError(
        str(path),
        found=f"suffix '{suffix}'" if path.exists() else "no such file",
        expected=f"a model: {', '.join([*_DETECTORS, '.onnx', '.engine'])}",
        action="name a checkpoint, an ONNX file or an engine",
    )


def _inspect_onnx(path: Path) -> Inspection:
    model = load_onnx(path)
    card = read_card(path, model)
    graph = Graph(model)
    artifact = artifact_from_model(path, model, build_s=0.0)
    heads = {node.name for node in last_convolutions(graph)}
    layers = tuple(
        _layer_of_node(graph, node, exempt=node.name in heads or is_box_integral(graph, node))
        for node in graph.convolutions()
    )
    return _inspection(artifact, layers=layers, weights_sha256=card.weights_sha256)


def _layer_of_node(graph: Graph, node: Any, *, exempt: bool) -> Layer:
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
        alignment=_alignment(outputs, exempt=exempt),
    )


def stored_weight(graph: Graph, node: Any) -> Any:
    """Return a convolution's weight as the file stores it: float, half, or integers with zero point 0.

    Raises:
        InputError: the weight is computed, not stored.
    """
    name = node.input[3 if node.op_type == "QLinearConv" else 1]
    while graph.constant(name) is None:
        producer = graph.producer(name)
        if producer is None or producer.op_type not in ("DequantizeLinear", "QuantizeLinear", "Cast"):
            raise InputError(
                f"node '{node.name}'",
                found=f"its weight '{name}' is computed, not stored",
                expected="constant weights",
                action="export the model again with 'slimgate export'",
            )
        name = producer.input[0]
    return graph.constant(name)


def _inspect_detector(path: Path, kind: str) -> Inspection:
    from slimgate.model import checkpoint_paths, head_convolutions, load_detector

    detector = load_detector(path)
    # The tensors are in the .safetensors, whichever of a checkpoint's two files was named.
    file = checkpoint_paths(path)[0] if kind == "slimgate" else path
    exempt = set(head_convolutions(detector))
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
    return _inspection(
        artifact,
        layers=tuple(_layers_of_module(detector, exempt)),
        weights_sha256=detector.weights_sha256,
    )


def _layers_of_module(detector: Detector, exempt: set[str]) -> Iterator[Layer]:
    from torch import nn

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
            alignment=_alignment(outputs, exempt=name in exempt),
        )


def _alignment(outputs: int, *, exempt: bool) -> str:
    if exempt:
        return "exempt"
    return "aligned" if outputs % ALIGNMENT == 0 else "odd"


def _inspection(artifact: Artifact, *, layers: tuple[Layer, ...], weights_sha256: str) -> Inspection:
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
    )
