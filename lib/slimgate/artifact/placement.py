"""Where Q/DQ pairs go, for each target: the part of quantisation that depends on how a runtime fuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slimgate.artifact.graph import Graph
from slimgate.compress.quantize.scheme import Affine, asymmetric_uint8, symmetric_int8

MOVES = ("MaxPool", "Resize", "Split", "Slice", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that only pick or move values: output and input share one scale, or runtimes requantise."""

ARITHMETIC = ("Sigmoid", "Mul", "Add", "Concat", "LeakyRelu")
"""Operators with 8-bit kernels in onnxruntime's CPU provider (QLinearSigmoid, QLinearMul, ...)."""

FUSED_ACTIVATIONS = ("Relu", "Clip")
"""Operators that fold into the range of the convolution's quantised output."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """How one family of runtimes wants its integers.

    Attributes:
        name: its key in ``TARGETS``.
        symmetric: whether zero points are 0: ranges are widened to the same magnitude on both sides.
        element: numpy type of quantised activations.
        between: whether what lies between the convolutions is quantised as well.
        stem: whether the convolution that reads the image runs in 8 bits.
        transposed: whether transposed convolutions run in 8 bits.
        quantized_bias: whether biases are int32 or stay in float.
    """

    name: str
    symmetric: bool
    element: Any
    between: bool
    stem: bool
    transposed: bool
    quantized_bias: bool

    def scheme(self, low: float, high: float) -> Affine:
        """Return scale and zero point of a range."""
        return symmetric_int8(low, high) if self.symmetric else asymmetric_uint8(low, high)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="x86",
            symmetric=False,
            element=np.uint8,
            between=True,
            # Three input channels starve the 8-bit kernel: yolov5n's 6 x 6 stem takes 1.0 ms in INT8, 0.55 in FP32.
            stem=False,
            transposed=False,
            quantized_bias=True,
        ),
        Target(
            name="openvino",
            symmetric=False,
            element=np.uint8,
            between=False,
            stem=True,
            transposed=True,
            quantized_bias=False,
        ),
        Target(
            name="tensorrt",
            symmetric=True,
            element=np.int8,
            between=False,
            stem=True,
            transposed=True,
            quantized_bias=False,
        ),
    )
}


@dataclass(frozen=True)
class Placement:
    """Which tensors get a Q/DQ pair, and who reads the dequantised side.

    Attributes:
        tensors: names of the tensors, in graph order.
        convolutions: names of the convolutions that run in 8 bits.
        shared: tensor to the tensor whose scale and zero point it shares.
        floats: names of the convolutions that stay in float, with the reason.
        gates: input to output of each SiLU's Sigmoid, where both are quantised and nothing else reads the input.
        readers: names of the nodes that read the dequantised side; None: all of them.
    """

    tensors: tuple[str, ...]
    convolutions: frozenset[str]
    floats: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    gates: dict[str, str] = field(default_factory=dict)
    readers: frozenset[str] | None = None

    def reads(self, tensor: str, node: Any) -> bool:
        """Whether a node reads a tensor's dequantised side."""
        return self.readers is None or node.name in self.readers


def place_pairs(graph: Graph, float_nodes: Mapping[str, str], target: Target) -> Placement:
    """Return the placement for a target.

    Args:
        graph: the FP32 graph.
        float_nodes: names of the nodes that stay in float, with the reason; nothing among them is touched.
        target: whose rules apply.
    """
    convolutions = []
    floats = {}
    for node in graph.nodes:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        reason = float_nodes.get(node.name) or _why_float(graph, node, target)
        if reason:
            floats[node.name] = reason
        else:
            convolutions.append(node)
    place = _around_everything if target.between else _at_convolutions
    return dataclasses.replace(place(graph, convolutions, float_nodes), floats=floats)


def _why_float(graph: Graph, node: Any, target: Target) -> str:
    if graph.constant(node.input[1]) is None:
        return "weight: it is computed, not stored"
    if graph.producer(node.input[0]) is None and not target.stem:
        return "stem: three input channels starve the 8-bit kernel"
    if node.op_type == "ConvTranspose" and not target.transposed:
        return "transposed convolution: the runtime has no 8-bit kernel for it"
    if _shares_scales_between_groups(node):
        return "grouped transposed convolution: its groups would share scales"
    return ""


def _shares_scales_between_groups(node: Any) -> bool:
    """Whether axis 1 of a weight has fewer entries than there are output channels: a grouped ConvTranspose."""
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    return node.op_type == "ConvTranspose" and groups > 1


def _at_convolutions(graph: Graph, convolutions: list[Any], float_nodes: Collection[str]) -> Placement:
    """Pairs at the convolutions' inputs, and at the addend of a residual that a convolution reads as well."""
    tensors = {node.input[0] for node in convolutions}
    readers = {node.name for node in convolutions}
    readers |= {
        node.name
        for node in graph.nodes
        if node.op_type == "Add" and node.name not in float_nodes and tensors.intersection(node.input)
    }
    return Placement(
        tensors=_in_graph_order(graph, tensors),
        convolutions=frozenset(node.name for node in convolutions),
        readers=frozenset(readers),
    )


def _around_everything(graph: Graph, convolutions: list[Any], float_nodes: Collection[str]) -> Placement:
    """Pairs around every operator with an 8-bit kernel that stands between two quantised convolutions.

    What leads into the float head alone stays in float, and so does what follows a float stem.
    """
    wanted = {node.input[0] for node in convolutions}
    between = {node.name for node in convolutions}
    for node in reversed(graph.nodes):
        eight_bit = node.op_type in (*ARITHMETIC, *MOVES) and node.name not in float_nodes
        if eight_bit and not wanted.isdisjoint(node.output):
            between.add(node.name)
            wanted.update(name for name in node.input if _is_activation(graph, name))
    tensors: set[str] = set()
    shared: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in between:
            continue
        inputs = [name for name in node.input if _is_activation(graph, name)]
        # What moves constants alone is a constant to whoever reads it.
        if not inputs:
            continue
        # A lone Sigmoid or Mul between float operators and a Q would dequantise more than it saves.
        if node.op_type in ("Sigmoid", "Mul") and tensors.isdisjoint(inputs):
            continue
        tensors.update(inputs)
        following = graph.consumers(node.output[0])
        fused = len(following) == 1 and following[0].op_type in FUSED_ACTIVATIONS
        outputs = following[0].output if fused else node.output
        tensors.update(outputs)
        if node.op_type in MOVES:
            shared.update({name: shared.get(inputs[0], inputs[0]) for name in outputs})
    shared = _share_with_concatenations(graph, between, tensors, shared)
    return Placement(
        tensors=_in_graph_order(graph, tensors),
        convolutions=frozenset(node.name for node in convolutions),
        shared=shared,
        gates={
            tensor: gate
            for tensor, gate in _gates(graph)
            if tensor in tensors and gate in tensors and tensor not in shared
        },
    )


def _share_with_concatenations(
    graph: Graph, between: Collection[str], tensors: Collection[str], shared: Mapping[str, str]
) -> dict[str, str]:
    """Return the shared scales, with those of Concat added: what only one Concat reads takes the scale of its output.

    The Concat would round it to that scale anyway, a second time, and in a pass of its own: with equal scales the
    kernel copies. What is read elsewhere as well keeps its own scale there.
    """
    roots = {name: shared.get(name, name) for name in tensors}
    members: dict[str, list[str]] = {}
    for name in tensors:
        members.setdefault(roots[name], []).append(name)
    # From the output backwards, so that a Concat that feeds another takes on the other's scale first.
    for node in reversed(graph.nodes):
        if node.op_type != "Concat" or node.name not in between or node.output[0] not in tensors:
            continue
        output = roots[node.output[0]]
        for root in {roots[name] for name in node.input if name in roots} - {output}:
            moved = members[root]
            readers = {reader.name for name in moved for reader in graph.consumers(name)}
            own = {
                reader.name
                for name in moved
                for reader in graph.consumers(name)
                if reader.op_type in MOVES and roots.get(reader.output[0]) == root
            }
            if readers - own == {node.name}:
                roots.update(dict.fromkeys(moved, output))
                members[output].extend(members.pop(root))
    return {name: root for name, root in roots.items() if root != name}


def _gates(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield input and output of each SiLU's Sigmoid: only it and the product of the two read the input."""
    for node in graph.nodes:
        if node.op_type != "Sigmoid":
            continue
        tensor, gate = node.input[0], node.output[0]
        products = graph.consumers(gate)
        if len(products) != 1 or products[0].op_type != "Mul" or set(products[0].input) != {tensor, gate}:
            continue
        if {reader.name for reader in graph.consumers(tensor)} == {node.name, products[0].name}:
            yield tensor, gate


def _is_activation(graph: Graph, tensor: str) -> bool:
    import onnx

    found = graph.types.get(tensor)
    return (
        bool(tensor)
        and graph.constant(tensor) is None
        and found is not None
        and found.element == onnx.TensorProto.FLOAT
    )


def _in_graph_order(graph: Graph, tensors: set[str]) -> tuple[str, ...]:
    order = [value.name for value in graph.model.graph.input]
    order += [name for node in graph.nodes for name in node.output]
    return tuple(name for name in order if name in tensors)
