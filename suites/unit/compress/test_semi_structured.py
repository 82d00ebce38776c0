"""2:4 pruning against torch's sparsifier, torch's sparse format, and numbers worked out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.prune import prunable_weights
from slimgate.compress.semi_structured import two_of_four_mask, why_not_sparse
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from torch import nn

from fixtures.detectors import build_detector


def _pruned(detector: Detector, text: str = "prune24") -> Detector:
    return apply_operations(detector, [parse_operation(text)])


def test_the_two_largest_of_four_stay_by_hand() -> None:
    weight = torch.tensor([[0.1, -4.0, 3.0, 0.2, 1.0, 0.0, -2.0, 0.5]])
    assert two_of_four_mask(weight).tolist() == [[False, True, True, False, True, False, True, False]]


def test_the_four_are_consecutive_input_channels() -> None:
    """Each kernel position has groups of its own, and an output channel never borrows from another."""
    weight = torch.zeros(1, 4, 1, 2)
    weight[0, :, 0, 0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    weight[0, :, 0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    mask = two_of_four_mask(weight)
    assert mask[0, :, 0, 0].tolist() == [True, True, False, False]
    assert mask[0, :, 0, 1].tolist() == [False, False, True, True]


def test_among_equal_magnitudes_the_first_go() -> None:
    assert two_of_four_mask(torch.ones(1, 4)).tolist() == [[False, False, True, True]]


def test_a_matrix_is_masked_as_torch_masks_it() -> None:
    pruning = pytest.importorskip("torch.ao.pruning")
    torch.manual_seed(0)
    layer = nn.Linear(16, 8, bias=False)
    expected = two_of_four_mask(layer.weight)
    sparsifier = pruning.WeightNormSparsifier(
        sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2
    )
    sparsifier.prepare(model := nn.Sequential(layer), [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    assert torch.equal(model[0].parametrizations.weight[0].mask.bool(), expected)


def test_a_convolution_is_masked_as_torch_masks_its_matrix() -> None:
    """Channels last, a convolution is a matrix whose rows run over its input channels."""
    pruning = pytest.importorskip("torch.ao.pruning")
    torch.manual_seed(1)
    weight = torch.randn(6, 8, 3, 3)
    matrix = nn.Linear(8, 6 * 9, bias=False)
    matrix.weight.data = weight.permute(0, 2, 3, 1).reshape(-1, 8).clone()
    sparsifier = pruning.WeightNormSparsifier(
        sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2
    )
    sparsifier.prepare(model := nn.Sequential(matrix), [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    expected = model[0].parametrizations.weight[0].mask.bool().reshape(6, 3, 3, 8).permute(0, 3, 1, 2)
    assert torch.equal(two_of_four_mask(weight), expected)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("head", ["dense", "sparse"])
def test_what_is_pruned_and_what_is_left(family: Family, head: str) -> None:
    detector = build_detector(family)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(detector.module).items()}
    pruned = _pruned(detector, f"prune24:{head}")
    (step,) = pruned.lineage
    assert (step.operation, step.settings) == ("prune24", {"head": head})
    outputs = {"model.8.m.0", "model.8.m.1"}
    if family is Family.ULTRALYTICS:
        outputs = {f"model.8.cv{branch}.{level}.2" for branch in (2, 3) for level in (0, 1)}
    # The stem reads 3 channels; grouped convolutions of the class branch read one each.
    left = {"model.0.conv"} | (outputs if head == "dense" else set())
    layers = dict(detector.module.named_modules())
    left |= {name for name in before if layers[name].groups > 1 or before[name].shape[1] % 4}
    assert set(step.notes["left"]) == left
    assert set(step.notes["layers"]) == set(before) - left
    assert step.notes["left"]["model.0.conv"] == "3 input channels"
    for name, weight in prunable_weights(pruned.module).items():
        expected = before[name] if name in left else before[name] * two_of_four_mask(before[name])
        assert torch.equal(weight, expected), name
        if name not in left:
            assert step.notes["layers"][name] == {
                "weights": weight.numel(),
                "nonzero": int(weight.count_nonzero()),
            }
            assert int(weight.count_nonzero()) == weight.numel() // 2


def test_everything_but_the_weights_stays(tiny_detector: Detector) -> None:
    before = copy.deepcopy(tiny_detector.module.state_dict())
    pruned = _pruned(tiny_detector)
    changed = {name for name, t in pruned.module.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {f"{name}.weight" for name in pruned.lineage[0].notes["layers"]}
    assert all(torch.equal(before[n], t) for n, t in tiny_detector.module.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 4, 3), ""),
        (nn.Linear(8, 4), ""),
        (nn.Conv2d(6, 4, 3), "6 input channels"),
        (nn.Conv2d(8, 8, 3, groups=2), "2 groups"),
        (nn.ConvTranspose2d(8, 4, 2), "a transposed convolution"),
    ],
)
def test_which_layers_have_sparse_kernels(layer: nn.Module, reason: str) -> None:
    assert why_not_sparse(layer) == reason


def test_a_transposed_convolution_is_left_and_named(tiny_detector: Detector) -> None:
    converted = apply_operations(tiny_detector, [parse_operation("deconv"), parse_operation("prune24")])
    assert converted.lineage[1].notes["left"]["model.5"] == "a transposed convolution"


def test_unstructured_pruning_keeps_the_pattern(tiny_detector: Detector) -> None:
    steps = [parse_operation(text) for text in ("prune24", "prune:0.7", "prune24")]
    pruned = apply_operations(tiny_detector, steps)
    assert pruned.weights_sha256 == apply_operations(tiny_detector, steps[:2]).weights_sha256
    with pytest.raises(UsageError, match="deconv after prune24"):
        _pruned(pruned, "deconv")


def test_no_layer_at_all(tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimgate.compress.semi_structured.why_not_sparse", lambda layer: "5 input channels")
    with pytest.raises(
        InputError, match="2:4 pruning of tiny-ultralytics: no layer whose input channels are a multiple of 4"
    ):
        _pruned(tiny_detector)


def test_weights_that_have_no_magnitude_are_named(tiny_detector: Detector) -> None:
    with torch.no_grad():
        tiny_detector.module.state_dict()["model.1.conv.weight"].view(-1)[:2] = float("nan")
    with pytest.raises(InputError, match=r"NaN or infinite values in model\.1\.conv\.weight \(2 of 576\)"):
        _pruned(tiny_detector)


def test_an_unknown_head() -> None:
    with pytest.raises(UsageError, match="prune24 head 'dens': unknown prune24 head; did you mean 'dense'"):
        parse_operation("prune24:dens")
