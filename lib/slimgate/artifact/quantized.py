"""How each tensor of a Q/DQ file is quantised, read from the file itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slimgate.artifact.graph import CONVOLUTIONS, Graph
from slimgate.flow import Json

FLOAT_CONVOLUTIONS = "float_convolutions"
"""The fact that says why each convolution of an INT8 file that stays in float does: ``{node: reason}``."""

SQNR_DB = "sqnr_db"
"""The fact with the signal to quantisation noise ratio at each convolution's output: ``{node: dB}``."""

SENSITIVITY = "sensitivity"
"""The fact that says what INT8 costs per group of layers (``slimgate.compress.quantize.Sensitivity``)."""

_ROLES = {1: "weight", 2: "bias"}


@dataclass(frozen=True, kw_only=True)
class QuantizedTensor:
    """Scheme, scales and zero points of one tensor.

    Attributes:
        name: of an activation; of a weight or bias, its node and ``/weight`` or ``/bias``.
        role: ``activation``, ``weight`` or ``bias``.
        element: ``uint8``, ``int8``, ``int32``.
        axis: of the channels that have a scale each; None when the tensor has one scale.
        symmetric: whether zero lies in the middle: a signed type and zero points of 0.
        scales: one, or one per channel.
        zero_points: one, or one per channel.
    """

    name: str
    role: str
    element: str
    axis: int | None
    symmetric: bool
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]

    @property
    def scheme(self) -> str:
        """The scheme in words, such as ``uint8 per tensor, asymmetric``."""
        per = "per tensor" if self.axis is None else f"per channel (axis {self.axis})"
        return f"{self.element} {per}, {'symmetric' if self.symmetric else 'asymmetric'}"

    def to_json(self) -> dict[str, Json]:
        """Return the tensor as JSON values."""
        return {
            "name": self.name,
            "role": self.role,
            "element": self.element,
            "per": "tensor" if self.axis is None else "channel",
            "axis": self.axis,
            "symmetric": self.symmetric,
            "scales": list(self.scales),
            "zero_points": list(self.zero_points),
        }


def quantized_tensors(graph: Graph) -> tuple[QuantizedTensor, ...]:
    """Return every tensor that passes DequantizeLinear, in graph order; activations read twice are there once."""
    found: dict[str, QuantizedTensor] = {}
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear":
            tensor = _tensor(graph, node)
            if tensor is not None:
                found.setdefault(tensor.name, tensor)
    return tuple(found.values())


def _tensor(graph: Graph, node: Any) -> QuantizedTensor | None:
    scales = graph.constant(node.input[1])
    if scales is None:
        return None
    name, role = _name_and_role(graph, node)
    zeros = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zeros is None:
        zeros = np.zeros(scales.shape, np.uint8)
    stored = graph.constant(node.input[0])
    element = (zeros if stored is None else stored).dtype
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
    return QuantizedTensor(
        name=name,
        role=role,
        element=str(element),
        axis=int(axis) if scales.ndim and scales.size > 1 else None,
        symmetric=bool(np.issubdtype(element, np.signedinteger) and not zeros.any()),
        scales=tuple(float(scale) for scale in np.atleast_1d(scales)),
        zero_points=tuple(int(zero) for zero in np.atleast_1d(zeros)),
    )


def _name_and_role(graph: Graph, node: Any) -> tuple[str, str]:
    for reader in graph.consumers(node.output[0]):
        if reader.op_type in CONVOLUTIONS and graph.constant(node.input[0]) is not None:
            role = _ROLES.get(list(reader.input).index(node.output[0]), "activation")
            return f"{reader.name}/{role}", role
    quantize = graph.producer(node.input[0])
    if quantize is None:
        return str(node.input[0]), "weight"
    return str(quantize.input[0]), "activation"
