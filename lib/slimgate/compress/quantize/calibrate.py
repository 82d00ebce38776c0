"""From an FP32 ONNX file and calibration images to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.compress.quantize.observe import OBSERVERS, Observer
from slimgate.compress.quantize.plan import QuantizationPlan
from slimgate.compress.quantize.source import check_images, fingerprint_source, load_quantizable
from slimgate.errors import InputError, name_offenders, unknown_name

FloatArray = npt.NDArray[np.float32]

_HEAD_REASON = "head: box coordinates and scores share no scale"


def plan_quantization(
    onnx_path: Path,
    inputs: Iterable[FloatArray],
    *,
    float_nodes: Sequence[str],
    calibration_sha256: str,
    observer: str = "minmax",
) -> QuantizationPlan:
    """Return the plan for quantising a detector to 8 bits.

    Memory stays constant over the number of images: each is run, observed and forgotten.

    Args:
        onnx_path: the FP32 file.
        inputs: calibration images ``(1, 3, s, s)`` float32 in 0..1, one after the other.
        float_nodes: ONNX names of the nodes that stay in float (``slimgate.artifact.float_head_nodes``).
        calibration_sha256: of the calibration list, for the record.
        observer: how ranges are taken, a key of ``OBSERVERS``.

    Raises:
        UsageError: unknown observer.
        InputError: the file cannot be used, or there are no calibration images.
    """
    if observer not in OBSERVERS:
        raise unknown_name("observer", observer, OBSERVERS)
    model = load_quantizable(onnx_path)
    missing = sorted(set(float_nodes) - {node.name for node in model.graph.node})
    if missing:
        raise InputError(
            str(onnx_path),
            found=f"no nodes named {name_offenders(missing)}",
            expected="the float nodes of this very file",
            action="find them again with slimgate.artifact.float_head_nodes",
        )
    tensors = _quantizable_tensors(model, set(float_nodes))
    observers: dict[str, Observer] = {name: OBSERVERS[observer]() for name in tensors}
    count = 0
    for values in _activations(model, tensors, inputs, reduce=observer == "minmax"):
        count += 1
        for name, value in values.items():
            observers[name].observe(value)
    if not count:
        raise _no_images(onnx_path)
    ranges = {name: watching.range() for name, watching in observers.items()}
    broken = [name for name, ends in ranges.items() if not np.isfinite(ends).all()]
    if broken:
        raise _not_finite(broken)
    return QuantizationPlan(
        ranges=ranges,
        float_nodes=dict.fromkeys(float_nodes, _HEAD_REASON),
        source_sha256=fingerprint_source(model),
        calibration_sha256=calibration_sha256,
        calibration_count=count,
        observer=observer,
        magnitudes={}
        if observer == "minmax"
        else {name: seen.magnitude() for name, seen in observers.items()},
    )


def observe_maxima(onnx_path: Path, inputs: Iterable[FloatArray]) -> dict[str, float]:
    """Return the largest absolute value of every float tensor of a detector over images.

    Args:
        onnx_path: the FP32 file.
        inputs: calibration images ``(1, 3, s, s)`` float32 in 0..1, one after the other.

    Raises:
        InputError: the file cannot be used, there are no images, or a value is NaN or infinite.
    """
    model = load_quantizable(onnx_path)
    tensors = _quantizable_tensors(model, set())
    largest = dict.fromkeys(tensors, -np.inf)
    for values in _activations(model, tensors, inputs, reduce=True):
        for name, ends in values.items():
            # numpy's maximum keeps a NaN where Python's max may drop it.
            largest[name] = float(np.maximum(largest[name], np.abs(ends).max()))
    if not np.isfinite(list(largest.values())).all():
        seen = any(value > -np.inf for value in largest.values())
        if not seen:
            raise _no_images(onnx_path)
        raise _not_finite([name for name, value in largest.items() if not np.isfinite(value)])
    return largest


def _no_images(path: Path) -> InputError:
    return InputError(
        f"calibration of {path}",
        found="no images",
        expected="at least one, better 500 training images",
        action="name a dataset with --calib",
    )


def _quantizable_tensors(model: Any, float_nodes: set[str]) -> list[str]:
    """Return the float32 tensors that nodes outside the float part read or write."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    floats = {
        value.name
        for value in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    initializers = {tensor.name for tensor in model.graph.initializer}
    touched = {
        name
        for node in model.graph.node
        if node.name not in float_nodes and node.op_type != "Constant"
        for name in [*node.input, *node.output]
    }
    return sorted((touched & floats) - initializers)


def _activations(
    model: Any, tensors: Sequence[str], inputs: Iterable[FloatArray], *, reduce: bool
) -> Iterator[dict[str, FloatArray]]:
    """Yield the values of the tensors for each image; only ``[minimum, maximum]`` when ``reduce``."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    predictions = watched.graph.output.pop()
    for tensor in tensors:
        names = [tensor]
        if reduce:
            names = [f"{tensor}/{kind}" for kind in ("ReduceMin", "ReduceMax")]
            for kind, name in zip(("ReduceMin", "ReduceMax"), names, strict=True):
                watched.graph.node.append(onnx.helper.make_node(kind, [tensor], [name], keepdims=0))
        for name in names:
            watched.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [] if reduce else None)
            )
    watched.graph.output.append(predictions)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    input_name = session.get_inputs()[0].name
    for image in inputs:
        check_images(session, image)
        values = session.run(None, {input_name: image})
        if not np.isfinite(values[-1]).all():
            # Minimum and maximum may pass over a NaN; the prediction that it reaches does not.
            raise _not_finite(["the predictions"])
        yield {
            tensor: np.stack(values[2 * index : 2 * index + 2]) if reduce else values[index]
            for index, tensor in enumerate(tensors)
        }


def _not_finite(tensors: Sequence[str]) -> InputError:
    return InputError(
        "calibration",
        found=f"NaN or infinite values in {name_offenders(tensors)}",
        expected="finite activations on every calibration image",
        action="check the weights and the calibration images",
    )
