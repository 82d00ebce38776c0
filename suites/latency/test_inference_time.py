"""Inference and NMS of every case, recorded by pytest-benchmark for its history; test_latency.py has the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from slimgate.data import batch_from_images, read_image
from slimgate.detect import compile_kernels, detections_from_prediction
from slimgate.flow import Case
from slimgate.runtime import Runner
from slimgate.study.prepare import Prepared, expand_cases

pytestmark = pytest.mark.timing

NMS_ROUNDS = 30


@pytest.fixture(scope="module")
def network_input(prepared_study: Prepared) -> Any:
    """Return the first evaluated picture as network input."""
    image = read_image(prepared_study.dataset.samples[0].path)
    return batch_from_images([image], prepared_study.protocol.image_size)[0]


@pytest.fixture(scope="module")
def predictions() -> dict[Case, Any]:
    """Return what each case said about that picture, so that a case is opened once for both of its tests."""
    return {}


def test_inference(
    benchmark: BenchmarkFixture,
    gate_case: Case,
    prepared_study: Prepared,
    open_case: Callable[[Case], Runner],
    network_input: Any,
    predictions: dict[Case, Any],
) -> None:
    with open_case(gate_case) as runner:
        benchmark.extra_info.update(runner.describe())
        found = benchmark(runner.run, network_input)
    predictions[gate_case] = found
    assert found.shape[:2] == (1, 4 + len(prepared_study.dataset.class_names))


def test_suppression(
    benchmark: BenchmarkFixture,
    gate_case: Case,
    prepared_study: Prepared,
    open_case: Callable[[Case], Runner],
    network_input: Any,
    predictions: dict[Case, Any],
) -> None:
    spec = next(spec for case, spec, _ in expand_cases(prepared_study.study) if case == gate_case)
    if spec.nms:
        pytest.skip("suppresses inside its file: there is nothing left to time")
    if gate_case not in predictions:
        with open_case(gate_case) as runner:
            predictions[gate_case] = runner.run(network_input)
    protocol = prepared_study.protocol_of(spec)
    compile_kernels()
    detections = benchmark.pedantic(
        detections_from_prediction,
        args=(predictions[gate_case][0], protocol),
        rounds=NMS_ROUNDS,
        warmup_rounds=3,
    )
    benchmark.extra_info["detections"] = len(detections)
    assert len(detections) <= protocol.max_det
    assert (detections.scores > protocol.conf).all()
