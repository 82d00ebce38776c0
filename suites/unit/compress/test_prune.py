"""Magnitude pruning against torch's own, and against numbers worked out by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.prune import kept_mask, prunable_weights
from slimgate.errors import InputError
from slimgate.flow import Detector, Family, Step
from slimgate.model import load_detector
from torch import nn
from torch.nn.utils import prune as oracle

from fixtures.detectors import build_detector

RATIOS = (0.0, 0.1, 0.3, 0.5, 0.77, 1.0)


def _pruned(detector: Detector, text: str) -> Detector:
    return apply_operations(detector, [parse_operation(text)])


@pytest.mark.parametrize("ratio", RATIOS)
def test_per_layer_is_what_yolov5_does(ratio: float) -> None:
    """YOLOv5's ``prune(model, amount)``: l1_unstructured on every Conv2d, then made permanent."""
    detector = build_detector(Family.YOLOV5_ANCHOR)
    expected = copy.deepcopy(detector.module)
    for layer in expected.modules():
        if isinstance(layer, nn.Conv2d):
            oracle.l1_unstructured(layer, name="weight", amount=ratio)
            oracle.remove(layer, "weight")
    found = _pruned(detector, f"prune:{ratio},scope=layer").module
    theirs = expected.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in found.state_dict().items())


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("ratio", RATIOS)
def test_global_is_what_torch_does(family: Family, ratio: float) -> None:
    detector = build_detector(family)
    expected = copy.deepcopy(detector.module)
    layers = dict(expected.named_modules())
    chosen = [(layers[name], "weight") for name in prunable_weights(expected)]
    oracle.global_unstructured(chosen, pruning_method=oracle.L1Unstructured, amount=ratio)
    for layer, name in chosen:
        oracle.remove(layer, name)
    found = _pruned(detector, f"prune:{ratio}").module
    theirs = expected.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in found.state_dict().items())


def test_what_is_pruned_and_what_is_not(tiny_detector: Detector) -> None:
    weights = prunable_weights(tiny_detector.module)
    layers = {
        name
        for name, layer in tiny_detector.module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    }
    assert set(weights) == layers - {"model.8.dfl.conv"}
    before = copy.deepcopy(tiny_detector.module.state_dict())
    after = _pruned(tiny_detector, "prune:1").module.state_dict()
    for name, tensor in after.items():
        expected = torch.zeros_like(tensor) if name.removesuffix(".weight") in weights else before[name]
        assert torch.equal(tensor, expected), name


def test_transposed_convolutions_and_linear_layers_are_pruned() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Linear(3, 3), nn.BatchNorm2d(2))
    assert set(prunable_weights(module)) == {"0", "1"}


def test_the_smallest_go_by_hand() -> None:
    weight = torch.tensor([[-0.1, 3.0], [0.2, -0.05]])
    assert kept_mask(weight, 0.5).tolist() == [[False, True], [True, False]]


def test_among_equal_magnitudes_the_first_go() -> None:
    weight = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.5])
    assert kept_mask(weight, 0.6).tolist() == [False, False, True, True, False]
    # Far more ties than torch.topk keeps in order.
    many = kept_mask(torch.ones(100_000), 0.25)
    assert not many[:25_000].any()
    assert many[25_000:].all()


@pytest.mark.parametrize(
    ("ratio", "size", "zeros"), [(0.5, 5, 2), (0.5, 7, 4), (0.3, 10, 3), (0.29, 10, 3), (0.001, 10, 0)]
)
def test_the_count_is_rounded_as_torch_does(ratio: float, size: int, zeros: int) -> None:
    weight = torch.randperm(size).float() + 1
    assert int((~kept_mask(weight, ratio)).sum()) == zeros
    mask = oracle.L1Unstructured(ratio).compute_mask(weight, torch.ones(size))
    assert int((mask == 0).sum()) == zeros


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_step_says_what_was_done(tiny_detector: Detector, scope: str) -> None:
    pruned = _pruned(tiny_detector, f"prune:0.3,scope={scope}")
    (step,) = pruned.lineage
    assert (step.operation, step.settings) == ("prune", {"ratio": 0.3, "scope": scope})
    weights = prunable_weights(pruned.module)
    assert step.notes["excluded"] == ["model.8.dfl.conv"]
    assert step.notes["weights"] == sum(w.numel() for w in weights.values())
    assert step.notes["nonzero"] == sum(int((w != 0).sum()) for w in weights.values())
    assert step.notes["sparsity"] == pytest.approx(0.3, abs=0.002 if scope == "global" else 0.01)
    assert set(step.notes["layers"]) == set(weights)
    for name, weight in weights.items():
        layer = step.notes["layers"][name]
        assert layer["weights"] == weight.numel()
        assert layer["nonzero"] == int((weight != 0).sum())
        assert layer["sparsity"] == 1 - layer["nonzero"] / layer["weights"]
    if scope == "global":
        assert step.notes["nonzero"] == step.notes["weights"] - round(0.3 * step.notes["weights"])


def test_the_base_detector_stays_as_it_is(tiny_detector: Detector) -> None:
    before = copy.deepcopy(tiny_detector.module.state_dict())
    pruned = _pruned(tiny_detector, "prune:0.9")
    assert all(torch.equal(before[n], t) for n, t in tiny_detector.module.state_dict().items())
    assert tiny_detector.lineage == ()
    assert pruned.weights_sha256 != tiny_detector.weights_sha256


def test_a_recorded_step_can_be_replayed(tiny_detector: Detector) -> None:
    pruned = _pruned(tiny_detector, "prune:0.4,scope=layer")
    recorded = Step.from_json(pruned.lineage[0].to_json())
    assert apply_operations(tiny_detector, [recorded]).weights_sha256 == pruned.weights_sha256


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_have_no_magnitude_are_named(tiny_detector: Detector, value: float) -> None:
    with torch.no_grad():
        tiny_detector.module.state_dict()["model.1.conv.weight"].view(-1)[:2] = value
    with pytest.raises(InputError, match=r"NaN or infinite values in model\.1\.conv\.weight \(2 of 576\)"):
        _pruned(tiny_detector, "prune:0.1")


def test_the_official_checkpoint_prunes_as_yolov5_prunes_it(official_yolov5n: Path) -> None:
    detector = load_detector(official_yolov5n)
    found = prunable_weights(_pruned(detector, "prune:0.3,scope=layer").module)
    for name, weight in prunable_weights(detector.module).items():
        mask = oracle.L1Unstructured(0.3).compute_mask(weight, torch.ones_like(weight))
        assert int((found[name] == 0).sum()) == int((mask == 0).sum())
        # It was stored as float16: many equal magnitudes, and which of those go is all that may differ.
        differing = weight[(found[name] == 0) != (mask == 0)].abs()
        assert torch.all(differing == weight[found[name] == 0].abs().max())
