"""Files that are not what the rest of slimgate can use: each one clear message."""

import dataclasses
import json

import onnx
import pytest
from onnx import TensorProto, helper
from slimgate.artifact import artifact_from_file
from slimgate.artifact.load import read_card, set_card
from slimgate.errors import InputError


@pytest.fixture
def model(artifacts):
    return onnx.load(artifacts.fp32.path)


def _refusal(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as caught:
        artifact_from_file(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n  what to do: " in text
    return text


def _set(model, key, value):
    next(entry for entry in model.metadata_props if entry.key == key).value = value


def _drop(model, *keys):
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key not in keys}
    del model.metadata_props[:]
    helper.set_model_props(model, kept)


def test_two_outputs(model, tmp_path):
    extra = model.graph.node[0].output[0]
    shape = ["batch", "c", "h", "w"]
    model.graph.output.append(helper.make_tensor_value_info(extra, TensorProto.FLOAT, shape))
    text = _refusal(model, tmp_path)
    assert f"2 outputs: predictions, {extra}" in text
    assert "expected: one output, predictions (n, 4 + classes, candidates)" in text


def test_other_class_names_than_the_output_has_rows(model, tmp_path):
    _drop(model, "slimgate")
    _set(model, "names", "{0: 'a', 1: 'b'}")
    text = _refusal(model, tmp_path)
    assert "an output of shape ('n', 7, 320) for 2 class names" in text
    assert "expected: (n, 6, candidates)" in text


def test_an_export_of_yolov5s_own(model, tmp_path):
    _drop(model, "slimgate")
    _set(model, "names", "{0: 'a', 1: 'b', 2: 'c'}")
    shape = model.graph.output[0].type.tensor_type.shape
    for size, value in zip(shape.dim, (1, 25200, 8), strict=True):
        size.Clear()
        size.dim_value = value
    text = _refusal(model, tmp_path)
    assert "an output of shape (1, 25200, 8): an export of YOLOv5's own, with a column for objectness" in text
    assert "expected: (n, 7, candidates)" in text
    assert "what to do: pass the .pt that it was made from to 'slimgate export'" in text


def test_no_class_names(model, tmp_path):
    _drop(model, "slimgate", "names")
    assert "no class names in the file's metadata" in _refusal(model, tmp_path)


def test_damaged_metadata(model, tmp_path):
    _set(model, "slimgate", "{half")
    assert "damaged metadata (JSONDecodeError" in _refusal(model, tmp_path)


def test_metadata_of_another_graph(model, tmp_path):
    entry = next(entry for entry in model.metadata_props if entry.key == "slimgate")
    _set(model, "slimgate", json.dumps(json.loads(entry.value) | {"image_size": 320}))
    text = _refusal(model, tmp_path)
    assert "its input has 64 pixels and batch 0, its metadata say 320 and 0" in text


def test_a_half_precision_input(model, tmp_path):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    text = _refusal(model, tmp_path)
    assert "an input of type FLOAT16" in text
    assert "expected: float32 images" in text


def test_a_dynamic_image_size(model, tmp_path):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert "inputs images [0, 3, 0, 64] (0: dynamic)" in _refusal(model, tmp_path)


def test_a_foreign_file_claims_what_it_proves(artifacts, tmp_path):
    model = onnx.load(artifacts.int8("x86").path)
    _drop(model, "slimgate")
    path = tmp_path / "foreign.onnx"
    path.write_bytes(model.SerializeToString())
    assert artifact_from_file(path).precision == "int8"


def test_an_fp32_file_named_int8_is_found_out(artifacts, model, tmp_path):
    """The claim stands in the card; the shares are read from the graph."""
    entry = next(entry for entry in model.metadata_props if entry.key == "slimgate")
    _set(model, "slimgate", json.dumps(json.loads(entry.value) | {"precision": "int8"}))
    path = tmp_path / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    artifact = artifact_from_file(path)
    assert artifact.precision == "int8"
    assert artifact.shares == {"fp32": 1.0}


def test_metadata_that_promise_detections_beside_raw_predictions(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    card = read_card(artifacts.fp32.path, model)
    set_card(model, dataclasses.replace(card, facts={"nms": {"conf": 0.1, "iou": 0.5, "max_det": 300}}))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="beside metadata that say it suppresses inside") as caught:
        artifact_from_file(path)
    assert "expected: (n, max_det, 6): box, score and class" in str(caught.value)
