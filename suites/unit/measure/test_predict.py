from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from slimgate.data import Dataset, letterbox, load_dataset, read_image
from slimgate.detect import Protocol, detections_from_prediction
from slimgate.errors import UsageError
from slimgate.flow import Detector
from slimgate.measure import (
    iterate_predictions,
    measure_stages,
    predict_dataset,
    predict_protocols,
    warm_up,
)


class ModuleRunner:
    """A detector's own module behind the part of the runner contract that predicting needs."""

    nms = None

    def __init__(self, detector: Detector, batch: int = 0) -> None:
        self.module, self.batch = detector.module, batch
        self.shapes: list[tuple[int, ...]] = []

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.shapes.append(images.shape)
        with torch.inference_mode():
            output: npt.NDArray[np.float32] = self.module(torch.from_numpy(images)).numpy()
        return output


@pytest.fixture
def dataset(dataset_folder: Path) -> Dataset:
    return load_dataset(dataset_folder)


PROTOCOL = Protocol(image_size=64, max_det=5000)


def test_detections_are_letterboxed_decoded_and_moved_back(tiny_detector: Detector, dataset: Dataset) -> None:
    found = predict_dataset(ModuleRunner(tiny_detector), dataset, PROTOCOL)
    assert all(len(detections) for detections in found)
    for sample, detections in zip(dataset.samples, found, strict=True):
        canvas, placement = letterbox(read_image(sample.path), 64)
        planes = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        expected = detections_from_prediction(ModuleRunner(tiny_detector).run(planes)[0], PROTOCOL)
        np.testing.assert_array_equal(detections.scores, expected.scores)
        np.testing.assert_array_equal(detections.boxes, placement.to_original(expected.boxes))
        assert (detections.boxes[:, 2:] <= [sample.width, sample.height]).all()


def test_batches_change_calls_and_not_results(tiny_detector: Detector, dataset: Dataset) -> None:
    runner = ModuleRunner(tiny_detector)
    together = predict_dataset(runner, dataset, PROTOCOL, batch=4)
    assert [shape[0] for shape in runner.shapes] == [4, 2]
    alone = predict_dataset(ModuleRunner(tiny_detector), dataset, PROTOCOL)
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_fixed_batch_is_filled_up_and_answers_are_cut(tiny_detector: Detector, dataset: Dataset) -> None:
    runner = ModuleRunner(tiny_detector, batch=4)
    fixed = predict_dataset(runner, dataset, PROTOCOL)
    assert [shape[0] for shape in runner.shapes] == [4, 4]
    for ours, theirs in zip(
        fixed, predict_dataset(ModuleRunner(tiny_detector), dataset, PROTOCOL), strict=True
    ):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_two_protocols_cost_one_run(tiny_detector: Detector, dataset: Dataset) -> None:
    runner = ModuleRunner(tiny_detector)
    seen: list[int] = []
    every, deployed = predict_protocols(
        runner, dataset, [PROTOCOL, PROTOCOL.deployed()], batch=3, progress=seen.append
    )
    assert len(runner.shapes) == 2
    assert seen == [1] * 6
    assert sum(map(len, every)) > sum(map(len, deployed)) > 0
    assert all((found.scores > 0.5).all() for found in deployed)


def test_each_image_has_its_times_and_size(tiny_detector: Detector, dataset: Dataset) -> None:
    paths = [sample.path for sample in dataset.samples]
    predictions = list(iterate_predictions(ModuleRunner(tiny_detector), paths, [PROTOCOL]))
    assert [(p.width, p.height) for p in predictions] == [(s.width, s.height) for s in dataset.samples]
    assert all(min(p.preprocess_s, p.inference_s, p.nms_s) > 0 for p in predictions)


def test_stages_are_medians_after_a_warm_up(tiny_detector: Detector, dataset: Dataset) -> None:
    runner = ModuleRunner(tiny_detector)
    paths = [sample.path for sample in dataset.samples]
    stages = measure_stages(runner, paths, PROTOCOL)
    assert len(runner.shapes) == 3 + len(paths)
    assert stages.images == len(paths)
    times = {"preprocess_s", "inference_s", "nms_s"}
    assert set(stages.to_json()) == {*times, "inference_p99_s", "images", "intervals"}
    from slimgate.measure import summarise_stages

    predictions = list(iterate_predictions(runner, paths, [PROTOCOL]))
    assert summarise_stages(predictions).nms_s == statistics.median(p.nms_s for p in predictions)
    # Six images are enough for a median's interval, and far too few for that of the 99 % quantile.
    assert set(stages.intervals) == times
    many = summarise_stages(predictions * 50)
    slowest = max(p.inference_s for p in predictions)
    assert many.inference_p99_s == many.intervals["inference_p99_s"][1] == slowest


def test_stages_need_images(tiny_detector: Detector) -> None:
    with pytest.raises(UsageError, match="stages: no images"):
        measure_stages(ModuleRunner(tiny_detector), [], PROTOCOL)


def test_warm_up_runs_at_the_batch_size(tiny_detector: Detector) -> None:
    runner = ModuleRunner(tiny_detector, batch=2)
    warm_up(runner, PROTOCOL)
    assert runner.shapes == [(2, 3, 64, 64)] * 2
