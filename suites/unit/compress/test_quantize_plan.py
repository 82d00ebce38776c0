"""From calibration images to a plan."""

import json

import numpy as np
import onnx
import pytest
from slimgate.artifact import float_head_nodes
from slimgate.compress.quantize import QuantizationPlan, observe_maxima, plan_quantization
from slimgate.errors import InputError, UsageError

from fixtures.artifacts import random_images


def _plan(path, images, **changes):
    return plan_quantization(path, images, **({"float_nodes": (), "calibration_sha256": "c"} | changes))


def _model(path, nodes, *, opset=17, initializers=()):
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [tensor("images", onnx.TensorProto.FLOAT, [1, 1, 2, 2])],
        [tensor("predictions", onnx.TensorProto.FLOAT, [1, 1, 2, 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8), path
    )
    return path


@pytest.fixture
def doubled(tmp_path):
    """Return a graph: images -> Mul 2 -> middle -> Relu -> predictions."""
    nodes = [
        onnx.helper.make_node("Mul", ["images", "two"], ["middle"], "double"),
        onnx.helper.make_node("Relu", ["middle"], ["predictions"], "relu"),
    ]
    return _model(tmp_path / "m.onnx", nodes, initializers=[("two", np.array(2.0, np.float32))])


_IMAGES = [
    np.array([[-3.0, 0.0], [1.0, 2.0]], np.float32).reshape(1, 1, 2, 2),
    np.array([[0.0, 0.5], [4.0, -1.0]], np.float32).reshape(1, 1, 2, 2),
]


def test_ranges_by_hand(doubled):
    plan = _plan(doubled, iter(_IMAGES))
    assert plan.ranges == {"images": (-3.0, 4.0), "middle": (-6.0, 8.0), "predictions": (0.0, 8.0)}
    assert (plan.calibration_count, plan.observer, plan.calibration_sha256) == (2, "minmax", "c")


def test_tensors_that_only_float_nodes_touch_are_not_in_the_plan(doubled):
    plan = _plan(doubled, iter(_IMAGES), float_nodes=("relu",))
    assert set(plan.ranges) == {"images", "middle"}
    assert plan.float_nodes == {"relu": "head: box coordinates and scores share no scale"}


def test_percentile_of_few_values_is_their_range(doubled):
    plan = _plan(doubled, iter(_IMAGES), observer="percentile")
    assert plan.ranges["middle"] == pytest.approx((-6.0, 8.0), abs=0.01)


def test_a_plan_survives_json(artifacts):
    plan = artifacts.plan
    assert QuantizationPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_plan_of_a_detector_covers_every_convolution_outside_its_head(artifacts):
    head = set(float_head_nodes(artifacts.fp32))
    for node in onnx.load(artifacts.fp32.path).graph.node:
        if node.op_type == "Conv" and node.name not in head:
            low, high = artifacts.plan.ranges[node.input[0]]
            assert low < high, node.name


def test_observed_ranges_equal_those_of_a_plain_run(artifacts):
    import onnxruntime

    model = onnx.load(artifacts.fp32.path)
    name = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run([name], {"images": random_images(8, seed=1)})[0]
    assert artifacts.plan.ranges[name] == pytest.approx((values.min(), values.max()), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("KeyError: 'format'", {}),
        ("format 'other'", {"format": "other"}),
        ("KeyError: 'ranges'", {"format": "slimgate-quantization-plan/2"}),
        ("format 'slimgate-quantization-plan/9'", {"format": "slimgate-quantization-plan/9"}),
    ],
)
def test_something_else_than_a_plan_is_refused(text, value):
    with pytest.raises(InputError, match="quantization plan: not readable") as caught:
        QuantizationPlan.from_json(value)
    assert text in str(caught.value)
    assert "what to do: calibrate again" in str(caught.value)


def test_a_plan_of_before_plans_named_their_weights_is_refused(artifacts):
    value = artifacts.plan.to_json() | {"format": "slimgate-quantization-plan/1"}
    with pytest.raises(InputError) as caught:
        QuantizationPlan.from_json(value)
    assert str(caught.value) == (
        "quantization plan: format 'slimgate-quantization-plan/1', which does not say what weights it was made from\n"
        "  expected: format 'slimgate-quantization-plan/2'\n"
        "  what to do: calibrate again: whether its ranges belong to the file cannot be told"
    )


def test_no_images(doubled):
    with pytest.raises(InputError, match=r"calibration of .*m\.onnx: no images\n  expected: at least one"):
        _plan(doubled, iter(()))


def test_unknown_observer(doubled):
    with pytest.raises(
        UsageError, match="observer 'entropi': unknown observer; did you mean 'entropy'"
    ) as caught:
        _plan(doubled, iter(_IMAGES), observer="entropi")
    assert "one of entropy, minmax, mse, percentile" in str(caught.value)


def test_float_nodes_of_another_file(doubled):
    with pytest.raises(
        InputError, match=r"no nodes named ghost\n  expected: the float nodes of this very file"
    ):
        _plan(doubled, iter(_IMAGES), float_nodes=("ghost", "relu"))


def test_nan_is_not_passed_over(doubled):
    broken = _IMAGES[0].copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="calibration: NaN or infinite values in"):
        _plan(doubled, iter([_IMAGES[1], broken, _IMAGES[1]]))


def test_maxima_by_hand(doubled):
    assert observe_maxima(doubled, iter(_IMAGES)) == {"images": 4.0, "middle": 8.0, "predictions": 8.0}


def test_maxima_without_images_or_with_infinite_values(tmp_path):
    nodes = [
        onnx.helper.make_node("Div", ["images", "zero"], ["middle"], "divide"),
        onnx.helper.make_node("Less", ["middle", "zero"], ["small"], "compare"),
        onnx.helper.make_node("Cast", ["small"], ["predictions"], "cast", to=onnx.TensorProto.FLOAT),
    ]
    path = _model(tmp_path / "m.onnx", nodes, initializers=[("zero", np.array(0.0, np.float32))])
    with pytest.raises(InputError, match="NaN or infinite values in middle"):
        observe_maxima(path, [np.ones((1, 1, 2, 2), np.float32)])
    with pytest.raises(InputError, match="no images"):
        observe_maxima(path, iter(()))


def test_images_of_another_size(doubled):
    with pytest.raises(InputError, match=r"calibration images: \(1, 1, 4, 4\) of float32") as caught:
        _plan(doubled, [np.ones((1, 1, 4, 4), np.float32)])
    assert "expected: (1, 1, 2, 2) of float32" in str(caught.value)


def test_a_file_that_is_quantised_already(artifacts):
    with pytest.raises(InputError, match=r"already quantised: \d+ Q/DQ nodes\n  expected: an FP32 file"):
        _plan(artifacts.int8("x86").path, iter(()))


def test_an_opset_without_channel_scales(tmp_path):
    nodes = [onnx.helper.make_node("Relu", ["images"], ["predictions"], "relu")]
    path = _model(tmp_path / "old.onnx", nodes, opset=12)
    with pytest.raises(InputError, match=r"opset 12\n  expected: opset 13 or newer"):
        _plan(path, iter(_IMAGES))


def test_a_truncated_file(artifacts, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(artifacts.fp32.path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.onnx: not a whole ONNX model"):
        _plan(path, iter(()))
