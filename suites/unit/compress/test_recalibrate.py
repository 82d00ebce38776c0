"""Batch norms' statistics anew: numbers worked out by hand, and nothing else changes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from PIL import Image
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.recalibrate import _batches, recompute_statistics
from slimgate.compress.training_data import TrainingData
from slimgate.flow import Detector
from torch import nn


def test_the_statistics_are_plain_averages_over_batches() -> None:
    norm = nn.BatchNorm2d(1, momentum=0.03)
    norm.running_mean.fill_(9.0)
    module = nn.Sequential(norm).eval()
    batches = [torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), torch.tensor([4.0, 8.0]).view(2, 1, 1, 1)]
    assert recompute_statistics(module, batches) == 4
    # Means 1 and 6; unbiased variances 2 and 8.
    assert (float(norm.running_mean), float(norm.running_var)) == (3.5, 5.0)
    assert (norm.momentum, int(norm.num_batches_tracked), norm.training) == (0.03, 0, False)


def test_a_small_last_batch_weighs_as_much_as_its_pictures() -> None:
    norm = nn.BatchNorm2d(1)
    batches = [torch.zeros(6, 1, 2, 2), torch.full((2, 1, 2, 2), 4.0)]
    assert recompute_statistics(nn.Sequential(norm).eval(), batches) == 8
    assert (float(norm.running_mean), float(norm.running_var)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (16, [16]), (17, [17]), (18, [16, 2]), (33, [16, 17])]
)
def test_no_batch_is_of_one_picture_beside_others(count: int, sizes: list[int], tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.new("RGB", (8, 8)).save(path)
    assert [len(batch) for batch in _batches([path] * count, 8)] == sizes


def test_without_pictures_nothing_changes() -> None:
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(9.0)
    assert recompute_statistics(nn.Sequential(norm).eval(), []) == 0
    assert float(norm.running_mean) == 9.0


def test_wrong_statistics_are_repaired_and_no_weight_changes(
    tiny_detector: Detector, pictures: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimgate.compress.recalibrate.read_training_data", lambda source, **counts: pictures)
    step = parse_operation("recalibrate:8")
    right = apply_operations(tiny_detector, [step])
    broken = copy.deepcopy(tiny_detector.module)
    for layer in broken.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean += 5
    import dataclasses

    repaired = apply_operations(dataclasses.replace(tiny_detector, module=broken), [step])
    assert repaired.weights_sha256 == right.weights_sha256
    before, after = tiny_detector.module.state_dict(), right.module.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all("running_" in key for key in changed)
    assert right.lineage[0].notes == {"images": 8, "data": "digest"}
