"""Rewrites that make a traced graph lean and leave its results as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import is_box_integral
from slimgate.errors import InputError, name_offenders


def fold_constants(path: Path) -> None:
    """Fold constants in place: onnxruntime's basic level stays within standard ONNX operators."""
    import onnx
    import onnxruntime

    opset = next(entry.version for entry in load_onnx(path).opset_import if entry.domain in ("", "ai.onnx"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = load_onnx(path)
    # onnxruntime lists every domain it knows; other runtimes refuse domains they do not.
    used = {node.domain for node in model.graph.node}
    if used - {"", "ai.onnx"}:
        raise InputError(
            str(path),
            found=f"operators outside standard ONNX: {name_offenders(sorted(used))}",
            expected="standard ONNX operators only",
            action="report this with the model's architecture",
        )
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", opset))
    path.write_bytes(model.SerializeToString(deterministic=True))


def unshare_initializers(model: Any) -> None:
    """Give every convolution weights and a bias of its own.

    The exporter merges equal tensors (two biases of zeros); per-layer scales need them apart.
    """
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    used: set[str] = set()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name not in initializers or node.op_type not in ("Conv", "ConvTranspose"):
                continue
            if name in used:
                copy = model.graph.initializer.add()
                copy.CopyFrom(initializers[name])
                copy.name = f"{node.name}/input_{index}"
                node.input[index] = copy.name
            used.add(name)


def free_batch_axis(model: Any, *, traced: int) -> None:
    """Replace the traced batch size by a dynamic axis: in the input, and as 0 ("copy") in Reshape targets."""
    import onnx

    graph = Graph(model)
    for name, values in {
        node.input[1]: graph.constant(node.input[1]) for node in graph.nodes if node.op_type == "Reshape"
    }.items():
        if values is None or not len(values) or values[0] != traced:
            continue
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        freed = values.copy()
        freed[0] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(freed, name))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]


def straighten_box_integral(model: Any) -> None:
    """Move DFL's Softmax to the last axis and turn its 1 x 1 convolution into a matrix product.

    onnxruntime transposes around a Softmax on an inner axis: on the CPU that costs a tenth of yolov5n at 320.
    Graphs that do not hold the exporter's exact pattern stay as they are.
    """
    import onnx

    graph = Graph(model)
    for node in graph.convolutions():
        softmax = graph.producer(node.input[0])
        transpose = graph.producer(softmax.input[0]) if softmax is not None else None
        if not is_box_integral(graph, node) or transpose is None or transpose.op_type != "Transpose":
            continue
        weight = graph.constant(node.input[1])
        exact = (
            weight is not None
            and len(node.input) == 2
            and _attribute(transpose, "perm") == [0, 2, 1, 3]
            and _attribute(softmax, "axis") == 1
        )
        if not exact or weight is None:
            continue
        # (n, 4, bins, anchors) becomes (n, 4, anchors, bins): the bins are last for both operators.
        _set_attribute(transpose, "perm", [0, 1, 3, 2])
        _set_attribute(softmax, "axis", -1)
        column = f"{node.name}/column"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.reshape(weight, (-1, 1)), column))
        product = onnx.helper.make_node(
            "MatMul", [node.input[0], column], [node.output[0]], name=f"{node.name}/MatMul"
        )
        node.CopyFrom(product)
    drop_unused_initializers(model)


def drop_unused_initializers(model: Any) -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [copy_proto(tensor) for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def copy_proto(proto: Any) -> Any:
    """Return a copy of a protobuf message.

    Repeated fields own their elements: clearing a field would empty what is to be added again.
    """
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _attribute(node: Any, name: str) -> Any:
    import onnx

    return next(
        (onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), None
    )


def _set_attribute(node: Any, name: str, value: Any) -> None:
    import onnx

    entry = next(entry for entry in node.attribute if entry.name == name)
    entry.CopyFrom(onnx.helper.make_attribute(name, value))
