"""Layers that go leave the others as they were: what is left computes what the whole did with those silenced."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.distill import Teacher
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import (
    build_module,
    count_flops,
    count_parameters,
    load_detector,
    save_checkpoint,
    strides_of,
)
from torch import nn

from fixtures.specs import NetworkSpec, architecture_from_spec, build_from_spec, specs

torch.set_num_threads(1)
_fewer = settings(max_examples=max(settings.default.max_examples // 3, 10))


def _apply(detector: Detector, *texts: str) -> Detector:
    return apply_operations(detector, [parse_operation(text) for text in texts])


def _outputs(module: nn.Module) -> torch.Tensor:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        return torch.Tensor(copy.deepcopy(module).double().eval()(pictures))


def _silence(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda _layer, _given, made: torch.zeros_like(made))


LEANING = ("Bottleneck", "DWConv")
"""In the neck, one adds to what was concatenated, one has groups of it: neither can do without a part of it."""


@_fewer
@given(spec=specs(), ratio=st.sampled_from([0.0, 0.4]))
@example(spec=NetworkSpec(neck="DWConv"), ratio=0.0)  # the weights of its 16 groups would fit 8 as well
@example(spec=NetworkSpec(widths=(8, 16, 8), neck="DWConv"), ratio=0.0)
def test_without_the_coarsest_level_the_finer_one_sees_zeros_where_it_was(
    spec: NetworkSpec, ratio: float
) -> None:
    detector = build_from_spec(spec)
    if spec.neck in LEANING:
        with pytest.raises(InputError, match="does not fit what is left"):
            _apply(detector, "drop-levels:1")
        return
    if ratio:
        detector = _apply(detector, f"slim:{ratio},importance=l2,multiple=4,narrow=keep,capped=accept")
    whole = copy.deepcopy(detector.module)
    _silence(whole.get_submodule("model.5"))
    after = _apply(detector, "drop-levels:1")

    assert strides_of(after.module) == (4,)
    assert after.stride == 4
    finer = _outputs(whole)[..., : _outputs(after.module).shape[-1]]
    assert torch.allclose(_outputs(after.module), finer, atol=1e-9)
    assert count_flops(after) < count_flops(detector)
    assert count_parameters(after.module).total < count_parameters(detector.module).total


@given(spec=specs(), most=st.integers(1, 2))
def test_without_a_block_what_passed_it_by_goes_on(spec: NetworkSpec, most: int) -> None:
    spec = replace(spec, block="C3", depth=3)
    detector = build_from_spec(spec)
    after = _apply(detector, f"shallow:{most}")

    dropped = after.lineage[-1].notes["dropped"]["model.2.m"]
    assert len(dropped) == 3 - most
    whole = copy.deepcopy(detector.module)
    for number in dropped:
        last = whole.get_submodule(f"model.2.m.{number}.cv2.bn")
        last.weight.data.zero_()
        last.bias.data.zero_()
    assert torch.allclose(_outputs(after.module), _outputs(whole), atol=1e-9)


@settings(max_examples=10)
@given(spec=specs())
def test_both_are_in_the_checkpoint_and_can_be_slimmed(spec: NetworkSpec) -> None:
    detector = build_from_spec(replace(spec, block="C3", depth=2, neck="C3"))
    texts = ["shallow:1", "drop-levels:1", "slim:0.3,importance=l2,multiple=4,narrow=keep,capped=accept"]
    after = _apply(detector, *texts)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_detector(save_checkpoint(after, Path(folder) / "after"))
    assert torch.equal(_outputs(loaded.module), _outputs(after.module))
    again = build_module(after.architecture, family=after.family, class_count=3)
    again.load_state_dict(after.module.state_dict())


def test_the_blocks_that_add_most_stay() -> None:
    detector = build_from_spec(NetworkSpec(depth=3))
    with torch.no_grad():
        for number, scale in enumerate((0.2, 0.9, 0.5)):
            detector.module.get_submodule(f"model.2.m.{number}.cv2.bn").weight.fill_(scale)
    assert _apply(detector, "shallow:1").lineage[-1].notes == {"dropped": {"model.2.m": [0, 2]}}
    assert _apply(detector, "shallow:2").lineage[-1].notes == {"dropped": {"model.2.m": [0]}}


@pytest.mark.parametrize("family", Family)
def test_a_detector_keeps_one_level(family: Family) -> None:
    with pytest.raises(UsageError) as caught:
        _apply(build_from_spec(NetworkSpec(family=family)), "drop-levels:2")
    assert str(caught.value) == (
        "drop-levels of drawn: 2 of its 2 levels (strides 4, 8)\n"
        "  expected: at most 1: a detector has at least one level\n"
        "  what to do: write drop-levels:1 or less"
    )


def test_a_network_that_leans_on_the_level_is_refused() -> None:
    with pytest.raises(InputError, match=r"left: model\.7 \(add: False in place of True\)"):
        _apply(build_from_spec(NetworkSpec(neck="Bottleneck")), "drop-levels:1")
    with pytest.raises(InputError, match=r"left: model\.7\.conv \(groups: 16 in place of 32\)"):
        _apply(build_from_spec(NetworkSpec(neck="DWConv")), "drop-levels:1")


def test_nothing_to_make_shallow_is_refused() -> None:
    with pytest.raises(InputError, match="no C3 stage of more than 1 blocks"):
        _apply(build_from_spec(NetworkSpec()), "shallow:1")


def test_a_teacher_with_more_levels_teaches_those_of_the_student() -> None:
    detector = build_from_spec(NetworkSpec())
    pictures = torch.rand(2, 3, 64, 64)
    everything = Teacher(detector, strides=(4, 8), half=False).outputs(pictures)
    finer = Teacher(detector, strides=(4,), half=False).outputs(pictures)
    coarser = Teacher(detector, strides=(8,), half=False).outputs(pictures)
    for key, whole in everything.items():
        assert whole.shape[-1] == 16 * 16 + 8 * 8
        assert torch.equal(torch.cat([finer[key], coarser[key]], dim=-1), whole)
        assert finer[key].shape[-1] == 16 * 16


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("operation", ["drop-levels:1", "shallow:1"])
def test_layers_that_go_take_their_own_activations_with_them(family: Family, operation: str) -> None:
    spec = NetworkSpec(family=family, depth=2, seed=1)
    plain = build_from_spec(spec)
    paths = ["model.3.act", "model.4.cv1.act", *(f"model.2.m.{k}.cv{n}.act" for k in (0, 1) for n in (1, 2))]
    architecture = {**plain.architecture, "activations": dict.fromkeys(paths, "nn.ReLU()")}
    module = build_module(architecture, family=family, class_count=3)
    module.load_state_dict(plain.module.state_dict())
    after = _apply(replace(plain, architecture=architecture, module=module), operation)
    left = after.architecture["activations"]
    gone = ("model.3.", "model.4.") if operation == "drop-levels:1" else ("model.2.m.1.",)
    assert set(left) == {path for path in paths if not path.startswith(gone)}
    assert all(isinstance(after.module.get_submodule(path), nn.ReLU) for path in left)


@pytest.mark.parametrize("family", Family)
def test_blocks_that_no_number_times_the_depth_multiple_gives(family: Family) -> None:
    # As in YOLOv5x: 1.33 times 1, 2, 3 and 4 is 1, 3, 4 and 5 blocks, and never 2.
    spec = NetworkSpec(family=family, depth=3)
    architecture = architecture_from_spec(spec) | {"depth_multiple": 1.33}
    detector = replace(
        build_from_spec(spec),
        architecture=architecture,
        module=build_module(architecture, family=family, class_count=3),
    )
    assert len(detector.module.get_submodule("model.2.m")) == 4
    after = _apply(detector, "shallow:2")
    assert len(after.module.get_submodule("model.2.m")) == 2
    again = build_module(after.architecture, family=family, class_count=3)
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in after.module.state_dict().items()
    }
