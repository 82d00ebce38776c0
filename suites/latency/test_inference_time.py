"""Inference of every case, recorded by pytest-benchmark for its history; the verdicts are in test_latency.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from slimgate.data import batch_from_images, read_image
from slimgate.flow import Case
from slimgate.runtime import Runner
from slimgate.study.prepare import Prepared

pytestmark = pytest.mark.timing


def test_inference(
    benchmark: BenchmarkFixture,
    gate_case: Case,
    prepared_study: Prepared,
    open_case: Callable[[Case], Runner],
) -> None:
    image = read_image(prepared_study.dataset.samples[0].path)
    network_input, _ = batch_from_images([image], prepared_study.protocol.image_size)
    with open_case(gate_case) as runner:
        benchmark.extra_info.update(runner.describe())
        predictions = benchmark(runner.run, network_input)
    assert predictions.shape[:2] == (1, 4 + len(prepared_study.dataset.class_names))
