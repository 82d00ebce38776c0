"""The 2:4 pattern as it is found in files: float, half and Q/DQ, and what a lost one is called."""

import copy
import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from slimgate.artifact import build_engine, convert_fp16, export_onnx, inspect_file, write_qdq
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.semi_structured import check_semi_structured, semi_structured_state
from slimgate.artifact.stored import stored_weight
from slimgate.artifact.trt import why_not_installed
from slimgate.cli import main
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.quantize.source import fingerprint_source
from slimgate.errors import InputError
from slimgate.flow import Family
from slimgate.model import count_macs, save_checkpoint

from fixtures.artifacts import ArtifactSet, lively
from fixtures.detectors import build_detector

FLOAT = onnx.TensorProto.FLOAT
SPARSE = np.tile(np.array([0, 3, 0, -1], np.float32).reshape(1, 4, 1, 1), (2, 2, 1, 1))


@pytest.fixture(scope="module", params=list(Family), ids=str)
def sparse(request, tmp_path_factory):
    """Return the files of a detector with transposed convolutions and 2:4 weights."""
    steps = [parse_operation("deconv:4"), parse_operation("prune24")]
    detector = apply_operations(lively(build_detector(request.param)), steps)
    return ArtifactSet(detector, tmp_path_factory.mktemp("sparse"))


def _model(nodes, initializers, *, outputs=2):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, [1, 8, 4, 4])],
        [helper.make_tensor_value_info("y", FLOAT, [1, outputs, 4, 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return Graph(model)


def test_the_pattern_by_hand():
    assert semi_structured_state(SPARSE) == "holds"
    one_more = SPARSE.copy()
    one_more[1, 4, 0, 0] = 1e-30
    assert semi_structured_state(one_more) == "broken"
    # Two per four outputs is another dimension: no kernel asks for it.
    assert (
        semi_structured_state(np.ones((4, 4, 1, 1)) * np.array([1, 0, 1, 0]).reshape(4, 1, 1, 1)) == "broken"
    )
    assert semi_structured_state(np.zeros((2, 4))) == "holds"


def test_the_share_counts_multiply_accumulates_by_hand():
    nodes = [
        helper.make_node("Conv", ["x", "dense"], ["a"], "dense", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "odd"], ["b"], "odd"),
        helper.make_node("Conv", ["b", "grouped"], ["c"], "grouped", group=2),
        helper.make_node("ConvTranspose", ["c", "up"], ["d"], "up"),
        helper.make_node("Conv", ["d", "sparse"], ["y"], "sparse"),
    ]
    weights = {
        "dense": np.ones((6, 8, 3, 3), np.float32),
        "odd": np.zeros((8, 6, 1, 1), np.float32),
        "grouped": np.zeros((8, 4, 1, 1), np.float32),
        "up": np.zeros((8, 8, 1, 1), np.float32),
        "sparse": SPARSE,
    }
    found = check_semi_structured(_model(nodes, weights))
    assert found.layers == {
        "dense": "broken",
        "odd": "6 input channels",
        "grouped": "2 groups",
        "up": "a transposed convolution",
        "sparse": "holds",
    }
    assert found.share == 2 * 8 / (6 * 8 * 9 + 8 * 6 + 8 * 4 + 8 * 8 + 2 * 8)


@pytest.mark.parametrize("axis", [0, None])
def test_a_zero_point_is_taken_off_before_zeros_are_counted(axis):
    """Integers of 7 with zero point 7 are zeros, and stored zeros are not."""
    quantized = (SPARSE + 7).astype(np.int8)
    per_channel = axis is not None
    extra = {"axis": axis} if per_channel else {}
    scale, zero = np.array([0.5, 0.25], np.float32), np.array([7, 7], np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], "dq", **extra),
        helper.make_node("Conv", ["x", "wd"], ["y"], "conv"),
    ]
    initializers = {
        "w": quantized,
        "s": scale if per_channel else scale[0],
        "z": zero if per_channel else zero[0],
    }
    graph = _model(nodes, initializers)
    np.testing.assert_array_equal(stored_weight(graph, graph.nodes[1]), SPARSE)
    assert check_semi_structured(graph).layers == {"conv": "holds"}
    assert check_semi_structured(_model(nodes, initializers | {"w": SPARSE.astype(np.int8)})).layers == {
        "conv": "broken"
    }


def test_a_zero_point_per_channel_belongs_to_its_channel():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], "dq", axis=0),
        helper.make_node("Conv", ["x", "wd"], ["y"], "conv"),
    ]
    zero = np.array([0, 7], np.int8)
    initializers = {
        "w": (SPARSE + zero.reshape(2, 1, 1, 1)).astype(np.int8),
        "s": np.array([0.5, 0.25], np.float32),
        "z": zero,
    }
    graph = _model(nodes, initializers)
    np.testing.assert_array_equal(stored_weight(graph, graph.nodes[1]), SPARSE)


def test_a_float_weight_behind_q_and_dq_is_read_as_it_is():
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["wq"], "q"),
        helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["wd"], "dq"),
        helper.make_node("Conv", ["x", "wd"], ["y"], "conv"),
    ]
    initializers = {"w": SPARSE, "s": np.array(0.5, np.float32), "z": np.array(7, np.uint8)}
    graph = _model(nodes, initializers)
    np.testing.assert_array_equal(stored_weight(graph, graph.nodes[2]), SPARSE)


def test_a_fused_integer_convolution():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "u"], ["xq"], "q"),
        helper.make_node("QLinearConv", ["xq", "s", "u", "w", "s", "z", "s", "u"], ["yq"], "conv"),
        helper.make_node("DequantizeLinear", ["yq", "s", "u"], ["y"], "dq"),
    ]
    initializers = {
        "w": (SPARSE + 3).astype(np.int8),
        "s": np.array(0.5, np.float32),
        "z": np.array(3, np.int8),
        "u": np.array(0, np.uint8),
    }
    assert check_semi_structured(_model(nodes, initializers)).layers == {"conv": "holds"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("target", ["x86", "openvino", "tensorrt"])
def test_every_export_keeps_the_pattern(sparse, precision, target):
    graph = Graph(load_onnx(sparse.of(precision, target).path))
    found = check_semi_structured(graph)
    notes = sparse.detector.lineage[-1].notes
    assert sum(state == "holds" for state in found.layers.values()) == len(notes["layers"])
    # Batch norm and quantisation scale whole channels: what was zero stays zero.
    macs = count_macs(sparse.detector)
    if sparse.detector.family is Family.YOLOV5_ANCHOR:
        assert found.share == pytest.approx(sum(macs[n] for n in notes["layers"]) / sum(macs.values()))


def test_a_dense_detector_holds_nowhere(artifacts):
    found = check_semi_structured(Graph(load_onnx(artifacts.fp32.path)))
    assert found.share == 0
    assert "broken" in found.layers.values()


def _with_one_more_weight(detector):
    """Return the detector with the pattern lost in model.1, and the lineage that claims it."""
    module = copy.deepcopy(detector.module)
    with torch.no_grad():
        module.state_dict()["model.1.conv.weight"].fill_(0.1)
    return dataclasses.replace(detector, module=module)


def test_an_export_whose_pattern_is_lost_is_refused(sparse, tmp_path):
    with pytest.raises(InputError) as caught:
        export_onnx(_with_one_more_weight(sparse.detector), tmp_path / "m.onnx")
    text = str(caught.value)
    assert f"{tmp_path / 'm.onnx'}: the 2:4 pattern of its lineage (prune24) is lost in 1 of" in text
    assert "/model.1/conv/Conv" in text
    assert "expected: at most 2 of every 4 weights along the input channels not zero" in text
    assert "apply prune24 again" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "convert",
    [
        lambda source, plan, path: convert_fp16(source, path),
        lambda source, plan, path: write_qdq(source, plan, path, target="x86"),
    ],
    ids=["fp16", "int8"],
)
def test_a_file_whose_pattern_is_lost_is_not_converted(sparse, tmp_path, convert):
    model = onnx.load(sparse.fp32.path)
    node = next(node for node in model.graph.node if node.name == "/model.1/conv/Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, 0.1), weight.name))
    onnx.save(model, tmp_path / "broken.onnx")
    broken = dataclasses.replace(sparse.fp32, path=tmp_path / "broken.onnx")
    # A plan of these very weights, so that nothing but the pattern is wrong.
    plan = dataclasses.replace(sparse.plan, source_sha256=fingerprint_source(model))
    with pytest.raises(InputError, match=r"the 2:4 pattern .* is lost in 1 of .*/model\.1/conv/Conv"):
        convert(broken, plan, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_pruning_the_head_as_well_is_held_to_it(tmp_path):
    detector = apply_operations(build_detector(Family.ULTRALYTICS), [parse_operation("prune24:sparse")])
    export_onnx(detector, tmp_path / "m.onnx")
    with torch.no_grad():
        detector.module.state_dict()["model.8.cv2.0.2.weight"].fill_(0.1)
    with pytest.raises(InputError, match=r"lost in 1 of .*: /model\.8/cv2\.0/cv2\.0\.2/Conv"):
        export_onnx(detector, tmp_path / "m.onnx")


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_of_a_sparse_file_may_use_sparse_kernels(sparse, artifacts, tmp_path, precision):
    for made, allowed in ((sparse, True), (artifacts, False)):
        source = made.of(precision, "tensorrt")
        engine = build_engine(source, tmp_path / "m.engine", kind="tensorrt-rtx", compute_capability="8.6")
        assert engine.facts["sparse_weights_allowed"] is allowed


def test_inspect_shows_it(sparse, tmp_path, capsys):
    found = inspect_file(sparse.int8("tensorrt").path)
    holds = sum(layer.semi_structured == "holds" for layer in found.layers)
    assert holds == len(sparse.detector.lineage[-1].notes["layers"])
    assert found.to_json()["semi_structured_share"] == found.semi_structured_share > 0.5
    checkpoint = inspect_file(save_checkpoint(sparse.detector, tmp_path / "sparse"))
    assert sum(layer.semi_structured == "holds" for layer in checkpoint.layers) == holds
    assert checkpoint.semi_structured_share == pytest.approx(found.semi_structured_share, rel=0.1)
    assert main(["inspect", str(sparse.fp32.path), "--layers"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        f"holds in {holds} of {len(found.layers)} layers ({found.semi_structured_share:.1%} of the MACs)"
        in shown
    )


def test_inspect_of_a_dense_file_says_that_it_holds_nowhere(artifacts, capsys):
    assert main(["inspect", str(artifacts.fp32.path)]) == 0
    assert "holds in 0 of" in capsys.readouterr().out
