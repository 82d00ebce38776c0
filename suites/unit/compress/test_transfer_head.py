"""From the legacy family to one that trains: which tensors go along, and that the lineage says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.errors import InputError
from slimgate.flow import Detector, Family
from slimgate.model import load_detector, save_checkpoint

TRANSFER = "transfer-head:0"


def test_backbone_and_neck_go_along_and_the_head_is_new(
    tiny_legacy_detector: Detector, tmp_path: Path
) -> None:
    moved = apply_operations(tiny_legacy_detector, [parse_operation(TRANSFER)])
    assert moved.family is Family.ULTRALYTICS
    assert (moved.class_names, moved.image_size) == (
        tiny_legacy_detector.class_names,
        tiny_legacy_detector.image_size,
    )
    theirs, own = tiny_legacy_detector.module.state_dict(), moved.module.state_dict()
    body = [key for key in theirs if not key.startswith("model.8.")]
    assert all(torch.equal(own[key], theirs[key]) for key in body)
    (step,) = moved.lineage
    assert step.notes == {
        "tensors_taken": len(body),
        "tensors": len(own),
        "tensors_left": len(theirs) - len(body),
    }
    again = load_detector(save_checkpoint(moved, tmp_path / "moved"))
    assert again.weights_sha256 == moved.weights_sha256
    assert again.module(torch.zeros(1, 3, 64, 64)).shape[1] == 4 + len(moved.class_names)


def test_the_features_that_the_head_reads_are_the_same(tiny_legacy_detector: Detector) -> None:
    moved = apply_operations(tiny_legacy_detector, [parse_operation(TRANSFER)])
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = []
    for detector in (tiny_legacy_detector, moved):
        caught: list[torch.Tensor] = []
        handle = detector.module.model[7].register_forward_hook(
            lambda _, __, output, caught=caught: caught.append(output)
        )
        with torch.no_grad():
            detector.module(images)
        handle.remove()
        features.append(caught[0])
    assert torch.equal(*features)


def test_the_head_follows_the_seed(tiny_legacy_detector: Detector) -> None:
    first, same, other = (
        apply_operations(tiny_legacy_detector, [parse_operation(f"transfer-head:{seed}")]).weights_sha256
        for seed in (0, 0, 1)
    )
    assert first == same != other


def test_an_anchor_free_detector_is_refused(tiny_detector: Detector) -> None:
    with pytest.raises(InputError, match="has that head already"):
        apply_operations(tiny_detector, [parse_operation(TRANSFER)])
