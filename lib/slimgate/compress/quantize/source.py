"""What may be quantised, and on which images: checked before anything is computed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import InputError

OLDEST_OPSET = 13
"""DequantizeLinear takes one scale per channel from here on."""

_FLOATS = (1, 10, 11)
"""Of ``onnx.TensorProto.DataType``: float32, float16, float64."""


def load_quantizable(path: Path) -> Any:
    """Return the ``onnx.ModelProto`` of a file that can be quantised.

    Raises:
        InputError: it is damaged, its opset is too old, or it is quantised already.
    """
    import onnx

    try:
        model = onnx.load(str(path))
    # protobuf's DecodeError has no public home that is stable over versions.
    except Exception as error:
        raise InputError(
            str(path),
            found=f"not a whole ONNX model ({str(error).splitlines()[0]})",
            expected="an .onnx file as an exporter wrote it",
            action="export or copy the file again",
        ) from error
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise InputError(
            str(path),
            found=f"opset {opset}",
            expected=f"opset {OLDEST_OPSET} or newer, which has one scale per channel",
            action="export the model again with 'slimgate export'",
        )
    check_not_quantized(path, model)
    return model


def check_images(session: Any, images: npt.NDArray[Any]) -> None:
    """Refuse images that a network does not take: another size, another type, another batch.

    Args:
        session: an ``onnxruntime.InferenceSession`` with one input.
        images: what it is to be run on.

    Raises:
        InputError: they differ from its input.
    """
    wanted = session.get_inputs()[0].shape
    fits = len(wanted) == images.ndim and all(
        size == found for size, found in zip(wanted, images.shape, strict=True) if isinstance(size, int)
    )
    if not fits or images.dtype != np.float32:
        shape = ", ".join(str(size) if isinstance(size, int) else "n" for size in wanted)
        raise InputError(
            "calibration images",
            found=f"{tuple(images.shape)} of {images.dtype}",
            expected=f"({shape}) of float32: the size that the network was exported at",
            action="letterbox the images to that size, or export the network at theirs",
        )


def check_not_quantized(path: Path, model: Any) -> None:
    """Refuse an ``onnx.ModelProto`` that has Q/DQ nodes already.

    Args:
        path: where the model was read from, for the message.
        model: the model.

    Raises:
        InputError: it has some; the message counts them.
    """
    quantized = sum("QuantizeLinear" in node.op_type for node in model.graph.node)
    if quantized:
        raise InputError(
            str(path),
            found=f"already quantised: {quantized} Q/DQ nodes",
            expected="an FP32 file",
            action="start from the FP32 export",
        )


def fingerprint_source(model: Any) -> str:
    """Return the sha256 of everything in an ``onnx.ModelProto`` that its activations are computed with.

    That is every float constant (and float attribute) by the operator that reads it, in the graph's order. Names,
    batch size, metadata and the exporter's version do not count: the same weights exported again are the same source.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    digest = hashlib.sha256()
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        for entry in sorted(node.attribute, key=lambda entry: str(entry.name)):
            if entry.type == onnx.AttributeProto.FLOAT:
                digest.update(f"{node.op_type} {entry.name} {entry.f!r}\n".encode())
        for index, name in enumerate(node.input):
            tensor = constants.get(name)
            if tensor is not None and tensor.data_type in _FLOATS:
                value = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))
                digest.update(f"{node.op_type} {index} {value.dtype} {value.shape}\n".encode())
                digest.update(value.tobytes())
    return digest.hexdigest()
