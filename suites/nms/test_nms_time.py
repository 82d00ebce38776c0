"""Suppression on stored candidates: recorded for comparison over time, and held against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from pytest_benchmark.fixture import BenchmarkFixture
from slimgate.detect import Candidates, Protocol, detections_from_prediction, nms
from slimgate.measure import CANDIDATE_SETS, measure_pairs, stored_candidates

pytestmark = pytest.mark.timing


def torchvision_nms(found: Candidates) -> np.ndarray:
    """Return the kept indices of torchvision's NMS, class by class: the fastest exact way it offers."""
    boxes, scores = torch.from_numpy(found.boxes), torch.from_numpy(found.scores)
    classes = torch.from_numpy(found.classes)
    keep = []
    for label in classes.unique():
        members = torch.where(classes == label)[0]
        keep.append(members[torchvision.ops.nms(boxes[members], scores[members], 0.6)])
    kept = torch.cat(keep)
    return kept[scores[kept].argsort(descending=True, stable=True)][:300].numpy()


def slimgate_nms(found: Candidates) -> np.ndarray:
    return nms(found.boxes, found.scores, found.classes, iou=0.6, max_det=300)


def best_candidates(found: Candidates, count: int) -> Candidates:
    """Return the best-scoring candidates: torchvision, which cannot stop early, takes seconds for the whole crowd."""
    best = np.argsort(-found.scores, kind="stable")[:count]
    return Candidates(found.boxes[best], found.scores[best], found.classes[best])


@pytest.mark.parametrize("name", CANDIDATE_SETS)
def test_suppression(benchmark: BenchmarkFixture, name: str) -> None:
    found = stored_candidates(name)
    benchmark.extra_info["candidates"] = len(found)
    kept = benchmark(slimgate_nms, found)
    assert len(kept) == {"few": 8, "typical": 300, "crowded": 300}[name]


@pytest.mark.parametrize("name", CANDIDATE_SETS)
def test_suppression_takes_less_than_half_of_torchvisions_time(name: str) -> None:
    found = best_candidates(stored_candidates(name), 8400)
    result = measure_pairs(lambda: torchvision_nms(found), lambda: slimgate_nms(found), rounds=11)
    assert result.interval[1] < 0.5, f"{name}: {result.ratio:.3f} of torchvision's time, {result.interval}"


def test_decoding_and_suppressing_a_whole_prediction(benchmark: BenchmarkFixture) -> None:
    """8,400 positions and 80 classes with 43,000 candidates: the stored crowd laid out as a network emits it."""
    found = stored_candidates("crowded")
    positions = 8400
    output = np.zeros((84, positions), dtype=np.float32)
    slots = np.arange(len(found)) % positions
    output[0, slots], output[1, slots] = found.boxes[:, 0], found.boxes[:, 1]
    output[2, slots], output[3, slots] = 40, 40
    output[4 + found.classes, slots] = found.scores
    detections = benchmark(detections_from_prediction, output, Protocol(image_size=1280))
    assert len(detections) == 300
