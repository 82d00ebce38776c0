"""Weights as a file stores them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.artifact.graph import Graph
from slimgate.errors import InputError


def stored_weight(graph: Graph, node: Any) -> npt.NDArray[Any]:
    """Return a convolution's weight as the file stores it: floats, halves, or integers less their zero point.

    A value is 0 exactly where the weight is 0: the steps of a scale are left out, zero points are not.

    Raises:
        InputError: the weight is computed, not stored.
    """
    name = node.input[3 if node.op_type == "QLinearConv" else 1]
    zero_point = node.input[5] if node.op_type == "QLinearConv" else ""
    axis = 0
    while (values := graph.constant(name)) is None:
        producer = graph.producer(name)
        if producer is None or producer.op_type not in ("DequantizeLinear", "QuantizeLinear", "Cast"):
            raise InputError(
                f"node '{node.name}'",
                found=f"its weight '{name}' is computed, not stored",
                expected="constant weights",
                action="export the model again with 'slimgate export'",
            )
        if producer.op_type == "DequantizeLinear":
            zero_point = producer.input[2] if len(producer.input) > 2 else ""
            axis = next((entry.i for entry in producer.attribute if entry.name == "axis"), 1)
        elif producer.op_type == "QuantizeLinear":
            # What follows is the float weight itself.
            zero_point = ""
        name = producer.input[0]
    zeros = graph.constant(zero_point) if zero_point else None
    if zeros is None or not np.any(zeros):
        return values
    shape = [1] * values.ndim
    if zeros.ndim:
        shape[axis] = -1
    return values.astype(np.int32) - zeros.astype(np.int32).reshape(shape)
