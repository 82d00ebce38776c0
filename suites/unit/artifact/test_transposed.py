"""A detector whose upsampling is a transposed convolution, in every file that is made of it."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from slimgate.artifact import build_engine, inspect_file, write_qdq
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.trt import why_not_installed
from slimgate.compress import apply_operations, parse_operation
from slimgate.flow import Family
from slimgate.model import count_macs

from fixtures.artifacts import ArtifactSet, lively, random_images
from fixtures.detectors import build_detector

RTX = "tensorrt-rtx"
ROUNDING = {"fp32": 1e-5, "fp16": 0.01, "int8": 0.4}
"""Largest mean error of the scores, as a share of their spread; INT8 alone costs these nets of 8 channels .33."""

ALONE = 0.05
"""The same when nothing but the transposed convolution is INT8. Its channels swapped cost .2 or more."""


def _error(found, expected):
    """Return the mean error of the scores, as a share of their mean absolute deviation."""
    scores = expected[:, 4:]
    return np.abs(found[:, 4:] - scores).mean() / np.abs(scores - scores.mean()).mean()


def _predict(artifacts, images):
    with torch.no_grad():
        return artifacts.detector.module(torch.from_numpy(images)).numpy()


@pytest.fixture(
    scope="module", params=[(f, k) for f in Family for k in (2, 4)], ids=lambda p: f"{p[0]}-{p[1]}"
)
def made(request, tmp_path_factory):
    """Return the files of a detector, and the kernel of its transposed convolution."""
    family, kernel = request.param
    detector = apply_operations(build_detector(family), [parse_operation(f"deconv:{kernel}")])
    with torch.no_grad():
        # As if trained: every weight counts, and the bias.
        detector.module.model[5].weight.add_(torch.linspace(-0.2, 0.2, 64 * kernel**2).view(8, 8, kernel, -1))
        detector.module.model[5].bias.copy_(torch.linspace(-0.1, 0.1, 8))
    detector = lively(detector)
    return ArtifactSet(detector, tmp_path_factory.mktemp("transposed")), kernel


def _run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def _transposed(path):
    graph = Graph(load_onnx(path))
    (node,) = [node for node in graph.nodes if node.op_type == "ConvTranspose"]
    return graph, node


@pytest.mark.parametrize(
    ("precision", "target", "computes_in"),
    [
        ("fp32", "", "fp32"),
        ("fp16", "", "fp16"),
        # onnxruntime has no 8-bit transposed convolution on the CPU.
        ("int8", "x86", "fp32"),
        ("int8", "openvino", "int8"),
        ("int8", "tensorrt", "int8"),
    ],
)
def test_every_precision_runs_near_float_and_counts_its_arithmetic(made, precision, target, computes_in):
    artifacts, kernel = made
    artifact = artifacts.of(precision, target)
    images = random_images(2, seed=5)
    expected = _predict(artifacts, images)
    assert _error(_run(artifact.path, images), expected) < ROUNDING[precision]
    graph, node = _transposed(artifact.path)
    # 8 channels in and out over 8 x 8 input positions; output positions would be four times as many.
    work = 8 * 8 * kernel * kernel * 8 * 8
    assert graph.multiply_accumulates(node) == work == count_macs(artifacts.detector)["model.5"]
    total = sum(graph.multiply_accumulates(other) for other in graph.convolutions())
    layers = {layer.name: layer for layer in inspect_file(artifact.path).layers}
    found = layers[node.name]
    assert (found.kind, found.inputs, found.outputs, found.kernel, found.alignment, found.precision) == (
        *("ConvTranspose", 8, 8, f"{kernel}x{kernel}", "aligned", computes_in),
    )
    # The share of a precision is that of the arithmetic, the transposed convolution's among it.
    same = [n for n in graph.convolutions() if layers[n.name].precision == computes_in]
    assert node.name in {n.name for n in same}
    assert artifact.shares[computes_in] == pytest.approx(
        sum(graph.multiply_accumulates(n) for n in same) / total
    )


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_scales_are_on_axis_1_and_the_bias_stays_in_float(made, target):
    artifacts, _ = made
    graph, node = _transposed(artifacts.int8(target).path)
    dequantize = graph.producer(node.input[1])
    assert dequantize.op_type == "DequantizeLinear"
    assert next(entry.i for entry in dequantize.attribute if entry.name == "axis") == 1
    scales = graph.constant(dequantize.input[1])
    _, original = _transposed(artifacts.fp32.path)
    weight = Graph(load_onnx(artifacts.fp32.path)).constant(original.input[1])
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=(0, 2, 3)) / 127, rtol=1e-6)
    assert graph.constant(node.input[2]).dtype == np.float32


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_quantising_it_alone_costs_little(made, target, tmp_path):
    artifacts, _ = made
    graph, node = _transposed(artifacts.fp32.path)
    others = {other.name: "another layer" for other in graph.nodes if other.name != node.name}
    plan = dataclasses.replace(artifacts.plan, float_nodes=others)
    written = write_qdq(artifacts.fp32, plan, tmp_path / "alone.onnx", target=target)
    assert written.shares["int8"] == pytest.approx(
        graph.multiply_accumulates(node) / sum(graph.multiply_accumulates(n) for n in graph.convolutions())
    )
    images = random_images(2, seed=5)
    assert 0 < _error(_run(written.path, images), _predict(artifacts, images)) < ALONE


def test_openvino_runs_the_quantised_file(made):
    from slimgate.runtime import get_runtime

    artifacts, _ = made
    images = random_images(2, seed=5)
    expected = _predict(artifacts, images)
    with get_runtime("openvino").open(artifacts.int8("openvino")) as runner:
        assert _error(runner.run(images), expected) < ROUNDING["int8"]


@pytest.mark.skipif(why_not_installed(RTX) is not None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_builds_it(made, precision, tmp_path):
    artifacts, _ = made
    source = artifacts.of(precision, "tensorrt")
    engine = build_engine(source, tmp_path / "m.engine", kind=RTX, compute_capability="8.6")
    assert engine.shares == source.shares
    assert engine.precision == precision


def test_a_grouped_transposed_convolution_stays_in_float():
    """Axis 1 of its weight has one entry per channel of a group: no scale per output channel fits there."""
    nodes = [
        helper.make_node("ConvTranspose", ["images", "w"], ["a"], "grouped", strides=[2, 2], group=2),
        helper.make_node("ConvTranspose", ["a", "v"], ["predictions"], "whole", strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, (1, 8, 4, 4))],
        [helper.make_tensor_value_info("predictions", onnx.TensorProto.FLOAT, (1, 4, 16, 16))],
        [
            onnx.numpy_helper.from_array(np.ones((8, 4, 2, 2), np.float32), "w"),
            onnx.numpy_helper.from_array(np.ones((8, 4, 2, 2), np.float32), "v"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    assert place_pairs(Graph(model), {}, TARGETS["tensorrt"]).convolutions == {"whole"}
