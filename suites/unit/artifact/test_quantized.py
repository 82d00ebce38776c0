"""What an INT8 file says about its own quantisation: schemes, reasons, noise, sensitivity."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import helper
from slimgate.artifact import float_head_nodes, inspect_file, write_qdq
from slimgate.artifact.graph import Graph
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.qdq import describe_quantization
from slimgate.artifact.quantized import quantized_tensors
from slimgate.artifact.sensitivity import analyse_sensitivity, measure_groups
from slimgate.compress.quantize.noise import tensor_noise
from slimgate.errors import InputError, UsageError

from fixtures.artifacts import random_images

PROBES = [images[None] for images in random_images(2, seed=4)]


def _kinds(path):
    tensors = quantized_tensors(Graph(onnx.load(path)))
    return {(tensor.role, tensor.scheme) for tensor in tensors}


def test_schemes_of_each_target(artifacts):
    weights = ("weight", "int8 per channel (axis 0), symmetric")
    assert _kinds(artifacts.int8("x86").path) == {
        ("activation", "uint8 per tensor, asymmetric"),
        weights,
        ("bias", "int32 per channel (axis 0), symmetric"),
    }
    assert _kinds(artifacts.int8("openvino").path) == {
        ("activation", "uint8 per tensor, asymmetric"),
        weights,
    }
    assert _kinds(artifacts.int8("tensorrt").path) == {("activation", "int8 per tensor, symmetric"), weights}


def test_scales_and_zero_points_are_those_of_the_file(artifacts):
    path = artifacts.int8("x86").path
    found = {tensor.name: tensor for tensor in quantized_tensors(Graph(onnx.load(path)))}
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    activations = [tensor for tensor in found.values() if tensor.role == "activation"]
    for tensor in activations:
        assert tensor.scales == (pytest.approx(float(stored[f"{tensor.name}/scale"])),)
        assert tensor.zero_points == (int(stored[f"{tensor.name}/zero_point"]),)
    weight = next(tensor for tensor in found.values() if tensor.role == "weight")
    assert weight.scales == pytest.approx(tuple(stored[f"{weight.name}/scale"].tolist()))
    assert json.loads(json.dumps(weight.to_json()))["per"] == "channel"


def test_every_float_convolution_has_its_reason(artifacts):
    layers = inspect_file(artifacts.int8("x86").path).layers
    floats = [layer for layer in layers if layer.precision != "int8"]
    assert floats[0].why_float == "stem: three input channels starve the 8-bit kernel"
    head = [layer for layer in floats if layer.name in float_head_nodes(artifacts.fp32)]
    assert {layer.why_float for layer in head} == {"head: box coordinates and scores share no scale"}
    assert all(layer.why_float for layer in floats)
    assert not any(layer.why_float for layer in layers if layer.precision == "int8")


def test_reasons_for_transposed_and_for_computed_weights():
    nodes = [
        helper.make_node("Relu", ["images"], ["x"], "relu"),
        helper.make_node("ConvTranspose", ["x", "w"], ["up"], "up"),
        helper.make_node("Relu", ["w"], ["computed"], "make"),
        helper.make_node("Conv", ["up", "computed"], ["y"], "odd"),
        helper.make_node("ConvTranspose", ["y", "g"], ["predictions"], "grouped", group=2),
    ]
    tensor = helper.make_tensor_value_info
    arrays = {"w": np.ones((4, 4, 1, 1), np.float32), "g": np.ones((4, 2, 1, 1), np.float32)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor("images", onnx.TensorProto.FLOAT, (1, 4, 2, 2))],
        [tensor("predictions", onnx.TensorProto.FLOAT, (1, 4, 2, 2))],
        [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert place_pairs(Graph(model), {}, TARGETS["x86"]).floats == {
        "up": "transposed convolution: the runtime has no 8-bit kernel for it",
        "odd": "weight: it is computed, not stored",
        "grouped": "transposed convolution: the runtime has no 8-bit kernel for it",
    }
    assert place_pairs(Graph(model), {"up": "mine"}, TARGETS["openvino"]).floats == {
        "up": "mine",
        "odd": "weight: it is computed, not stored",
        "grouped": "grouped transposed convolution: its groups would share scales",
    }


def _concatenated(extra=()):
    """Return a graph: images -> two convolutions -> Concat -> convolution, and what else is given."""
    nodes = [
        helper.make_node("Relu", ["images"], ["x"], "relu"),
        helper.make_node("Conv", ["x", "w"], ["a"], "conv_a"),
        helper.make_node("Conv", ["x", "w"], ["b"], "conv_b"),
        helper.make_node("MaxPool", ["b"], ["pooled"], "pool", kernel_shape=[1, 1]),
        helper.make_node("Concat", ["a", "b", "pooled"], ["both"], "concat", axis=1),
        helper.make_node("Conv", ["both", "w3"], ["last"], "conv_c"),
        *extra,
        helper.make_node("Relu", ["last"], ["predictions"], "end"),
    ]
    tensor = helper.make_tensor_value_info
    arrays = {"w": np.ones((4, 4, 1, 1), np.float32), "w3": np.ones((4, 12, 1, 1), np.float32)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor("images", onnx.TensorProto.FLOAT, (1, 4, 2, 2))],
        [tensor("predictions", onnx.TensorProto.FLOAT, (1, 4, 2, 2))],
        [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_what_only_a_concat_reads_takes_the_scale_of_its_output():
    placed = place_pairs(_concatenated(), {}, TARGETS["x86"])
    assert placed.shared == {"a": "both", "b": "both", "pooled": "both"}


def test_what_something_else_reads_as_well_keeps_its_own_scale():
    other = helper.make_node("Conv", ["b", "w"], ["aside"], "conv_d")
    # A quantised reader is needed for the tensor to be quantised for it; its output leads nowhere else.
    placed = place_pairs(_concatenated([other]), {}, TARGETS["x86"])
    assert placed.shared == {"a": "both", "pooled": "b"}


def test_constants_that_were_not_folded_move_without_a_scale_to_share():
    constants = {
        "c": np.ones((4, 4), np.float32),
        "s": np.array([1, 4, 2, 2]),
        "w8": np.ones((4, 8, 1, 1), np.float32),
    }
    extra = [
        *(
            helper.make_node("Constant", [], [name], name, value=onnx.numpy_helper.from_array(value))
            for name, value in constants.items()
        ),
        helper.make_node("Reshape", ["c", "s"], ["table"], "move"),
        helper.make_node("Concat", ["a", "table"], ["wide"], "beside", axis=1),
        helper.make_node("Conv", ["wide", "w8"], ["aside"], "conv_d"),
    ]
    placed = place_pairs(_concatenated(extra), {}, TARGETS["x86"])
    assert {"wide", "table"} <= set(placed.tensors)


def test_noise_at_every_convolution_is_recorded_and_right(artifacts, tmp_path):
    made = write_qdq(artifacts.fp32, artifacts.plan, tmp_path / "m.onnx", target="openvino", probes=PROBES)
    noise = made.facts["sqnr_db"]
    names = [node.name for node in Graph(onnx.load(artifacts.fp32.path)).convolutions()]
    assert set(noise) == set(names)
    assert all(5 < value < 80 for value in noise.values())
    # The stem reads pixels that uint8 holds exactly enough: less noise than what many layers have added.
    assert noise[names[0]] > noise[names[-1]]


def test_sensitivity_of_each_group_is_its_noise_alone(artifacts):
    groups = measure_groups(artifacts.fp32, artifacts.plan, PROBES, target="openvino")
    graph = Graph(onnx.load(artifacts.fp32.path))
    work = {node.name: graph.multiply_accumulates(node) for node in graph.convolutions()}
    quantised = place_pairs(graph, artifacts.plan.float_nodes, TARGETS["openvino"]).convolutions
    assert {name for group in groups for name in group.nodes} == quantised
    assert sum(group.macs for group in groups) == sum(work[name] for name in quantised)
    assert all(group.noise > 0 for group in groups)


def test_a_budget_returns_groups_and_the_file_says_which_and_why(artifacts, tmp_path):
    heads = ["predictions"]
    exact = onnx.load(artifacts.fp32.path)

    def score(artifact):
        """Stand in for mAP: what noise leaves of 1."""
        return 1 - tensor_noise(exact, onnx.load(artifact.path), PROBES, heads)["predictions"].ratio ** 0.5

    whole = write_qdq(artifacts.fp32, artifacts.plan, tmp_path / "whole.onnx", target="openvino")
    budget = 0.9 * (1 - score(whole))
    plan = analyse_sensitivity(
        artifacts.fp32, artifacts.plan, PROBES, target="openvino", budget=budget, score=score
    )
    made = write_qdq(artifacts.fp32, plan, tmp_path / "m.onnx", target="openvino")
    assert 1 - score(made) <= budget
    returned = plan.sensitivity["returned"]
    assert returned
    assert 0 < made.shares["int8"] < whole.shares["int8"]
    reasons = [reason for reason in made.facts["float_convolutions"].values() if "sensitivity" in reason]
    assert reasons[0].startswith(f"sensitivity: its group '{returned[0]}'")
    assert made.facts["sensitivity"]["steps"][0] > budget
    assert made.lineage[-1].settings == {"target": "openvino", "observer": "minmax", "budget": budget}


def test_a_budget_that_nothing_in_int8_keeps_to(artifacts):
    scores = iter([1.0])
    with pytest.raises(
        InputError, match=r"budget 0\.001: a drop of 0\.5000 in INT8, and more than"
    ) as caught:
        analyse_sensitivity(
            artifacts.fp32,
            artifacts.plan,
            PROBES[:1],
            target="openvino",
            budget=0.001,
            score=lambda artifact: next(scores, 0.5),
        )
    assert "raise the budget, or try another observer" in str(caught.value)


def test_each_group_alone_is_scored_and_ranks_by_what_it_drops(artifacts):
    shares = []

    def score(artifact):
        """Stand in for mAP: every further INT8 group costs more than the one before."""
        shares.append(artifact.shares.get("int8", 0.0))
        return 1.0 - 0.01 * (len(shares) - 1)

    plan = analyse_sensitivity(
        artifacts.fp32, artifacts.plan, PROBES[:1], target="openvino", score=score, score_groups=True
    )
    groups = plan.sensitivity["groups"]
    drops = sorted(group["drop"] for group in groups)
    assert drops == pytest.approx([0.01 * (index + 1) for index in range(len(groups))])
    assert [group["name"] for group in groups] == sorted(
        (group["name"] for group in groups),
        key=lambda name: -next(g["drop"] / g["macs"] for g in groups if g["name"] == name),
    )
    # FP32 first, then one group at a time: together they are all that is quantised.
    assert shares[0] == 0.0
    assert sum(shares) == pytest.approx(artifacts.int8("openvino").shares["int8"])
    assert (plan.sensitivity["score"], plan.sensitivity["returned"]) == (1.0, [])


def test_groups_are_not_scored_without_pictures(artifacts):
    with pytest.raises(InputError, match="scores of single groups: no labelled pictures") as caught:
        analyse_sensitivity(artifacts.fp32, artifacts.plan, PROBES, target="x86", score_groups=True)
    assert "name pictures that are neither calibrated on nor evaluated" in str(caught.value)


def test_a_budget_without_pictures(artifacts):
    with pytest.raises(InputError, match=r"budget 0\.001: no labelled pictures\n  expected: a drop of mAP"):
        analyse_sensitivity(artifacts.fp32, artifacts.plan, PROBES, target="x86", budget=0.001)


def test_the_sensitivity_of_a_plan_that_leaves_everything_in_float(artifacts):
    names = [node.name for node in Graph(onnx.load(artifacts.fp32.path)).convolutions()]
    plan = artifacts.plan.keep_float(dict.fromkeys(names, "asked for"))
    with pytest.raises(
        InputError, match="nothing that runs in INT8 for openvino: the plan leaves every conv"
    ):
        analyse_sensitivity(
            artifacts.fp32, plan, PROBES[:1], target="openvino", budget=0.001, score=lambda _: 1.0
        )


def test_sensitivity_for_an_unknown_target(artifacts):
    with pytest.raises(UsageError, match="target 'x68': unknown target; did you mean 'x86'"):
        measure_groups(artifacts.fp32, artifacts.plan, PROBES, target="x68")


def test_the_description_of_a_quantisation_is_whole(artifacts):
    made = artifacts.int8("x86")
    told = json.loads(json.dumps(describe_quantization(made, artifacts.plan)))
    assert (told["format"], told["target"], told["sha256"]) == ("slimgate-quantization/1", "x86", made.sha256)
    assert len(told["tensors"]) == len(inspect_file(made.path).quantized)
    assert told["float_convolutions"] == made.facts["float_convolutions"]
    assert told["plan"]["observer"] == "minmax"


def test_symmetric_targets_take_the_magnitudes_of_the_plan(artifacts, tmp_path):
    half = {name: max(abs(end) for end in ends) / 2 for name, ends in artifacts.plan.ranges.items()}
    plan = dataclasses.replace(artifacts.plan, magnitudes=half)
    made = write_qdq(artifacts.fp32, plan, tmp_path / "m.onnx", target="tensorrt")
    for tensor in quantized_tensors(Graph(onnx.load(made.path))):
        if tensor.role == "activation":
            assert tensor.scales[0] == pytest.approx((half[tensor.name] or 127) / 127, rel=1e-6)
