"""An ONNX graph that can be asked questions: who makes this tensor, who uses it, what type and shape it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import InputError

CONVOLUTIONS = ("Conv", "ConvTranspose", "QLinearConv")
"""The operators whose multiply-accumulates are counted."""

_PLAIN_CONSTANTS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
"""Attributes of a Constant that hold numbers without being a tensor; other exporters write them."""


@dataclass(frozen=True)
class TensorType:
    """Element type (an ONNX ``TensorProto`` number) and shape; unknown dimensions are None."""

    element: int
    shape: tuple[int | None, ...]


class Graph:
    """Read-only index over an ``onnx.ModelProto``.

    Args:
        model: the model; it must not change while the index is used.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        self.initializers: dict[str, Any] = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producer = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self._consumers[name].append(node)

    def producer(self, tensor: str) -> Any | None:
        """Return the node that makes a tensor, or None for inputs and initializers."""
        return self._producer.get(tensor)

    def consumers(self, tensor: str) -> list[Any]:
        """Return the nodes that read a tensor."""
        return self._consumers.get(tensor, [])

    def constant(self, tensor: str) -> npt.NDArray[Any] | None:
        """Return the value of an initializer or Constant, or None when the tensor is computed."""
        import onnx

        if tensor in self.initializers:
            return np.asarray(onnx.numpy_helper.to_array(self.initializers[tensor]))
        node = self.producer(tensor)
        if node is None or node.op_type != "Constant":
            return None
        entry = node.attribute[0]
        if entry.name == "value":
            return np.asarray(onnx.numpy_helper.to_array(entry.t))
        element = _PLAIN_CONSTANTS.get(entry.name)
        return None if element is None else np.asarray(onnx.helper.get_attribute_value(entry), element)

    def convolutions(self) -> list[Any]:
        """Return the convolution nodes in graph order."""
        return [node for node in self.nodes if node.op_type in CONVOLUTIONS]

    def descendants(self, nodes: Iterable[Any]) -> list[Any]:
        """Return the nodes and everything computed from them, in graph order."""
        reached: set[str] = {name for node in nodes for name in node.output}
        found = []
        for node in self.nodes:
            if reached.intersection(node.output) or reached.intersection(node.input):
                found.append(node)
                reached.update(node.output)
        return found

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Type and shape of every tensor that shape inference can name."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True)
        known = {
            value.name: _tensor_type(value.type.tensor_type)
            for value in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
        }
        for tensor in self.model.graph.initializer:
            known[tensor.name] = TensorType(tensor.data_type, tuple(tensor.dims))
        return known

    def weight_shape(self, node: Any) -> tuple[int, ...]:
        """Return the shape of a convolution's weight, looking through Q/DQ and casts.

        Raises:
            InputError: the shape is not in the graph.
        """
        name = node.input[3 if node.op_type == "QLinearConv" else 1]
        found = self.types.get(name)
        if found is None or len(found.shape) < 3 or None in found.shape:
            raise InputError(
                f"node '{node.name}'",
                found=f"the shape of its weight '{name}' cannot be inferred",
                expected="weights of known shape",
                action="export the model again with 'slimgate export'",
            )
        return tuple(int(size or 0) for size in found.shape)

    def multiply_accumulates(self, node: Any) -> int:
        """Return a convolution's multiply-accumulates for one image.

        Conv counts output positions, ConvTranspose input positions (each input element is multiplied with
        the whole kernel once; output positions would over-count by the stride squared).

        Raises:
            InputError: the feature map's size is not in the graph.
        """
        weight = self.weight_shape(node)
        transposed = node.op_type == "ConvTranspose"
        name = node.input[0] if transposed else node.output[0]
        found = self.types.get(name)
        spatial = found.shape[2:] if found else ()
        if not spatial or None in spatial:
            raise InputError(
                f"node '{node.name}'",
                found=f"the size of its feature map '{name}' cannot be inferred",
                expected="a fixed image size; only the batch axis may be dynamic",
                action="export the model again at one image size",
            )
        # (out, in / groups, kh, kw) for Conv, (in, out / groups, kh, kw) for ConvTranspose: the product serves both.
        return int(np.prod(weight)) * int(np.prod([size or 0 for size in spatial]))


def opset_of(model: Any) -> int:
    """Return the version of the ONNX operators that an ``onnx.ModelProto`` imports; 0 where it says none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def load_onnx(path: Path) -> Any:
    """Return the checked ``onnx.ModelProto`` of a file.

    Raises:
        InputError: missing, empty, truncated, or not ONNX.
    """
    import onnx

    content = read_bytes(path, kind="ONNX")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        onnx.checker.check_model(model)
    # protobuf's DecodeError has no public home that is stable over versions, and the checker raises its own.
    except Exception as error:
        raise InputError(
            str(path),
            found=f"not a whole ONNX model ({str(error).splitlines()[0]})",
            expected="an .onnx file as an exporter wrote it",
            action="export or copy the file again; it may be truncated",
        ) from error
    return model


def read_bytes(path: Path, *, kind: str) -> bytes:
    """Return a file's content.

    Raises:
        InputError: the file is missing, a directory, unreadable or empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            str(path),
            found=error.strerror or str(error),
            expected=f"a readable {kind} file",
            action="check the path",
        ) from error
    if not content:
        raise InputError(
            str(path), found="the file is empty", expected=f"a {kind} file", action="export or copy it again"
        )
    return content


def _tensor_type(proto: Any) -> TensorType:
    shape = tuple(
        int(dimension.dim_value) if dimension.HasField("dim_value") else None for dimension in proto.shape.dim
    )
    return TensorType(int(proto.elem_type), shape)
