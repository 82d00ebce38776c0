"""Suppression inside the graph against our own: the same detections, to the last bit, in every runtime that has it."""

import dataclasses

import numpy as np
import onnx
import pytest
from slimgate.artifact import append_nms, artifact_from_file
from slimgate.artifact.trt import load_trt, trt_log, why_not_installed
from slimgate.detect import GraphNms, Protocol, detections_from_prediction, detections_from_rows
from slimgate.errors import InputError
from slimgate.flow import Artifact
from slimgate.runtime import RUNTIMES

from fixtures.artifacts import random_images
from fixtures.shipped import SIZE, pictures

SETTINGS = GraphNms()
PROTOCOL = Protocol(image_size=SIZE, multi_label=False)


@pytest.fixture(scope="module")
def suppressing(shipped, tmp_path_factory):
    """Return raw and suppressing files of the shipped detector, by precision."""
    folder = tmp_path_factory.mktemp("nms")
    raw = {precision: shipped.of("codes-yolov5n", precision) for precision in ("fp32", "fp16")}
    return {
        precision: (file, append_nms(file, folder / f"{precision}.onnx", SETTINGS))
        for precision, file in raw.items()
    }


def assert_same(found, expected):
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_is_our_own_on_real_pictures(suppressing, name, precision):
    raw, inside = suppressing[precision]
    images = pictures("val", 12)
    with RUNTIMES[name].open(raw, threads=1) as plain, RUNTIMES[name].open(inside, threads=1) as runner:
        assert runner.nms == SETTINGS
        count = 0
        for image in images:
            prediction, rows = plain.run(image[None])[0], runner.run(image[None])[0]
            # One file answers for every higher confidence and every smaller number of detections.
            for protocol in (PROTOCOL, PROTOCOL.deployed(), dataclasses.replace(PROTOCOL, max_det=3)):
                found = detections_from_rows(rows, protocol, runner.nms)
                assert_same(found, detections_from_prediction(prediction, protocol))
                count += len(found)
    assert count > 100


def test_crowded_pictures_of_every_head(artifacts, legacy_artifacts, tmp_path):
    """Random weights give hundreds of overlapping candidates with scores that differ little."""
    for index, made in enumerate((artifacts, legacy_artifacts)):
        inside = append_nms(made.fp32, tmp_path / f"{index}.onnx", GraphNms(iou=0.3, max_det=40))
        protocol = Protocol(image_size=64, iou=0.3, max_det=40, multi_label=False)
        images = random_images(4, seed=5)
        with RUNTIMES["onnxruntime"].open(made.fp32) as plain, RUNTIMES["onnxruntime"].open(inside) as runner:
            for prediction, rows in zip(plain.run(images), runner.run(images), strict=True):
                found = detections_from_rows(rows, protocol, runner.nms)
                assert_same(found, detections_from_prediction(prediction, protocol))
                assert len(found) > 10


def test_images_of_a_batch_do_not_meet(suppressing):
    images = pictures("val", 5)
    with RUNTIMES["onnxruntime"].open(suppressing["fp32"][1], threads=1) as runner:
        together = runner.run(images)
        alone = np.concatenate([runner.run(image[None]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_an_image_without_anything_is_zeros(shipped, tmp_path):
    strict = append_nms(shipped.of("codes-yolov5n", "fp32"), tmp_path / "m.onnx", GraphNms(conf=1.0))
    with RUNTIMES["onnxruntime"].open(strict, threads=1) as runner:
        rows = runner.run(np.full((2, 3, SIZE, SIZE), 0.5, np.float32))
    assert rows.shape == (2, 300, 6)
    assert not rows.any()


def test_what_the_file_says_of_itself(suppressing):
    raw, inside = suppressing["fp16"]
    assert artifact_from_file(inside.path) == dataclasses.replace(inside, build_s=0.0)
    assert inside.facts["nms"] == {"conf": 0.001, "iou": 0.6, "max_det": 300}
    assert inside.lineage[-1].operation == "nms"
    assert inside.shares == raw.shares
    assert inside.precision == raw.precision


@pytest.mark.skipif(why_not_installed("tensorrt-rtx") is not None, reason="tensorrt-rtx is not installed")
def test_tensorrt_makes_it_a_layer_of_its_own_and_compiles_what_is_around(artifacts, tmp_path):
    """TensorRT-RTX parses the operator and has no kernel for it; everything else it builds, for any number kept."""
    inside = append_nms(artifacts.fp32, tmp_path / "m.onnx", SETTINGS)
    model = onnx.load(inside.path)
    assert _parse(model) == 1
    node = next(node for node in model.graph.node if node.op_type == "NonMaxSuppression")
    model.graph.node.remove(node)
    selected = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT64, ["kept", 3])
    model.graph.input.append(selected)
    trt, log = load_trt("tensorrt-rtx"), trt_log("tensorrt-rtx")
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, log).parse(model.SerializeToString())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 3, 64, 64), (1, 3, 64, 64), (8, 3, 64, 64))
    profile.set_shape(node.output[0], (0, 3), (20, 3), (2400, 3))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def _parse(model):
    """Return how many suppression layers TensorRT's parser makes of a model."""
    trt, log = load_trt("tensorrt-rtx"), trt_log("tensorrt-rtx")
    network = trt.Builder(log).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, log).parse(model.SerializeToString())
    kinds = [network.get_layer(index).type for index in range(network.num_layers)]
    return kinds.count(trt.LayerType.NMS)


def test_a_second_suppression_is_refused(suppressing, tmp_path):
    with pytest.raises(
        InputError, match="suppresses inside the graph already\n  expected: an ONNX file with raw"
    ):
        append_nms(suppressing["fp32"][1], tmp_path / "m.onnx", SETTINGS)
    engine = dataclasses.replace(suppressing["fp32"][0], format="engine")
    assert isinstance(engine, Artifact)
    with pytest.raises(InputError, match="format 'engine'\n  expected: an ONNX file with raw predictions"):
        append_nms(engine, tmp_path / "m.onnx", SETTINGS)


def test_an_old_opset_is_refused(tmp_path):
    """A foreign file of two classes, whose predictions are its own pixels."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["images", "shape"], ["predictions"])],
        "old",
        [helper.make_tensor_value_info("images", kind, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("predictions", kind, [1, 6, 2048])],
        [onnx.numpy_helper.from_array(np.array([1, 6, 2048]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    helper.set_model_props(model, {"names": "['a', 'b']"})
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"old\.onnx: opset 12\n  expected: opset 13 or newer"):
        append_nms(artifact_from_file(tmp_path / "old.onnx"), tmp_path / "m.onnx", SETTINGS)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_network_that_overflows_does_not_just_find_nothing(artifacts, tmp_path, name):
    """Of two images the second has NaN scores: it is told, as of raw predictions, and the first one's rows stay."""
    inside = append_nms(artifacts.fp32, tmp_path / "m.onnx", SETTINGS)
    images = random_images(2)
    protocol = dataclasses.replace(PROTOCOL, image_size=64)
    with RUNTIMES[name].open(inside, threads=1) as runner:
        whole = runner.run(images)
        images[1] = np.nan
        rows = runner.run(images)
    np.testing.assert_array_equal(rows[0], whole[0])
    assert len(detections_from_rows(rows[0], protocol, SETTINGS))
    with pytest.raises(InputError, match="300 of 300 scores are NaN"):
        detections_from_rows(rows[1], protocol, SETTINGS)


def test_an_axis_of_a_name_has_as_many_rows(artifacts, tmp_path):
    """A foreign exporter may name the axis of positions: its size in the file's own words is then 0."""
    model = onnx.load(artifacts.fp32.path)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "anchors"
    onnx.save(model, tmp_path / "named.onnx")
    inside = append_nms(artifact_from_file(tmp_path / "named.onnx"), tmp_path / "m.onnx", SETTINGS)
    same = append_nms(artifacts.fp32, tmp_path / "same.onnx", SETTINGS)
    images = random_images(1)
    with RUNTIMES["onnxruntime"].open(inside, threads=1) as one, RUNTIMES["onnxruntime"].open(same) as other:
        rows = one.run(images)
        assert rows.shape == (1, SETTINGS.max_det, 6)
        np.testing.assert_array_equal(rows, other.run(images))


@pytest.mark.parametrize("opset", [17, 18, 20])
def test_every_opset_that_is_exported(artifacts, opset, tmp_path):
    from slimgate.artifact import export_onnx

    raw = export_onnx(artifacts.detector, tmp_path / "raw.onnx", opset=opset)
    inside = append_nms(raw, tmp_path / "m.onnx", GraphNms(max_det=40))
    protocol = Protocol(image_size=64, max_det=40, multi_label=False)
    images = random_images(2, seed=5)
    with RUNTIMES["onnxruntime"].open(raw) as plain, RUNTIMES["onnxruntime"].open(inside) as runner:
        for prediction, rows in zip(plain.run(images), runner.run(images), strict=True):
            found = detections_from_rows(rows, protocol, runner.nms)
            assert_same(found, detections_from_prediction(prediction, protocol))
