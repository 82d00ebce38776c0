"""The FP32 ONNX file of a detector."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from slimgate.artifact import artifact_from_file, export_onnx, float_head_nodes, hash_file
from slimgate.artifact.graph import Graph
from slimgate.errors import InputError, UsageError
from slimgate.flow import Precision, Step
from slimgate.model import head_convolutions

from fixtures.artifacts import random_images


def _run(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["predictions"], {"images": images})[0]


def test_the_artifact_describes_the_file(artifacts):
    artifact = artifacts.fp32
    assert artifact.format == "onnx"
    assert artifact.precision is Precision.FP32
    assert artifact.shares == {"fp32": 1.0}
    assert artifact.class_names == artifacts.detector.class_names
    assert (artifact.image_size, artifact.batch) == (64, 0)
    assert artifact.sha256 == hash_file(artifact.path)
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert artifact.build_s > 0


def test_reading_the_file_gives_the_same_artifact(artifacts):
    again = artifact_from_file(artifacts.fp32.path)
    assert dataclasses.replace(again, build_s=artifacts.fp32.build_s) == artifacts.fp32


def test_interface_and_metadata(artifacts):
    model = onnx.load(artifacts.fp32.path)
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == ["predictions"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    card = json.loads({entry.key: entry.value for entry in model.metadata_props}["slimgate"])
    assert card["weights_sha256"] == artifacts.detector.weights_sha256
    assert card["stride"] == artifacts.detector.stride


def test_the_graph_is_lean(artifacts):
    operators = {node.op_type for node in onnx.load(artifacts.fp32.path).graph.node}
    assert not operators & {"BatchNormalization", "Shape", "Gather", "Identity", "Constant", "If", "Expand"}


def test_no_two_convolutions_share_a_tensor(artifacts):
    model = onnx.load(artifacts.fp32.path)
    names = [
        name
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
        for name in node.input[1:]
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_file_does_not_depend_on_what_the_detector_ran_before(artifacts, tmp_path, batch):
    import torch

    with torch.no_grad():
        artifacts.detector.module(torch.from_numpy(random_images(batch)))
    again = export_onnx(artifacts.detector, tmp_path / "again.onnx")
    assert again.sha256 == artifacts.fp32.sha256


def test_a_fixed_batch_is_in_the_file(artifacts, tmp_path):
    artifact = export_onnx(artifacts.detector, tmp_path / "fixed.onnx", batch=3)
    assert artifact.batch == 3
    images = random_images(3)
    np.testing.assert_allclose(_run(artifact.path, images), _run(artifacts.fp32.path, images), atol=1e-4)


@pytest.mark.parametrize("opset", [18, 20])
def test_newer_opsets(artifacts, tmp_path, opset):
    artifact = export_onnx(artifacts.detector, tmp_path / "new.onnx", opset=opset)
    assert onnx.load(artifact.path).opset_import[0].version == opset
    images = random_images(2)
    np.testing.assert_allclose(_run(artifact.path, images), _run(artifacts.fp32.path, images), atol=1e-4)


def test_the_box_integral_against_numpy(artifacts):
    """DFL: the mean of a softmax over the bins, whichever axis the file computes it on."""
    model = onnx.load(artifacts.fp32.path)
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    transpose = next(node for node in model.graph.node if node.op_type == "Transpose")
    assert transpose.output[0] == softmax.input[0]
    for name in (transpose.input[0], product.output[0]):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits, means = session.run([transpose.input[0], product.output[0]], {"images": random_images(2)})
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))  # (n, 4, bins, anchors)
    bins = np.arange(logits.shape[2]).reshape(1, 1, -1, 1)
    expected = (powers * bins).sum(axis=2) / powers.sum(axis=2)
    np.testing.assert_allclose(means[..., 0], expected, atol=1e-4)


def test_lineage_travels_in_the_file(artifacts, tmp_path):
    step = Step(operation="prune", settings={"ratio": 0.3})
    detector = dataclasses.replace(artifacts.detector, lineage=(step,))
    assert export_onnx(detector, tmp_path / "pruned.onnx").lineage == (step,)


def test_head_convolutions_are_recorded_once_each(artifacts, legacy_artifacts):
    for made in (artifacts, legacy_artifacts):
        graph = Graph(onnx.load(made.fp32.path))
        card = json.loads({entry.key: entry.value for entry in graph.model.metadata_props}["slimgate"])
        weights = {node.input[1] for node in graph.convolutions() if node.name in card["head_nodes"]}
        outputs = {
            f"{name}.weight" for name in head_convolutions(made.detector) if not name.endswith("dfl.conv")
        }
        assert weights == outputs
        assert len(card["head_nodes"]) == len(outputs)


@pytest.mark.parametrize("opset", [11, 16, 21])
def test_unsupported_opsets(artifacts, tmp_path, opset):
    with pytest.raises(UsageError, match=f"opset {opset}: not supported\n  expected: 17 to 20"):
        export_onnx(artifacts.detector, tmp_path / "m.onnx", opset=opset)
    assert list(tmp_path.iterdir()) == []


def test_a_negative_batch(artifacts, tmp_path):
    with pytest.raises(UsageError, match=r"batch -1: negative\n  expected: 0 \(dynamic\) or a size"):
        export_onnx(artifacts.detector, tmp_path / "m.onnx", batch=-1)


def test_class_names_that_do_not_fit_the_head(artifacts, tmp_path):
    detector = dataclasses.replace(artifacts.detector, class_names=("a", "b"))
    with pytest.raises(InputError, match=r"gives predictions of shape \[3, 7, 320\]") as caught:
        export_onnx(detector, tmp_path / "m.onnx")
    assert "expected: [3, 6, 'candidates']" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_head_convolution_that_is_not_found(artifacts, tmp_path, monkeypatch):
    monkeypatch.setattr("slimgate.model.head_convolutions", lambda detector: ("model.9.nowhere",))
    with pytest.raises(InputError) as caught:
        export_onnx(artifacts.detector, tmp_path / "m.onnx")
    assert str(caught.value) == (
        "head of 'tiny-ultralytics': output convolutions without one ONNX node each: model.9.nowhere (0 nodes)\n"
        "  expected: every output convolution of the head as exactly one Conv node\n"
        "  what to do: check that no two of them have equal weights (the exporter merges those)"
    )


def test_an_unwritable_place(artifacts, tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        export_onnx(artifacts.detector, tmp_path / "taken" / "m.onnx")


def test_the_float_head_is_everything_from_its_convolutions_to_the_output(artifacts, legacy_artifacts):
    for made in (artifacts, legacy_artifacts):
        graph = Graph(onnx.load(made.fp32.path))
        names = float_head_nodes(made.fp32)
        nodes = [node for node in graph.nodes if node.name in names]
        assert len(nodes) == len(names) == len(set(names))
        assert any("predictions" in node.output for node in nodes)
        # Nothing in it feeds anything outside it, and no other convolution is in it.
        inside = set(names)
        for node in nodes:
            assert all(reader.name in inside for name in node.output for reader in graph.consumers(name))
        heads = [name for name in head_convolutions(made.detector) if not name.endswith("dfl.conv")]
        assert len([node for node in nodes if node.op_type == "Conv"]) == len(heads)


def test_activations_of_the_trunk_are_not_in_the_float_head(artifacts):
    """A loose pattern once took all SiLU sigmoids for the head's."""
    model = onnx.load(artifacts.fp32.path)
    sigmoids = [node.name for node in model.graph.node if node.op_type == "Sigmoid"]
    inside = [name for name in float_head_nodes(artifacts.fp32) if name in sigmoids]
    assert len(inside) == 1
    assert len(sigmoids) > 10


def test_a_recorded_head_that_is_not_the_last_in_the_graph(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    entry = next(entry for entry in model.metadata_props if entry.key == "slimgate")
    card = json.loads(entry.value)
    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    card["head_nodes"] = [first, *card["head_nodes"][1:]]
    entry.value = json.dumps(card)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    with pytest.raises(
        InputError, match="either recorded as the head's or last in the graph, not both"
    ) as caught:
        float_head_nodes(artifact_from_file(path))
    assert first in str(caught.value)


def test_the_head_of_a_foreign_file_is_found_by_structure(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    kept = [entry for entry in model.metadata_props if entry.key != "slimgate"]
    pairs = {entry.key: entry.value for entry in kept}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, pairs)
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    assert float_head_nodes(artifact_from_file(path)) == float_head_nodes(artifacts.fp32)
