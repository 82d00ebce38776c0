"""Sparsity training: the proximal step against numbers worked out by hand, and zeros that arrive."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from slimgate.compress.gammas import BINS, gamma_sparsity, measure_gammas, prunable_norms
from slimgate.compress.sparsify import Sparsity, shrink
from slimgate.errors import InputError
from slimgate.flow import Detector
from slimgate.model import fuse_batchnorm
from torch import nn


def test_shrinking_by_hand() -> None:
    values = torch.tensor([1.0, -0.5, 0.1, -0.1, 0.0])
    torch.testing.assert_close(shrink(values, 0.25), torch.tensor([0.75, -0.25, 0.0, 0.0, 0.0]))


def test_shrinking_is_the_proximal_operator_of_the_l1_norm() -> None:
    """Argmin over z of |z| · t + (z - v)² / 2, by trying every z on a fine grid."""
    grid = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    for value in (-1.3, -0.2, 0.05, 0.9):
        best = float(grid[(0.4 * grid.abs() + (grid - value) ** 2 / 2).argmin()])
        assert float(shrink(torch.tensor(value, dtype=torch.float64), 0.4)) == pytest.approx(best, abs=1e-3)


def _trainer(*, gammas: list[float], averages: list[float], share_done: float, lr: float) -> SimpleNamespace:
    def network(values: list[float]) -> nn.Module:
        layer = nn.BatchNorm2d(len(values))
        layer.weight.data = torch.tensor(values)
        return nn.Sequential(nn.Conv2d(1, len(values), 1), layer)

    live, averaged = network(gammas), network(averages)
    # Plain SGD without gradients moves nothing: what is left is the pull.
    optimizer = torch.optim.SGD(
        [{"params": live[0].parameters(), "lr": 1.0}, {"params": live[1].parameters(), "lr": lr}]
    )
    return SimpleNamespace(
        model=live, ema=SimpleNamespace(ema=averaged), optimizer=optimizer, share_done=share_done
    )


@pytest.mark.parametrize(("share_done", "pull"), [(0.0, 0.0), (0.25, 0.05), (0.5, 0.1), (0.9, 0.1)])
def test_one_step_by_hand(share_done: float, pull: float) -> None:
    """Learning rate 0.2 (of the norms' group) times strength 0.5, which rises over half of the run."""
    trainer = _trainer(gammas=[1.0, -0.3, 0.02], averages=[1.0, 1.0, 1.0], share_done=share_done, lr=0.2)
    recipe = Sparsity(strength=0.5, ramp=0.5)
    recipe.begin(trainer)
    convolution = trainer.model[0].weight.clone()
    trainer.optimizer.step()
    expected = [1.0 - pull, -0.3 + pull, max(0.02 - pull, 0.0)]
    torch.testing.assert_close(trainer.model[1].weight.data, torch.tensor(expected))
    assert torch.equal(trainer.model[0].weight, convolution)


def test_without_a_ramp_the_pull_is_constant() -> None:
    assert [Sparsity(strength=0.5, ramp=0.0).strength_at(share) for share in (0.0, 0.3, 1.0)] == [0.5] * 3


def test_averages_arrive_at_zero_where_the_live_scales_have_and_only_there() -> None:
    trainer = _trainer(gammas=[0.0, 0.05, 0.8], averages=[0.25, 0.25, 0.85], share_done=1.0, lr=0.2)
    recipe = Sparsity(strength=0.5, ramp=0.0)
    recipe.begin(trainer)
    averages = []
    for _ in range(3):
        trainer.optimizer.step()
        recipe.after_update(trainer)
        averages.append(trainer.ema.ema[1].weight.tolist())
    # The second live scale reaches zero in the first step as well; the third never does.
    torch.testing.assert_close(
        torch.tensor(averages), torch.tensor([[0.15, 0.15, 0.85], [0.05, 0.05, 0.85], [0.0, 0.0, 0.85]])
    )
    assert averages[-1][0] == 0.0


def test_the_numbers_of_the_scales_by_hand() -> None:
    layer = nn.BatchNorm2d(8)
    layer.weight.data = torch.tensor([0.0, -2e-3, 5e-3, 0.02, -0.5, 1.0, 1.0, 4.0])
    found = measure_gammas(nn.Sequential(layer))
    assert (found.count, found.largest) == (8, 4.0)
    assert (found.share_zero, found.share_under_hundredth) == (1 / 8, 3 / 8)
    # A thousandth of the largest is 0.004.
    assert found.share_under_thousandth == 2 / 8
    assert found.quantiles["q50"] == pytest.approx((0.02 + 0.5) / 2)
    assert sum(found.histogram) == 8
    by_edge = dict(zip(BINS, found.histogram, strict=True))
    assert (by_edge[0.0], by_edge[1e-3], by_edge[1e-2], by_edge[0.5], by_edge[1.0], by_edge[3.0]) == (
        *(1, 2, 1, 1, 2, 1),
    )
    assert found.is_sparse
    assert found.describe() == "37.5% of 8 scales under 0.01, the median 0.26, the largest 4"
    assert found.to_json()["histogram"] == list(found.histogram)


def test_all_scales_zero_is_sparse() -> None:
    layer = nn.BatchNorm2d(2)
    nn.init.zeros_(layer.weight)
    assert measure_gammas(nn.Sequential(layer)).share_under_thousandth == 1.0


def test_an_ordinary_detector_is_not_sparse(tiny_detector: Detector) -> None:
    found = gamma_sparsity(tiny_detector)
    assert not found.is_sparse
    assert found.count == sum(layer.num_features for layer in prunable_norms(tiny_detector.module).values())


def test_a_detector_without_norms_is_refused(tiny_detector: Detector) -> None:
    import dataclasses

    fused = dataclasses.replace(tiny_detector, module=fuse_batchnorm(tiny_detector.module))
    with pytest.raises(InputError, match="batch norms of tiny-ultralytics: none"):
        gamma_sparsity(fused)
