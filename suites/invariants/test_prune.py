"""What must hold of pruning for any weights, ratio and order."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from slimgate.compress import OPERATIONS, apply_operations
from slimgate.compress.apply import check_order
from slimgate.compress.operation import Operation
from slimgate.compress.prune import kept_mask, prunable_weights
from slimgate.errors import UsageError
from slimgate.flow import Family, Step

from fixtures.detectors import build_detector

torch.set_num_threads(1)
# Each example builds or copies a network.
_fewer = settings(max_examples=max(settings.default.max_examples // 6, 5))
RATIOS = st.floats(0, 1)
# Few distinct values: ties are the rule, as in weights that were stored as float16.
WEIGHTS = arrays.arrays(
    "float32",
    arrays.array_shapes(max_dims=4, max_side=6),
    elements=st.one_of(st.sampled_from([-1.0, 0.0, 1.0, 0.5]), st.floats(-10, 10, width=32)),
).map(torch.from_numpy)
DETECTORS = {family: build_detector(family, seed=11) for family in Family}


@given(WEIGHTS, RATIOS)
def test_exactly_the_smallest_go(weight: torch.Tensor, ratio: float) -> None:
    mask = kept_mask(weight, ratio)
    assert mask.shape == weight.shape
    assert int((~mask).sum()) == round(ratio * weight.numel())
    if mask.any() and not mask.all():
        assert weight[~mask].abs().max() <= weight[mask].abs().min()


@given(WEIGHTS, RATIOS, RATIOS)
def test_a_higher_ratio_drops_everything_a_lower_one_drops(
    weight: torch.Tensor, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert not (kept_mask(weight, high) & ~kept_mask(weight, low)).any()


@given(WEIGHTS, RATIOS)
def test_the_mask_does_not_depend_on_sign_or_scale(weight: torch.Tensor, ratio: float) -> None:
    assert torch.equal(kept_mask(weight, ratio), kept_mask(weight * -4, ratio))


@_fewer
@given(st.sampled_from(Family), RATIOS, st.sampled_from(["global", "layer"]))
def test_kept_weights_are_unchanged_and_pruning_is_repeatable(
    family: Family, ratio: float, scope: str
) -> None:
    detector = DETECTORS[family]
    step = Step(operation="prune", settings={"ratio": ratio, "scope": scope})
    pruned = apply_operations(detector, [step])
    assert pruned.weights_sha256 == apply_operations(detector, [step]).weights_sha256
    before, after = detector.module.state_dict(), pruned.module.state_dict()
    for name, tensor in after.items():
        assert torch.equal(tensor, torch.where(tensor == 0, tensor, before[name]))
    # Pruning to the same ratio again finds the zeros already there.
    assert apply_operations(pruned, [step]).weights_sha256 == pruned.weights_sha256
    expected = sum(w.numel() for w in prunable_weights(pruned.module).values())
    assert pruned.lineage[0].notes["weights"] == expected


@_fewer
@given(st.sampled_from(Family), st.sampled_from(["global", "layer"]))
def test_pruning_nothing_is_the_identity(family: Family, scope: str) -> None:
    detector = DETECTORS[family]
    step = Step(operation="prune", settings={"ratio": 0, "scope": scope})
    assert apply_operations(detector, [step]).weights_sha256 == detector.weights_sha256


@_fewer
@given(
    st.sampled_from(Family), st.lists(RATIOS, min_size=2, max_size=4), st.sampled_from(["global", "layer"])
)
def test_zeros_never_become_fewer(family: Family, ratios: list[float], scope: str) -> None:
    steps = [Step(operation="prune", settings={"ratio": r, "scope": scope}) for r in ratios]
    pruned = apply_operations(DETECTORS[family], steps)
    nonzero = [step.notes["nonzero"] for step in pruned.lineage]
    assert nonzero == sorted(nonzero, reverse=True)
    # In one scope, what went before makes no difference to what the highest ratio leaves.
    alone = apply_operations(DETECTORS[family], [steps[ratios.index(max(ratios))]])
    assert pruned.weights_sha256 == alone.weights_sha256


@given(st.data())
def test_an_order_is_legal_when_every_pair_is(data: st.DataObject) -> None:
    names = ["a", "b", "c"]
    pairs = data.draw(st.sets(st.tuples(st.sampled_from(names), st.sampled_from(names))))
    prune = OPERATIONS["prune"]
    operations = {
        name: Operation(
            name=name,
            summary=prune.summary,
            example=prune.example,
            positional=prune.positional,
            settings=prune.settings,
            successors=frozenset(after for before, after in pairs if before == name),
            apply=prune.apply,
        )
        for name in names
    }
    order = data.draw(st.lists(st.sampled_from(names), max_size=5))
    legal = all((order[i], order[i + 1]) in pairs for i in range(len(order) - 1))
    try:
        check_order(order, operations)
    except UsageError:
        assert not legal
    else:
        assert legal
