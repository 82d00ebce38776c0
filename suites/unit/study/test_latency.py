"""How fast a detector is beside another one: what is really timed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from slimgate.artifact import artifact_from_file
from slimgate.data import calibration_list, load_dataset
from slimgate.flow import Detector, Precision
from slimgate.study.latency import LatencyMeter

from fixtures.datasets import write_dataset


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Precision]:
    """Return the precisions of the files that are opened, in order."""
    from slimgate import runtime

    opened: list[Precision] = []
    really = runtime.open_model

    def watch(path: str, **given: Any) -> Any:
        opened.append(artifact_from_file(Path(path)).precision)
        return really(path, **given)

    monkeypatch.setattr(runtime, "open_model", watch)
    return opened


@pytest.mark.timing
def test_int8_candidates_are_timed_against_the_original_in_fp32(
    tiny_detector: Detector, tmp_path: Path, timed: list[Precision]
) -> None:
    write_dataset(tmp_path)
    images = calibration_list(load_dataset(str(tmp_path)), count=2, evaluated=None)
    with LatencyMeter(tiny_detector, "onnxruntime", images) as meter:
        ratio = meter.ratio(dataclasses.replace(tiny_detector, name="other"))
    assert 0 < ratio < 20
    assert timed == [Precision.FP32, Precision.INT8]


@pytest.mark.timing
def test_without_images_everything_is_in_fp32(tiny_detector: Detector, timed: list[Precision]) -> None:
    with LatencyMeter(tiny_detector, "onnxruntime") as meter:
        assert 0 < meter.ratio(tiny_detector) < 20
    assert timed == [Precision.FP32, Precision.FP32]
