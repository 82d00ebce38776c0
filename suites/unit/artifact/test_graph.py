"""The graph index, its arithmetic, and its refusals."""

import numpy as np
import onnx
import pytest
from onnx import helper
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.precision import claimed_precision, convolution_precision, precision_shares
from slimgate.errors import InputError
from slimgate.flow import Precision

FLOAT = onnx.TensorProto.FLOAT


def model_of(nodes, *, inputs, outputs, initializers=(), opset=17, check=True):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if check:
        onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize(
    ("attribute", "value", "element"),
    [
        ("value_float", 0.5, np.float32),
        ("value_floats", [0.5, 2.0], np.float32),
        ("value_int", 3, np.int64),
        ("value_ints", [3, -1], np.int64),
    ],
)
def test_a_constant_need_not_be_a_tensor(attribute, value, element):
    node = helper.make_node("Constant", [], ["k"], "k", **{attribute: value})
    graph = Graph(model_of([node], inputs=[], outputs=[("k", FLOAT, None)], check=False))
    found = graph.constant("k")
    assert found.dtype == element
    assert found.tolist() == value


def conv_model(*, weight_nodes=(), activation="x", weight="w", initializers=(), extra=()):
    nodes = [
        *extra,
        *weight_nodes,
        helper.make_node("Conv", [activation, weight], ["y"], "conv", pads=[1, 1, 1, 1]),
    ]
    return model_of(
        nodes,
        inputs=[("x", FLOAT, ["n", 8, 10, 12])],
        outputs=[("y", FLOAT, ["n", 16, 10, 12])],
        initializers=initializers,
    )


W = np.ones((16, 8, 3, 3), np.float32)
SCALE = ("s", np.array(0.1, np.float32))
ZERO_U8 = ("z", np.array(0, np.uint8))
ACTIVATION_PAIR = (
    helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "q"),
    helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "dq"),
)
WEIGHT_DQ = (helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], "wdq", axis=0),)
WEIGHT_INT8 = (
    ("wq", W.astype(np.int8)),
    ("ws", np.full(16, 0.1, np.float32)),
    ("wz", np.zeros(16, np.int8)),
)


def test_multiply_accumulates_by_hand():
    graph = Graph(conv_model(initializers=[("w", W)]))
    # 16 outputs x 8 inputs x 3 x 3 weights, each used once at 10 x 12 positions
    assert graph.multiply_accumulates(graph.nodes[0]) == 16 * 8 * 9 * 10 * 12


def test_grouped_and_transposed_convolutions_by_hand():
    nodes = [
        helper.make_node("Conv", ["x", "depthwise"], ["a"], "depthwise", group=8, strides=[2, 2]),
        helper.make_node("ConvTranspose", ["a", "up"], ["y"], "up", strides=[2, 2]),
    ]
    model = model_of(
        nodes,
        inputs=[("x", FLOAT, ["n", 8, 10, 12])],
        outputs=[("y", FLOAT, ["n", 4, 10, 12])],
        initializers=[
            ("depthwise", np.ones((8, 1, 2, 2), np.float32)),
            ("up", np.ones((8, 4, 2, 2), np.float32)),
        ],
    )
    graph = Graph(model)
    assert graph.multiply_accumulates(graph.nodes[0]) == 8 * 1 * 4 * 5 * 6
    # Input positions (5 x 6), not output positions, which would count stride squared too many.
    assert graph.multiply_accumulates(graph.nodes[1]) == 8 * 4 * 4 * 5 * 6


def test_multiply_accumulates_agree_with_the_counted_module(artifacts):
    from slimgate.model import count_flops

    graph = Graph(load_onnx(artifacts.fp32.path))
    total = sum(graph.multiply_accumulates(node) for node in graph.convolutions())
    # The box integral is a matrix product in the file and a convolution in the module: 4 x bins per anchor.
    integral = 4 * 4 * (16 * 16 + 8 * 8)
    assert 2 * (total + integral) == count_flops(artifacts.detector)


def test_descendants_include_the_nodes_and_all_that_follows():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "first"),
        helper.make_node("Relu", ["x"], ["b"], "beside"),
        helper.make_node("Relu", ["a"], ["c"], "after"),
        helper.make_node("Add", ["b", "c"], ["y"], "join"),
    ]
    graph = Graph(model_of(nodes, inputs=[("x", FLOAT, [1])], outputs=[("y", FLOAT, [1])]))
    assert [node.name for node in graph.descendants([graph.nodes[0]])] == ["first", "after", "join"]


def test_int8_needs_activation_and_weight():
    both = conv_model(
        activation="xd",
        weight="wd",
        extra=ACTIVATION_PAIR,
        weight_nodes=WEIGHT_DQ,
        initializers=[SCALE, ZERO_U8, *WEIGHT_INT8],
    )
    assert precision_shares(Graph(both)) == {"int8": 1.0}


@pytest.mark.parametrize("side", ["activation", "weight", "neither"])
def test_one_side_alone_is_a_float_convolution(side):
    if side == "activation":
        model = conv_model(activation="xd", extra=ACTIVATION_PAIR, initializers=[SCALE, ZERO_U8, ("w", W)])
    elif side == "weight":
        model = conv_model(weight="wd", weight_nodes=WEIGHT_DQ, initializers=WEIGHT_INT8)
    else:
        model = conv_model(initializers=[("w", W)])
    assert precision_shares(Graph(model)) == {"fp32": 1.0}


def test_sixteen_bit_activations_are_not_int8():
    zero = ("z", np.array(0, np.uint16))
    nodes = [
        *ACTIVATION_PAIR,
        *WEIGHT_DQ,
        helper.make_node("Conv", ["xd", "wd"], ["y"], "conv", pads=[1, 1, 1, 1]),
    ]
    model = model_of(
        nodes,
        inputs=[("x", FLOAT, ["n", 8, 10, 12])],
        outputs=[("y", FLOAT, ["n", 16, 10, 12])],
        initializers=[SCALE, zero, *WEIGHT_INT8],
        opset=21,
    )
    graph = Graph(model)
    assert convolution_precision(graph, graph.convolutions()[0]) == "fp32"


def test_half_precision_is_seen_in_both_inputs():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "cast", to=onnx.TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["y"], "conv"),
    ]
    model = model_of(
        nodes,
        inputs=[("x", FLOAT, ["n", 8, 4, 4])],
        outputs=[("y", onnx.TensorProto.FLOAT16, ["n", 16, 2, 2])],
        initializers=[("w", W.astype(np.float16))],
    )
    assert precision_shares(Graph(model)) == {"fp16": 1.0}


def test_a_graph_without_convolutions_has_no_shares():
    nodes = [helper.make_node("Relu", ["x"], ["y"], "relu")]
    model = model_of(nodes, inputs=[("x", FLOAT, [1])], outputs=[("y", FLOAT, [1])])
    assert precision_shares(Graph(model)) == {}


def test_the_claim_follows_the_larger_share():
    assert claimed_precision({"fp32": 0.1, "int8": 0.9}) is Precision.INT8
    assert claimed_precision({}) is Precision.FP32


def test_an_unknown_feature_map_is_refused_by_name():
    model = conv_model(initializers=[("w", W)])
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_param = "side"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    graph = Graph(model)
    with pytest.raises(InputError) as caught:
        graph.multiply_accumulates(graph.nodes[0])
    assert str(caught.value) == (
        "node 'conv': the size of its feature map 'y' cannot be inferred\n"
        "  expected: a fixed image size; only the batch axis may be dynamic\n"
        "  what to do: export the model again at one image size"
    )


def test_an_unknown_weight_is_refused_by_name():
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "conv")]
    model = model_of(
        nodes,
        inputs=[("x", FLOAT, [1, 8, 4, 4]), ("w", FLOAT, None)],
        outputs=[("y", FLOAT, None)],
        check=False,
    )
    with pytest.raises(InputError, match="the shape of its weight 'w' cannot be inferred"):
        Graph(model).weight_shape(model.graph.node[0])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file or directory"),
        (b"", "the file is empty"),
        (b"this is no model at all", "not a whole ONNX model"),
        (b"\x80\x02}q\x00.", "not a whole ONNX model"),
    ],
)
def test_files_that_are_no_onnx(tmp_path, content, text):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=text) as caught:
        load_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "what to do: " in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_never_read_as_a_whole_one(artifacts, tmp_path, share):
    content = artifacts.fp32.path.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match="not a whole ONNX model"):
        load_onnx(path)
