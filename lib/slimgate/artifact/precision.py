"""The proof of an artifact's precision: what its convolutions really run in, weighed by their arithmetic."""

from __future__ import annotations

from collections import Counter
from typing import Any

from slimgate.artifact.graph import Graph
from slimgate.flow import Json, Precision

_EIGHT_BIT = ("INT8", "UINT8")


def convolution_work(graph: Graph) -> dict[str, dict[str, Json]]:
    """Return what each convolution is in the graph, by node name: its ``macs`` and its ``precision``.

    What a runtime says that it executes is held against it: ``slimgate.artifact.executed``.
    """
    return {
        node.name: {
            "macs": graph.multiply_accumulates(node),
            "precision": convolution_precision(graph, node),
        }
        for node in graph.convolutions()
    }


def precision_shares(graph: Graph) -> dict[str, float]:
    """Return the share of convolution multiply-accumulates per precision, adding up to 1.

    An INT8 convolution needs both: its activation comes from DequantizeLinear of QuantizeLinear, and its weight
    from DequantizeLinear of 8-bit values. One alone runs in float in every runtime.
    """
    work: Counter[str] = Counter()
    for node in graph.convolutions():
        work[convolution_precision(graph, node)] += graph.multiply_accumulates(node)
    total = sum(work.values())
    return {name: work[name] / total for name in sorted(work)} if total else {}


def convolution_precision(graph: Graph, node: Any) -> str:
    """Return ``int8``, ``fp16``, ``fp32`` or the ONNX name of another element type."""
    if node.op_type == "QLinearConv":
        return Precision.INT8.value
    if _is_quantized_activation(graph, node.input[0]) and _is_quantized_weight(graph, node.input[1]):
        return Precision.INT8.value
    names = {_element_name(graph, name) for name in node.input[:2]}
    if names == {"FLOAT16"}:
        return Precision.FP16.value
    # Q/DQ on one side only computes in the type that DequantizeLinear gives.
    return Precision.FP32.value if names == {"FLOAT"} else "+".join(sorted(names)).lower()


def claimed_precision(shares: dict[str, float]) -> Precision:
    """Return the precision that most of the arithmetic runs in."""
    best = max(shares, key=lambda name: shares[name], default=Precision.FP32.value)
    return Precision(best) if best in set(Precision) else Precision.FP32


def _is_quantized_activation(graph: Graph, tensor: str) -> bool:
    dequantize = graph.producer(tensor)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return False
    quantize = graph.producer(dequantize.input[0])
    return (
        quantize is not None
        and quantize.op_type == "QuantizeLinear"
        and _element_name(graph, dequantize.input[0]) in _EIGHT_BIT
    )


def _is_quantized_weight(graph: Graph, tensor: str) -> bool:
    dequantize = graph.producer(tensor)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return False
    source = dequantize.input[0]
    if _element_name(graph, source) not in _EIGHT_BIT:
        return False
    if graph.constant(source) is not None:
        return True
    quantize = graph.producer(source)
    return (
        quantize is not None
        and quantize.op_type == "QuantizeLinear"
        and graph.constant(quantize.input[0]) is not None
    )


def _element_name(graph: Graph, tensor: str) -> str:
    import onnx

    found = graph.types.get(tensor)
    return str(onnx.TensorProto.DataType.Name(found.element)) if found else "UNKNOWN"
