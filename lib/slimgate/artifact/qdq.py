"""An INT8 file for one target: a quantization plan written into the graph as explicit Q/DQ."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.artifact.fused import fused_share
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.load import artifact_from_file, read_card, set_card
from slimgate.artifact.placement import TARGETS, Placement, Target, place_pairs
from slimgate.artifact.quantized import FLOAT_CONVOLUTIONS, SENSITIVITY, SQNR_DB, quantized_tensors
from slimgate.artifact.semi_structured import require_semi_structured
from slimgate.artifact.simplify import copy_proto, drop_unused_initializers
from slimgate.artifact.write import replace_file
from slimgate.compress.quantize import QuantizationPlan
from slimgate.compress.quantize.noise import tensor_noise
from slimgate.compress.quantize.scheme import (
    Affine,
    channel_scales,
    gate_floor,
    quantize_bias,
    quantize_weight,
    widen_for_bias,
)
from slimgate.compress.quantize.source import check_not_quantized, fingerprint_source
from slimgate.errors import InputError, name_offenders, unknown_name
from slimgate.flow import Artifact, Json, Precision, Step

FloatArray = npt.NDArray[np.float32]


def write_qdq(
    source: Artifact,
    plan: QuantizationPlan,
    path: Path,
    *,
    target: str,
    probes: Sequence[FloatArray] = (),
) -> Artifact:
    """Write an INT8 file.

    Args:
        source: the FP32 ONNX artifact that was calibrated.
        plan: ranges and float nodes of that very file.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        target: ``x86`` (uint8 activations, everything between convolutions quantised: what onnxruntime needs to
            be faster than FP32), ``openvino`` (uint8 activations at the convolutions' inputs) or ``tensorrt``
            (signed symmetric activations at the convolutions' inputs, biases in float).
        probes: calibration images ``(1, 3, s, s)`` on which the file's noise is measured; the signal to noise
            ratio at the output of each convolution goes into ``facts["sqnr_db"]`` of what is returned, not into
            the file.

    Raises:
        UsageError: unknown target.
        InputError: the plan is of another file, the source is quantised already, the 2:4 pattern of the lineage
            is lost, or the file cannot be written.
    """
    started = time.perf_counter()
    exact = load_onnx(source.path)
    card = read_card(source.path, exact)
    model, placement = quantized_model(source, plan, target=target)
    step = Step(
        operation="quantize",
        settings={
            "target": target,
            "observer": plan.observer,
            # Left out where nobody asked: the lineage of files that were made without it stays what it was.
            **({"budget": plan.sensitivity["budget"]} if plan.sensitivity.get("budget") is not None else {}),
        },
        notes={
            "calibration_sha256": plan.calibration_sha256,
            "calibration_count": plan.calibration_count,
            "float_nodes": len(plan.float_nodes),
        },
    )
    facts: dict[str, Json] = {FLOAT_CONVOLUTIONS: placement.floats}
    if target == "x86":
        facts["ort_int8_conv_share"] = fused_share(model)
    if plan.sensitivity:
        facts[SENSITIVITY] = dict(plan.sensitivity)
    card = dataclasses.replace(
        card, precision=Precision.INT8, target=target, lineage=(*card.lineage, step), facts=facts
    )
    require_semi_structured(path, Graph(model), card.lineage)
    set_card(model, card)
    with replace_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    artifact = artifact_from_file(path, build_s=time.perf_counter() - started)
    # Evidence, not part of what is shipped: it would make a small file a hundredth larger.
    return dataclasses.replace(artifact, facts={**artifact.facts, **_noise_facts(exact, model, probes)})


def _noise_facts(exact: Any, model: Any, probes: Sequence[FloatArray]) -> dict[str, Json]:
    if not len(probes):
        return {}
    outputs = {node.name: node.output[0] for node in Graph(exact).convolutions()}
    noises = tensor_noise(exact, model, probes, list(outputs.values()))
    ratios = {name: noises[tensor].sqnr_db for name, tensor in outputs.items()}
    # Without any noise there is no ratio: what is exact is left out.
    return {SQNR_DB: {name: value for name, value in ratios.items() if value is not None}}


def quantized_model(source: Artifact, plan: QuantizationPlan, *, target: str) -> tuple[Any, Placement]:
    """Return an ``onnx.ModelProto`` with the plan written into it for a target, and where the pairs are.

    Raises:
        UsageError: unknown target.
        InputError: the plan is of another file, or the source is quantised already.
    """
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    model = load_onnx(source.path)
    _check_plan(source.path, model, plan)
    placement = place_pairs(Graph(model), plan.float_nodes, TARGETS[target])
    _Writer(model, plan, placement, TARGETS[target]).write()
    return model, placement


def _check_plan(path: Path, model: Any, plan: QuantizationPlan) -> None:
    check_not_quantized(path, model)
    missing = sorted(set(plan.float_nodes) - {node.name for node in model.graph.node})
    if missing:
        raise InputError(
            str(path),
            found=f"the plan's float nodes are not in it: {name_offenders(missing)}",
            expected="the file that was calibrated",
            action="calibrate this file",
        )
    own = fingerprint_source(model)
    if own != plan.source_sha256:
        raise InputError(
            str(path),
            found=f"other weights (sha256 {own[:12]}) than the plan was made from ({plan.source_sha256[:12]})",
            expected="the file that was calibrated, or the same weights exported again",
            action="calibrate this file: ranges of other weights do not fit it",
        )


class _Writer:
    """Inserts the Q/DQ pairs of one placement into a model, in place."""

    def __init__(self, model: Any, plan: QuantizationPlan, placement: Placement, target: Target) -> None:
        self._model = model
        self._graph = Graph(model)
        self._plan = plan
        self._placement = placement
        self._target = target
        self._before: dict[str, list[Any]] = {}
        self._affine: dict[str, Affine] = {}

    def write(self) -> None:
        pairs: dict[str, list[Any]] = {}
        for tensor in self._placement.tensors:
            pairs[tensor] = self._activation_pair(tensor)
        weights = [nodes for node in self._graph.nodes if (nodes := self._weight_nodes(node))]
        for node in self._graph.nodes:
            self._rewire(node)
        ordered = [
            pair for tensor, nodes in pairs.items() if self._graph.producer(tensor) is None for pair in nodes
        ]
        ordered += [node for nodes in weights for node in nodes]
        for node in self._graph.nodes:
            ordered.append(node)
            ordered += [pair for name in node.output for pair in pairs.get(name, [])]
        copies = [copy_proto(node) for node in ordered]
        del self._model.graph.node[:]
        self._model.graph.node.extend(copies)
        del self._model.graph.value_info[:]
        drop_unused_initializers(self._model)

    def affine(self, tensor: str) -> Affine:
        """Return scale and zero point of a tensor, or of the one it must share them with."""
        root = self._placement.shared.get(tensor, tensor)
        if root not in self._affine:
            if root not in self._plan.ranges:
                raise InputError(
                    "quantization plan",
                    found=f"no range for tensor '{root}'",
                    expected="a range for every tensor that is quantised",
                    action="calibrate this file",
                )
            low, high = self._plan.ranges[root]
            if self._target.symmetric:
                low, high = -self._plan.magnitude(root), self._plan.magnitude(root)
            gate = self._placement.gates.get(root)
            if gate is not None:
                low = max(low, gate_floor(self.affine(gate).scale))
            self._affine[root] = self._target.scheme(low, high)
        return self._affine[root]

    def _activation_pair(self, tensor: str) -> list[Any]:
        import onnx

        affine = self.affine(tensor)
        scale = self._constant(f"{tensor}/scale", np.array(affine.scale, np.float32))
        zero = self._constant(f"{tensor}/zero_point", np.array(affine.zero_point, self._target.element))
        return [
            onnx.helper.make_node(
                "QuantizeLinear", [tensor, scale, zero], [f"{tensor}/quantized"], f"{tensor}/QuantizeLinear"
            ),
            onnx.helper.make_node(
                "DequantizeLinear",
                [f"{tensor}/quantized", scale, zero],
                [f"{tensor}/dequantized"],
                f"{tensor}/DequantizeLinear",
            ),
        ]

    def _weight_nodes(self, node: Any) -> list[Any]:
        """Return the DequantizeLinear nodes of a quantised convolution's weight and bias, and rewire it to them."""
        if node.name not in self._placement.convolutions:
            return []
        axis = 1 if node.op_type == "ConvTranspose" else 0
        weight = self._graph.constant(node.input[1])
        assert weight is not None  # the placement takes only convolutions of constant weight
        scales = channel_scales(weight, axis=axis)
        bias = self._graph.constant(node.input[2]) if len(node.input) > 2 else None
        input_scale = self.affine(node.input[0]).scale
        if bias is not None:
            scales = widen_for_bias(scales, bias, input_scale=input_scale)
        nodes = [self._dequantize(node, 1, quantize_weight(weight, scales, axis=axis), scales, axis=axis)]
        if bias is not None and self._target.quantized_bias:
            steps = quantize_bias(bias, scales, input_scale=input_scale)
            accumulator = (np.float32(input_scale) * scales).astype(np.float32)
            nodes.append(self._dequantize(node, 2, steps, accumulator, axis=0))
        return nodes

    def _dequantize(self, node: Any, index: int, values: Any, scales: Any, *, axis: int) -> Any:
        import onnx

        name = f"{node.name}/{'weight' if index == 1 else 'bias'}"
        made = onnx.helper.make_node(
            "DequantizeLinear",
            [
                self._constant(f"{name}/quantized", values),
                self._constant(f"{name}/scale", scales),
                self._constant(f"{name}/zero_point", np.zeros(scales.shape, values.dtype)),
            ],
            [f"{name}/dequantized"],
            f"{name}/DequantizeLinear",
            axis=axis,
        )
        node.input[index] = made.output[0]
        return made

    def _rewire(self, node: Any) -> None:
        for index, name in enumerate(node.input):
            if name in self._placement.tensors and self._placement.reads(name, node):
                node.input[index] = f"{name}/dequantized"

    def _constant(self, name: str, value: Any) -> str:
        import onnx

        self._model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name


def describe_quantization(artifact: Artifact, plan: QuantizationPlan) -> dict[str, Json]:
    """Return a plan as it was written for a target, as JSON values: every tensor's scheme, and why what is float.

    Args:
        artifact: the INT8 file.
        plan: what it was written from.
    """
    return {
        "format": "slimgate-quantization/1",
        "file": artifact.path.name,
        "sha256": artifact.sha256,
        "target": artifact.target,
        "tensors": [tensor.to_json() for tensor in quantized_tensors(Graph(load_onnx(artifact.path)))],
        FLOAT_CONVOLUTIONS: dict(artifact.facts.get(FLOAT_CONVOLUTIONS, {})),
        SQNR_DB: dict(artifact.facts.get(SQNR_DB, {})),
        "plan": plan.to_json(),
    }
