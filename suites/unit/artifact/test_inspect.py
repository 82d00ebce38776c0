"""What is found in files of every kind."""

import json

import numpy as np
import onnx
import pytest
from slimgate.artifact import build_engine, inspect_file
from slimgate.artifact.trt import why_not_installed
from slimgate.errors import InputError
from slimgate.model import save_checkpoint


def _odd_and_sparse(artifacts, path):
    """Return a file whose first convolution has 5 of its 8 channels zeroed."""
    model = onnx.load(artifacts.fp32.path)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:5] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    return node.name, values


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_onnx_of_every_precision(artifacts, precision):
    artifact = artifacts.of(precision, "x86")
    found = inspect_file(artifact.path)
    assert found.precision == precision
    assert found.shares == artifact.shares
    assert (found.sha256, found.size_bytes) == (artifact.sha256, artifact.size_bytes)
    assert found.compressed_bytes < found.size_bytes
    assert found.weights_sha256 == artifacts.detector.weights_sha256
    assert {layer.precision for layer in found.layers} == set(found.shares)
    # The same layers in every precision: what differs is what they compute in.
    assert [(layer.name, layer.outputs) for layer in found.layers] == [
        (layer.name, layer.outputs) for layer in inspect_file(artifacts.fp32.path).layers
    ]


def test_zeros_are_counted_where_they_are(artifacts, tmp_path):
    name, values = _odd_and_sparse(artifacts, tmp_path / "m.onnx")
    found = inspect_file(tmp_path / "m.onnx")
    layer = next(layer for layer in found.layers if layer.name == name)
    assert layer.weights == values.size
    assert layer.nonzero == np.count_nonzero(values) == values.size * 3 // 8
    assert found.weights - found.nonzero_weights == values.size * 5 // 8


def test_the_head_is_exempt_from_alignment_and_the_trunk_is_not(artifacts, legacy_artifacts):
    for made in (artifacts, legacy_artifacts):
        found = inspect_file(made.fp32.path)
        exempt = [layer for layer in found.layers if layer.alignment == "exempt"]
        assert len(exempt) == {"tiny-ultralytics": 4, "tiny-yolov5-anchor": 2}[made.detector.name]
        for layer in found.layers:
            if layer.alignment != "exempt":
                assert layer.alignment == ("odd" if layer.outputs % 8 else "aligned")


def test_a_checkpoint_shows_the_same_layers_as_its_export(legacy_artifacts, tmp_path):
    path = save_checkpoint(legacy_artifacts.detector, tmp_path / "model")
    found = inspect_file(path)
    exported = inspect_file(legacy_artifacts.fp32.path)
    assert found.format == "slimgate"
    assert found.shares == {"fp32": 1.0}
    assert sorted((one.inputs, one.outputs, one.kernel, one.alignment) for one in found.layers) == sorted(
        (one.inputs, one.outputs, one.kernel, one.alignment) for one in exported.layers
    )
    assert inspect_file(path.with_suffix(".json")).to_text() == found.to_text()


def test_an_odd_width_is_named():
    from slimgate.artifact.inspect import _alignment

    assert [_alignment(width, 8, "") for width in (8, 12, 16, 17)] == [
        "aligned",
        "odd",
        "aligned",
        "odd",
    ]
    assert _alignment(17, 8, "a reason") == "exempt"


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_an_engine_shows_what_its_manifest_holds(artifacts, tmp_path):
    engine = build_engine(artifacts.fp16, tmp_path / "m.engine", kind="tensorrt-rtx")
    found = inspect_file(engine.path)
    assert (found.format, found.precision, found.layers) == ("engine", "fp16", ())
    assert found.facts["weight_memory_bytes"] == engine.facts["weight_memory_bytes"]


def test_canonical_text_is_structure_alone(artifacts, tmp_path):
    _odd_and_sparse(artifacts, tmp_path / "m.onnx")
    text = inspect_file(artifacts.fp32.path).to_text()
    assert inspect_file(tmp_path / "m.onnx").to_text() == text
    assert inspect_file(artifacts.fp16.path).to_text() != text
    lines = text.splitlines()
    assert "share fp32 1.0000" in lines
    assert "  /model.0/conv/Conv Conv 3->8 3x3 fp32 aligned" in lines


def test_an_inspection_is_json(artifacts):
    found = inspect_file(artifacts.int8("x86").path)
    value = json.loads(json.dumps(found.to_json()))
    assert value["shares"] == dict(found.shares)
    assert value["lineage"][-1]["operation"] == "quantize"
    assert len(value["layers"]) == len(found.layers)


@pytest.mark.parametrize(("name", "text"), [("model.txt", "suffix '.txt'"), ("none.bin", "no such file")])
def test_other_files(tmp_path, name, text):
    (tmp_path / "model.txt").write_text("words")
    with pytest.raises(InputError, match=text) as caught:
        inspect_file(tmp_path / name)
    assert "expected: a model: .safetensors, .json, .pt, .onnx, .engine" in str(caught.value)


def test_a_weight_that_is_computed(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    double = onnx.helper.make_node("Add", [node.input[1]] * 2, ["computed"], "double")
    node.input[1] = "computed"
    model.graph.node.insert(0, double)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="its weight 'computed' is computed, not stored"):
        inspect_file(tmp_path / "m.onnx")
