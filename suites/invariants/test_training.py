"""What must hold of the pull on scales, the distillation loss and training records, for any numbers."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from slimgate.compress.distill import distillation_loss
from slimgate.compress.sparsify import shrink
from slimgate.compress.training_request import earlier_stages

torch.set_num_threads(1)
VALUES = arrays.arrays("float64", st.integers(1, 20), elements=st.floats(-5, 5)).map(torch.from_numpy)
AMOUNTS = st.floats(0, 3)


@given(VALUES, AMOUNTS)
def test_shrinking_never_grows_and_never_crosses_zero(values: torch.Tensor, amount: float) -> None:
    found = shrink(values, amount)
    assert (found.abs() <= values.abs()).all()
    assert (found * values >= 0).all()
    assert ((values - found).abs() <= amount + 1e-12).all()
    assert (found[values.abs() <= amount] == 0).all()


@given(VALUES, AMOUNTS, AMOUNTS)
def test_two_pulls_are_one_of_their_sum(values: torch.Tensor, first: float, second: float) -> None:
    torch.testing.assert_close(
        shrink(shrink(values, first), second), shrink(values, first + second), rtol=0, atol=1e-9
    )


@given(VALUES, VALUES, AMOUNTS)
def test_a_pull_never_moves_two_scales_apart(one: torch.Tensor, other: torch.Tensor, amount: float) -> None:
    count = min(len(one), len(other))
    before = (one[:count] - other[:count]).abs()
    after = (shrink(one[:count], amount) - shrink(other[:count], amount)).abs()
    assert (after <= before + 1e-12).all()


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 5), st.integers(1, 8), st.integers(1, 6))
def test_the_distillation_loss_is_a_divergence(
    seed: int, pictures: int, classes: int, bins: int, candidates: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def outputs() -> dict[str, torch.Tensor]:
        shapes = {"scores": (pictures, classes, candidates), "boxes": (pictures, 4 * bins, candidates)}
        return {k: 3 * torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}

    student, teacher = outputs(), outputs()
    assert float(distillation_loss(student, teacher, bins=bins)) >= -1e-9
    assert abs(float(distillation_loss(teacher, teacher, bins=bins))) < 1e-9


@given(st.lists(st.text(max_size=3), min_size=1, max_size=6))
def test_nested_records_become_flat_and_stay_as_they_are(names: list[str]) -> None:
    record: dict[str, object] = {}
    for name in names:
        record = {"operation": name} | ({"init_training": record} if record else {})
    flat = earlier_stages(record)
    assert [stage["operation"] for stage in flat] == names
    assert earlier_stages({**flat[-1], "earlier": flat[:-1]}) == flat
