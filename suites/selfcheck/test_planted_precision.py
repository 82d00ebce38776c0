"""Files that are not the INT8 they say they are: each fault is found by the check that is there for it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from slimgate.artifact import artifact_from_file, write_qdq
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.data import calibration_list, load_dataset
from slimgate.errors import InputError
from slimgate.flow import Status

from fixtures.faults import Caught
from fixtures.planted_models import FP32, INT8, Accepted, Bench, accept, judge_case, measure_shares


@pytest.fixture(scope="module")
def golden(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    """Accept the shares of the files as they were written."""
    healthy = [*measure_shares(INT8, bench.int8.path), *measure_shares(FP32, bench.fp32.path)]
    return accept(tmp_path_factory.mktemp("shares"), healthy)


def _assert_share_fell(golden: Accepted, bench: Bench, path: Path, caught: Caught) -> float:
    """Demand that ``int8_share`` and nothing else is red; return what was measured."""
    (before,) = [one.value for one in measure_shares(INT8, bench.int8.path) if one.metric == "int8_share"]
    red = judge_case(golden, measure_shares(INT8, path))
    assert {(one.case, one.metric, one.status) for one in red} == {(INT8, "int8_share", Status.FAIL)}
    assert red[0].measured is not None
    assert red[0].measured < before
    caught.verdicts(red)
    return red[0].measured


def _drop_activation_pairs(bench: Bench, path: Path, count: int | None) -> None:
    """Write the INT8 file with convolutions that read their input in float: the first ``count``, or all of them.

    The smallest ones come first: those whose share of the arithmetic is easiest to overlook.
    """
    model = load_onnx(bench.int8.path)
    graph = Graph(model)
    quantized = [node for node in graph.convolutions() if node.input[0].endswith("/dequantized")]
    for node in sorted(quantized, key=graph.multiply_accumulates)[:count]:
        node.input[0] = node.input[0].removesuffix("/dequantized")
    onnx.save(model, str(path))


@pytest.mark.fault("one activation pair missing")
def test_one_pair_missing(bench: Bench, golden: Accepted, tmp_path: Path, caught: Caught) -> None:
    """One small convolution back in float: no accuracy shows it, and hardly any time."""
    path = tmp_path / "codes-int8.onnx"
    _drop_activation_pairs(bench, path, 1)
    assert _assert_share_fell(golden, bench, path, caught) > 0.5


@pytest.mark.fault("weights in 8 bits and activations in float")
def test_weights_in_8_bits_and_activations_in_float(
    bench: Bench, golden: Accepted, tmp_path: Path, caught: Caught
) -> None:
    """The file is as small as INT8 and computes in float."""
    path = tmp_path / "codes-int8.onnx"
    _drop_activation_pairs(bench, path, None)
    assert path.stat().st_size < bench.fp32.size_bytes / 3
    assert _assert_share_fell(golden, bench, path, caught) == 0


@pytest.mark.fault("an over-broad pin to float")
def test_an_over_broad_pin_to_float(bench: Bench, golden: Accepted, tmp_path: Path, caught: Caught) -> None:
    """A rule by name that was meant for the head and takes every convolution called ``cv3``."""
    graph = Graph(load_onnx(bench.fp32.path))
    loose = {node.name: "cv3" for node in graph.convolutions() if "/cv3/" in node.name}
    plan = replace(bench.plan, float_nodes={**loose, **bench.plan.float_nodes})
    broad = write_qdq(bench.fp32, plan, tmp_path / "codes-int8.onnx", target="x86")
    assert 0 < _assert_share_fell(golden, bench, broad.path, caught) < 0.9


@pytest.mark.fault("calibrated on evaluated images")
def test_calibration_on_evaluated_images(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    with pytest.raises(InputError) as raised:
        calibration_list(bench.dataset.head(6), count=6, evaluated=bench.dataset)
    caught.error(raised.value)


@pytest.mark.fault("calibrated on evaluated images under other names")
def test_calibration_on_evaluated_images_under_other_names(
    bench: Bench, tmp_path: Path, caught: Caught
) -> None:
    """One copied picture among others, in another folder, under another name."""
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "labels").mkdir()
    shutil.copy(bench.dataset.samples[3].path, images / "train-0001.png")
    for number in (2, 3):
        picture = cv2.imread(str(bench.dataset.samples[number].path))
        cv2.imwrite(str(images / f"train-000{number}.png"), 255 - picture)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [datamatrix, qrcode, barcode]\n")
    with pytest.raises(InputError) as raised:
        calibration_list(load_dataset(tmp_path / "data.yaml"), count=3, evaluated=bench.dataset)
    assert "train-0001.png" in str(raised.value)
    caught.error(raised.value)


@pytest.mark.fault("a plan of other weights")
def test_a_plan_of_other_weights(bench: Bench, tmp_path: Path, caught: Caught) -> None:
    """Stale calibration: the network was trained on, and nothing about it has another name."""
    model = load_onnx(bench.fp32.path)
    (weight,) = (
        one for one in model.graph.initializer if one.name == Graph(model).convolutions()[5].input[1]
    )
    trained = numpy_helper.to_array(weight) * np.float32(1.02)
    weight.CopyFrom(numpy_helper.from_array(trained, weight.name))
    onnx.save(model, str(tmp_path / "trained.onnx"))
    with pytest.raises(InputError) as raised:
        write_qdq(
            artifact_from_file(tmp_path / "trained.onnx"), bench.plan, tmp_path / "stale.onnx", target="x86"
        )
    caught.error(raised.value)
    assert not (tmp_path / "stale.onnx").exists()
