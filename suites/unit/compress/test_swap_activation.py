"""Swapping activations: every layer's, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.errors import UsageError
from slimgate.flow import Detector, Family
from slimgate.model import load_detector, save_checkpoint
from slimgate.model.activation import activations
from torch import nn

from fixtures.detectors import build_detector


def _swapped(detector: Detector, name: str) -> Detector:
    return apply_operations(detector, [parse_operation(f"swap-activation:{name}")])


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize(("name", "kind"), [("relu", nn.ReLU), ("hardswish", nn.Hardswish)])
def test_every_activation_is_another_and_the_weights_are_the_same(
    family: Family, name: str, kind: type[nn.Module], tmp_path: Path
) -> None:
    detector = build_detector(family)
    swapped = _swapped(detector, name)
    found = [type(layer) for _, layer in activations(swapped.module)]
    assert set(found) - {nn.Identity} == {kind}
    assert swapped.weights_sha256 == detector.weights_sha256
    (step,) = swapped.lineage
    assert step.notes == {"layers": sum(kind is other for other in found), "from": ["nn.SiLU()"]}
    again = load_detector(save_checkpoint(swapped, tmp_path / "swapped"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again.module(images), swapped.module(images))
        assert not torch.equal(detector.module(images), swapped.module(images))


def test_back_and_forth_is_the_same_network(tiny_detector: Detector) -> None:
    back = _swapped(_swapped_then_tuned(tiny_detector), "silu")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(back.module(images), tiny_detector.module(images))


def _swapped_then_tuned(detector: Detector) -> Detector:
    """Return a swapped detector as if it had been fine-tuned: swapping twice in a row is not a legal order."""
    import dataclasses

    swapped = _swapped(detector, "relu")
    tuned = dataclasses.replace(swapped.lineage[0], operation="finetune")
    return dataclasses.replace(swapped, lineage=(*swapped.lineage, tuned))


def test_an_activation_of_one_layer_is_swapped_too_and_none_stays_none(tiny_detector: Detector) -> None:
    import dataclasses

    from slimgate.model import build_module

    own = {"model.0.act": "nn.LeakyReLU(0.1)", "model.1.act": "nn.Identity()"}
    architecture = {**tiny_detector.architecture, "activations": own}
    module = build_module(architecture, family=Family.ULTRALYTICS, class_count=3)
    mixed = dataclasses.replace(tiny_detector, architecture=architecture, module=module)
    swapped = _swapped(mixed, "relu")
    found = {path: type(layer) for path, layer in activations(swapped.module)}
    assert (found["model.0.act"], found["model.1.act"]) == (nn.ReLU, nn.Identity)
    assert swapped.lineage[0].notes["from"] == ["nn.LeakyReLU(0.1)", "nn.SiLU()"]


def test_unknown_activations_are_refused() -> None:
    with pytest.raises(UsageError, match=r"swap-activation activation 'gelu': (.|\n)*hardswish, relu, silu"):
        parse_operation("swap-activation:gelu")
