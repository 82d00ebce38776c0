"""Q/DQ files: where the pairs are, with which numbers, and what the runtimes make of them."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import helper
from slimgate.artifact import artifact_from_file, export_onnx, float_head_nodes, write_qdq
from slimgate.artifact.fused import fused_share
from slimgate.artifact.graph import Graph
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.precision import convolution_precision
from slimgate.artifact.qdq import _Writer
from slimgate.compress.quantize import QuantizationPlan
from slimgate.compress.quantize.source import fingerprint_source
from slimgate.errors import InputError, UsageError
from slimgate.flow import Precision

FLOAT = onnx.TensorProto.FLOAT


def _graph(path):
    return Graph(onnx.load(path))


def _plan(**ranges):
    return QuantizationPlan(
        ranges=ranges,
        float_nodes={},
        source_sha256="s",
        calibration_sha256="c",
        calibration_count=1,
        observer="minmax",
    )


def _written(nodes, plan, target, *, initializers, shapes=((1, 8, 4, 4), (1, 8, 4, 4))):
    """Return the graph after writing a plan into ``images -> nodes -> predictions``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", FLOAT, shapes[0])],
        [helper.make_tensor_value_info("predictions", FLOAT, shapes[1])],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    chosen = dataclasses.replace(TARGETS[target], stem=True)
    _Writer(model, plan, place_pairs(Graph(model), {}, chosen), chosen).write()
    onnx.checker.check_model(model)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    return Graph(model)


CONV = helper.make_node("Conv", ["images", "w", "b"], ["predictions"], "conv")
# Largest magnitude per output channel c is c + 1.
WEIGHT = np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1) * np.ones((1, 8, 1, 1), np.float32)
BIAS = np.full(8, 0.5, np.float32)
RANGES = {"images": (0.0, 1.0), "predictions": (-1.0, 3.0)}


def test_numbers_of_the_x86_target_by_hand():
    graph = _written([CONV], _plan(**RANGES), "x86", initializers={"w": WEIGHT, "b": BIAS})
    conv = graph.convolutions()[0]
    quantize = graph.producer(graph.producer(conv.input[0]).input[0])
    assert quantize.op_type == "QuantizeLinear"
    assert graph.constant(quantize.input[1]) == pytest.approx(1 / 255)
    assert graph.constant(quantize.input[2]) == np.uint8(0)
    weight = graph.producer(conv.input[1])
    np.testing.assert_array_equal(graph.constant(weight.input[0]), np.full((8, 8, 1, 1), 127, np.int8))
    np.testing.assert_allclose(graph.constant(weight.input[1]), np.arange(1, 9) / 127, rtol=1e-6)
    bias = graph.producer(conv.input[2])
    scales = np.arange(1, 9) / 127 / 255
    assert graph.constant(bias.input[0]).dtype == np.int32
    # Channel 2 lies on a tie in exact arithmetic: 5397.5.
    np.testing.assert_allclose(graph.constant(bias.input[0]), 0.5 / scales, atol=0.51)
    np.testing.assert_allclose(graph.constant(bias.input[1]), scales, rtol=1e-6)
    # -1..3 in 255 steps: zero lies 63.75 steps above the lowest value.
    output = graph.producer("predictions/quantized")
    assert graph.constant(output.input[2]) == np.uint8(64)


def test_numbers_of_the_tensorrt_target_by_hand():
    plan = _plan(images=(-2.0, 1.0), predictions=(-1.0, 3.0))
    graph = _written([CONV], plan, "tensorrt", initializers={"w": WEIGHT, "b": BIAS})
    conv = graph.convolutions()[0]
    quantize = graph.producer(graph.producer(conv.input[0]).input[0])
    assert graph.constant(quantize.input[1]) == pytest.approx(2 / 127)
    assert graph.constant(quantize.input[2]) == np.int8(0)
    assert graph.constant(quantize.input[2]).dtype == np.int8
    np.testing.assert_array_equal(graph.constant(conv.input[2]), BIAS)
    # Nothing behind the convolution is quantised.
    assert len([node for node in graph.nodes if node.op_type == "QuantizeLinear"]) == 1


def test_transposed_convolutions_have_their_scales_on_axis_1():
    weight = np.ones((8, 3, 2, 2), np.float32) * np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1)
    node = helper.make_node("ConvTranspose", ["images", "w"], ["predictions"], "up", strides=[2, 2])
    shapes = ((1, 8, 4, 4), (1, 3, 8, 8))
    graph = _written([node], _plan(**RANGES), "tensorrt", initializers={"w": weight}, shapes=shapes)
    dequantize = graph.producer(graph.convolutions()[0].input[1])
    assert next(entry.i for entry in dequantize.attribute if entry.name == "axis") == 1
    np.testing.assert_allclose(graph.constant(dequantize.input[1]), np.array([1, 2, 3]) / 127, rtol=1e-6)


def test_moved_values_share_the_scale_of_what_they_were():
    nodes = [
        helper.make_node("MaxPool", ["images"], ["pooled"], "pool", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["pooled", "w", "b"], ["predictions"], "conv"),
    ]
    plan = _plan(images=(0.0, 1.0), pooled=(0.1, 0.7), predictions=(-1.0, 3.0))
    graph = _written(nodes, plan, "x86", initializers={"w": WEIGHT, "b": BIAS})
    before, after = (graph.producer(f"{name}/quantized") for name in ("images", "pooled"))
    assert graph.constant(before.input[1]) == graph.constant(after.input[1])


def test_a_relu_folds_into_the_range_behind_it():
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["raw"], "conv"),
        helper.make_node("Relu", ["raw"], ["predictions"], "relu"),
    ]
    plan = _plan(images=(0.0, 1.0), raw=(-3.0, 3.0), predictions=(0.0, 3.0))
    graph = _written(nodes, plan, "x86", initializers={"w": WEIGHT, "b": BIAS})
    assert graph.producer("raw/quantized") is None
    assert graph.constant(graph.producer("predictions/quantized").input[2]) == np.uint8(0)


def test_a_silu_is_not_given_range_that_rounds_to_zero():
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["raw"], "conv"),
        helper.make_node("Sigmoid", ["raw"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["raw", "gate"], ["active"], "mul"),
        helper.make_node("Conv", ["active", "w2"], ["predictions"], "next"),
    ]
    ranges = {"images": (0.0, 1.0), "raw": (-100.0, 9.0), "gate": (0.0, 1.0), "active": (-0.278, 9.0)}
    plan = _plan(**ranges, predictions=(-1.0, 1.0))
    graph = _written(nodes, plan, "x86", initializers={"w": WEIGHT, "b": BIAS, "w2": WEIGHT})
    quantize = graph.producer("raw/quantized")
    scale, zero = (float(graph.constant(name)) for name in quantize.input[1:])
    assert -scale * zero == pytest.approx(-6.23, abs=scale)
    assert scale * (255 - zero) == pytest.approx(9.0, abs=scale)


def test_a_pre_activation_that_something_else_reads_keeps_its_range():
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["raw"], "conv"),
        helper.make_node("Sigmoid", ["raw"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["raw", "gate"], ["active"], "mul"),
        helper.make_node("Add", ["raw", "active"], ["both"], "add"),
        helper.make_node("Conv", ["both", "w2"], ["predictions"], "next"),
    ]
    ranges = {"images": (0.0, 1.0), "raw": (-100.0, 9.0), "gate": (0.0, 1.0), "active": (-0.278, 9.0)}
    plan = _plan(**ranges, both=(-100.0, 18.0), predictions=(-1.0, 1.0))
    graph = _written(nodes, plan, "x86", initializers={"w": WEIGHT, "b": BIAS, "w2": WEIGHT})
    scale, zero = (float(graph.constant(name)) for name in graph.producer("raw/quantized").input[1:])
    assert -scale * zero == pytest.approx(-100.0, abs=scale)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_int8_files_are_int8_outside_head_and_stem(artifacts, legacy_artifacts, target):
    for made in (artifacts, legacy_artifacts):
        artifact = made.int8(target)
        assert artifact.precision is Precision.INT8
        assert artifact.target == target
        graph = _graph(artifact.path)
        found = {node.name: convolution_precision(graph, node) for node in graph.convolutions()}
        head = {name for name in float_head_nodes(made.fp32) if name in found}
        stem = {node.name for node in graph.convolutions()[:1]} if target == "x86" else set()
        assert {name for name, precision in found.items() if precision == "fp32"} == head | stem
        assert {precision for name, precision in found.items() if name not in head | stem} == {"int8"}
        work = {node.name: graph.multiply_accumulates(node) for node in graph.convolutions()}
        expected = sum(work[name] for name in work if name not in head | stem) / sum(work.values())
        assert artifact.shares == pytest.approx({"int8": expected, "fp32": 1 - expected})


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_head_is_untouched(artifacts, legacy_artifacts, target):
    for made in (artifacts, legacy_artifacts):
        before = {node.name: node for node in _graph(made.fp32.path).nodes}
        graph = _graph(made.int8(target).path)
        after = {node.name: node for node in graph.nodes}
        for name in float_head_nodes(made.fp32):
            assert after[name].op_type == before[name].op_type
            for source in after[name].input[1:]:
                value = graph.constant(source)
                assert value is None or value.dtype in (np.float32, np.int64), (name, source)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_pair_is_quantize_then_dequantize_of_the_same_numbers(artifacts, target):
    graph = _graph(artifacts.int8(target).path)
    activations = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert activations
    for node in activations:
        readers = graph.consumers(node.output[0])
        assert [reader.op_type for reader in readers] == ["DequantizeLinear"]
        assert list(readers[0].input[1:]) == list(node.input[1:])
        assert graph.constant(node.input[2]).dtype == TARGETS[target].element


def test_onnxruntime_runs_the_x86_file_in_its_8_bit_kernels_and_no_other(artifacts):
    assert artifacts.int8("x86").facts["ort_int8_conv_share"] == artifacts.int8("x86").shares["int8"]
    # The other targets' graphs allow INT8 as well; without a Q behind each convolution nothing is fused.
    assert fused_share(onnx.load(artifacts.int8("tensorrt").path)) == 0.0


def test_lineage_says_how_it_was_calibrated(artifacts):
    step = artifacts.int8("x86").lineage[-1]
    assert step.operation == "quantize"
    assert step.settings == {"target": "x86", "observer": "minmax"}
    assert step.notes["calibration_sha256"] == "c" * 64
    assert step.notes["calibration_count"] == 8
    assert step.notes["float_nodes"] == len(float_head_nodes(artifacts.fp32))


def test_int8_weights_are_within_half_a_step_of_the_float_ones(artifacts):
    before = _graph(artifacts.fp32.path)
    after = _graph(artifacts.int8("tensorrt").path)
    originals = {node.name: before.constant(node.input[1]) for node in before.convolutions()}
    for node in after.convolutions():
        dequantize = after.producer(node.input[1])
        if dequantize is None:
            continue
        values, scales = (after.constant(name) for name in dequantize.input[:2])
        restored = values * scales.reshape(-1, 1, 1, 1)
        assert (np.abs(restored - originals[node.name]) <= scales.reshape(-1, 1, 1, 1) * 0.501).all()


def test_unknown_target(artifacts, tmp_path):
    with pytest.raises(UsageError, match="target 'x68': unknown target; did you mean 'x86'") as caught:
        write_qdq(artifacts.fp32, artifacts.plan, tmp_path / "m.onnx", target="x68")
    assert "one of openvino, tensorrt, x86" in str(caught.value)


def test_a_quantised_source(artifacts, tmp_path):
    with pytest.raises(InputError, match=r"already quantised: \d+ Q/DQ nodes\n  expected: an FP32 file"):
        write_qdq(artifacts.int8("x86"), artifacts.plan, tmp_path / "m.onnx", target="x86")


def test_the_plan_of_another_file(artifacts, legacy_artifacts, tmp_path):
    with pytest.raises(InputError, match="the plan's float nodes are not in it: ") as caught:
        write_qdq(artifacts.fp32, legacy_artifacts.plan, tmp_path / "m.onnx", target="x86")
    assert "what to do: calibrate this file" in str(caught.value)


def test_a_plan_without_a_tensor(artifacts, tmp_path):
    plan = dataclasses.replace(artifacts.plan, ranges={})
    with pytest.raises(InputError, match="quantization plan: no range for tensor '") as caught:
        write_qdq(artifacts.fp32, plan, tmp_path / "m.onnx", target="x86")
    assert "what to do: calibrate this file" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _changed(source, path, change):
    """Return a source with something changed in its graph; every name stays."""
    model = onnx.load(source.path)
    change(model)
    onnx.save(model, path)
    return artifact_from_file(path)


def _retrain(model):
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    value = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(value, weight.name))


def test_the_plan_of_other_weights_with_the_same_names(artifacts, tmp_path):
    retrained = _changed(artifacts.fp32, tmp_path / "retrained.onnx", _retrain)
    with pytest.raises(
        InputError, match=r"retrained\.onnx: other weights \(sha256 \w{12}\) than the plan was"
    ) as caught:
        write_qdq(retrained, artifacts.plan, tmp_path / "m.onnx", target="x86")
    assert "what to do: calibrate this file: ranges of other weights do not fit it" in str(caught.value)
    assert not (tmp_path / "m.onnx").exists()


def test_the_same_weights_exported_again_take_the_plan(artifacts, tmp_path):
    again = export_onnx(dataclasses.replace(artifacts.detector, name="again"), tmp_path / "a.onnx", batch=1)
    assert again.sha256 != artifacts.fp32.sha256
    write_qdq(again, artifacts.plan, tmp_path / "m.onnx", target="x86")


def test_another_slope_of_an_activation_is_another_source(tmp_path):
    def leaky(slope):
        node = helper.make_node("LeakyRelu", ["images"], ["predictions"], "act", alpha=slope)
        values = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("images", "predictions")]
        return helper.make_model(helper.make_graph([node], "graph", values[:1], values[1:]))

    assert fingerprint_source(leaky(0.1)) == fingerprint_source(leaky(0.1))
    assert fingerprint_source(leaky(0.1)) != fingerprint_source(leaky(0.2))
