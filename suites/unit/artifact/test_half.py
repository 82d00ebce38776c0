"""FP16 files: what is half, what is not, and why."""

import numpy as np
import onnx
import pytest
from slimgate.artifact import convert_fp16
from slimgate.artifact.graph import Graph
from slimgate.artifact.head import last_convolutions
from slimgate.compress.quantize import observe_maxima
from slimgate.errors import InputError
from slimgate.flow import Precision

from fixtures.artifacts import random_images

HALF = onnx.TensorProto.FLOAT16
FLOAT = onnx.TensorProto.FLOAT


def test_every_convolution_is_half_and_the_file_half_as_big(artifacts, legacy_artifacts):
    for made in (artifacts, legacy_artifacts):
        assert made.fp16.shares == {"fp16": 1.0}
        assert made.fp16.precision is Precision.FP16
        assert made.fp16.lineage[-1].operation == "fp16"
        weights = sum(
            np.prod(tensor.dims) * {HALF: 2, FLOAT: 4}.get(tensor.data_type, 0)
            for tensor in onnx.load(made.fp16.path).graph.initializer
        )
        before = sum(
            np.prod(tensor.dims) * 4
            for tensor in onnx.load(made.fp32.path).graph.initializer
            if tensor.data_type == FLOAT
        )
        assert weights < 0.65 * before


def test_inputs_and_outputs_stay_float32(artifacts):
    graph = onnx.load(artifacts.fp16.path).graph
    assert graph.input[0].type.tensor_type.elem_type == FLOAT
    assert graph.output[0].type.tensor_type.elem_type == FLOAT


def test_the_graph_is_strongly_typed(artifacts):
    """Strict inference fails where an operator mixes types: what TensorRT would refuse."""
    onnx.shape_inference.infer_shapes(onnx.load(artifacts.fp16.path), strict_mode=True, check_type=True)


def test_box_decode_computes_in_float32(artifacts):
    graph = Graph(onnx.load(artifacts.fp16.path))
    for node in graph.descendants(last_convolutions(graph)):
        if node.op_type in ("Softmax", "MatMul", "Sigmoid", "Mul", "Sub", "Div"):
            assert graph.types[node.output[0]].element == FLOAT, node.name


def test_the_scales_of_resize_stay_float32(artifacts):
    graph = Graph(onnx.load(artifacts.fp16.path))
    resize = next(node for node in graph.nodes if node.op_type == "Resize")
    assert graph.types[resize.input[0]].element == HALF
    assert graph.types[resize.input[2]].element == FLOAT


def test_there_is_one_cast_per_tensor_and_direction(artifacts):
    graph = Graph(onnx.load(artifacts.fp16.path))
    casts = [(node.input[0], node.attribute[0].i) for node in graph.nodes if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))
    # One where the image comes in, one per output convolution of the head.
    assert len(casts) == 1 + len(last_convolutions(graph))


def test_a_node_that_would_overflow_stays_in_float32(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = 1e5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path = tmp_path / "large.onnx"
    onnx.save(model, path)
    from slimgate.artifact import artifact_from_file

    converted = convert_fp16(artifact_from_file(path), tmp_path / "fp16.onnx")
    assert converted.lineage[-1].notes["float32_for_range"] == [node.name]
    assert 0 < converted.shares["fp32"] < 0.2
    tensors = {tensor.name: tensor for tensor in onnx.load(converted.path).graph.initializer}
    halves = [onnx.numpy_helper.to_array(tensor) for tensor in tensors.values() if tensor.data_type == HALF]
    assert all(np.isfinite(value).all() for value in halves)


def test_a_node_that_came_near_the_largest_half_stays_in_float32(artifacts, tmp_path):
    graph = Graph(onnx.load(artifacts.fp32.path))
    first, second = graph.convolutions()[:2]
    maxima = {second.output[0]: 40_000.0, first.output[0]: 30_000.0}
    converted = convert_fp16(artifacts.fp32, tmp_path / "m.onnx", maxima=maxima)
    step = converted.lineage[-1]
    readers = [node.name for node in graph.consumers(second.output[0])]
    assert set(step.notes["float32_for_range"]) == {second.name, *readers}
    assert step.notes.keys() == {"float32_for_range"}
    assert converted.facts["largest_activation"] == 40_000.0
    types = Graph(onnx.load(converted.path)).types
    assert types[second.output[0]].element == FLOAT
    assert types[first.output[0]].element == HALF
    assert converted.facts["input_type"] == converted.facts["output_type"] == "float32"


def test_maxima_of_a_plain_network_change_nothing(artifacts, tmp_path):
    maxima = observe_maxima(artifacts.fp32.path, (images[None] for images in random_images(2, seed=1)))
    graph = Graph(onnx.load(artifacts.fp32.path))
    assert {node.output[0] for node in graph.convolutions()} <= set(maxima)
    converted = convert_fp16(artifacts.fp32, tmp_path / "m.onnx", maxima=maxima)
    assert converted.lineage[-1].notes["float32_for_range"] == []
    assert converted.path.read_bytes() == artifacts.fp16.path.read_bytes(), "nothing overflows: the same file"
    assert 0 < converted.facts["largest_activation"] < 65504
    assert "largest_activation" not in artifacts.fp16.facts
    assert converted.shares == {"fp16": 1.0}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_only_fp32_files_are_converted(artifacts, tmp_path, precision):
    source = artifacts.of(precision, "x86")
    with pytest.raises(InputError, match=f"already in {precision}\n  expected: an FP32 file"):
        convert_fp16(source, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
