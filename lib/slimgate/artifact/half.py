"""The FP16 file of a detector: half precision up to the head's outputs, float32 from there on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import float_head_nodes, last_convolutions
from slimgate.artifact.load import artifact_from_file, read_card, set_card
from slimgate.artifact.semi_structured import require_semi_structured
from slimgate.artifact.simplify import copy_proto, drop_unused_initializers
from slimgate.artifact.write import replace_file
from slimgate.errors import InputError
from slimgate.flow import Artifact, Precision, Step

LARGEST = float(np.finfo(np.float16).max)

# Inputs that are float32 by the operator's definition, whatever its data is in: region and scales of Resize.
_ALWAYS_FLOAT32 = {"Resize": (1, 2)}


HEADROOM = 2.0
"""How far below the largest float16 an observed maximum must lie: other images reach further."""


def convert_fp16(source: Artifact, path: Path, *, maxima: Mapping[str, float] | None = None) -> Artifact:
    """Write an FP16 file with float32 inputs and outputs.

    Every operator up to and including the head's output convolutions computes in float16. Box decode and scores
    stay in float32: a pixel coordinate above 256 has steps of a quarter pixel in float16. A node with a constant
    beyond 65504 stays in float32, and so does one that reads or makes a tensor that came within a factor of two of it.

    Args:
        source: the FP32 ONNX artifact.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        maxima: largest absolute value seen of each tensor (``slimgate.compress.quantize.observe_maxima``), and the
            largest of them goes into ``facts["largest_activation"]`` of what is returned; None: constants alone are
            looked at.

    Raises:
        InputError: the source is not FP32, the 2:4 pattern of its lineage is lost, or the file cannot be written.
    """
    started = time.perf_counter()
    model = load_onnx(source.path)
    card = read_card(source.path, model)
    graph = Graph(model)
    if source.precision is not Precision.FP32 or any("Quantize" in node.op_type for node in graph.nodes):
        raise InputError(
            str(source.path),
            found=f"already in {source.precision}",
            expected="an FP32 file",
            action="start from the FP32 export",
        )
    decode = set(float_head_nodes(source)) - {node.name for node in last_convolutions(graph)}
    large = {name for name, value in (maxima or {}).items() if value > LARGEST / HEADROOM}
    overflowing = [
        node.name
        for node in graph.nodes
        if node.name not in decode
        and (_overflows(graph, node) or not large.isdisjoint([*node.input, *node.output]))
    ]
    _Converter(model, graph, decode | set(overflowing)).convert()
    step = Step(operation="fp16", settings={}, notes={"float32_for_range": overflowing})
    require_semi_structured(path, Graph(model), card.lineage)
    facts = {"input_type": "float32", "output_type": "float32"}
    set_card(
        model, dataclasses.replace(card, precision=Precision.FP16, lineage=(*card.lineage, step), facts=facts)
    )
    with replace_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    artifact = artifact_from_file(path, build_s=time.perf_counter() - started)
    if maxima is None:
        return artifact
    # Evidence, not part of what is shipped: where nothing overflows, the file is the same whether anybody looked.
    # Box decode computes in float32 whatever its numbers are.
    half = [name for node in graph.nodes if node.name not in decode for name in node.output]
    largest = max((maxima.get(name, 0.0) for name in half), default=0.0)
    return dataclasses.replace(artifact, facts={**artifact.facts, "largest_activation": largest})


def _overflows(graph: Graph, node: Any) -> bool:
    for name in node.input:
        value = graph.constant(name)
        if value is not None and value.dtype == np.float32 and value.size:
            finite = np.abs(value[np.isfinite(value)])
            if finite.size and finite.max() > LARGEST:
                return True
    return False


class _Converter:
    """Rewrites a model in place; casts stand where float16 meets float32, one per tensor and direction."""

    def __init__(self, model: Any, graph: Graph, kept: set[str]) -> None:
        import onnx

        self._model = model
        self._graph = graph
        self._kept = kept
        self._half = int(onnx.TensorProto.FLOAT16)
        self._float = int(onnx.TensorProto.FLOAT)
        self._casts: dict[str, Any] = {}
        self._constants: set[str] = set()

    def convert(self) -> None:
        ordered = []
        for node in self._graph.nodes:
            before = set(self._casts)
            self._convert_inputs(node)
            ordered += [self._casts[name] for name in self._casts if name not in before]
            ordered.append(node)
        copies = [copy_proto(node) for node in ordered]
        del self._model.graph.node[:]
        self._model.graph.node.extend(copies)
        del self._model.graph.value_info[:]
        drop_unused_initializers(self._model)

    def _convert_inputs(self, node: Any) -> None:
        half = self._is_half(node)
        fixed = _ALWAYS_FLOAT32.get(node.op_type, ())
        # Types were inferred before anything was rewired, so they are asked by the original names.
        for index, name in enumerate(list(node.input)):
            if not self._is_float(name):
                continue
            wants_half = half and index not in fixed
            if self._graph.constant(name) is not None:
                if wants_half:
                    node.input[index] = self._half_constant(name)
                continue
            producer = self._graph.producer(name)
            has_half = producer is not None and self._is_half(producer)
            if wants_half != has_half:
                node.input[index] = self._cast(name, self._half if wants_half else self._float)
        for entry in node.attribute:
            if half and node.op_type == "Cast" and entry.name == "to" and entry.i == self._float:
                entry.i = self._half

    def _is_half(self, node: Any) -> bool:
        return node.name not in self._kept and any(self._is_float(name) for name in node.output)

    def _is_float(self, tensor: str) -> bool:
        found = self._graph.types.get(tensor)
        return found is not None and found.element == self._float

    def _half_constant(self, name: str) -> str:
        import onnx

        converted = f"{name}/float16"
        if converted not in self._constants:
            self._constants.add(converted)
            value = np.asarray(self._graph.constant(name)).astype(np.float16)
            self._model.graph.initializer.append(onnx.numpy_helper.from_array(value, converted))
        return converted

    def _cast(self, name: str, element: int) -> str:
        import onnx

        converted = f"{name}/{'float16' if element == self._half else 'float32'}"
        if converted not in self._casts:
            self._casts[converted] = onnx.helper.make_node(
                "Cast", [name], [converted], f"{converted}/Cast", to=element
            )
        return converted
