"""The same architecture with other weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from slimgate.compress import OPERATIONS, apply_operations, parse_operation
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import save_checkpoint
from slimgate.model.slice import positions_from_text

from fixtures.specs import NetworkSpec, build_from_spec


def _applied(detector: Detector, *texts: str) -> Detector:
    return apply_operations(detector, [parse_operation(text) for text in texts])


@pytest.fixture
def whole() -> Detector:
    return build_from_spec(NetworkSpec(widths=(8, 16, 16), block="C2f"))


@pytest.fixture
def pretrained(whole: Detector, tmp_path: Path) -> Path:
    return save_checkpoint(whole, tmp_path / "pretrained")


def test_from_scratch_the_widths_stay_and_the_weights_do_not(whole: Detector) -> None:
    slim = dataclasses.replace(_applied(whole, "slim:0.5,importance=l1,multiple=4"), training={"epochs": 3})
    state = torch.get_rng_state()
    one, same, other = (_applied(slim, f"rederive:seed={seed}") for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.weights_sha256 == same.weights_sha256
    assert len({one.weights_sha256, other.weights_sha256, slim.weights_sha256}) == 3
    assert one.architecture == slim.architecture
    assert {n: t.shape for n, t in one.module.state_dict().items()} == {
        n: t.shape for n, t in slim.module.state_dict().items()
    }
    assert one.lineage[-1].notes == {"tensors": len(one.module.state_dict()), "inherited": 0}
    assert (one.training, slim.training) == ({}, {"epochs": 3})


@pytest.mark.parametrize("family", Family)
def test_what_slimming_kept_is_inherited_through_several_steps(family: Family, tmp_path: Path) -> None:
    """Nothing is trained in between, so inheriting what was kept is having the slim network itself."""
    whole = build_from_spec(NetworkSpec(family=family, block="C2f", down="DWConv", up="deconv4"))
    path = save_checkpoint(whole, tmp_path / "pretrained")
    steps = [f"slim:0.3,importance=random,multiple=1,seed={seed}" for seed in (1, 2, 3)]
    slim = _applied(whole, *steps)
    built = _applied(slim, f"rederive:{path}")
    assert built.weights_sha256 == slim.weights_sha256
    notes = built.lineage[-1].notes
    assert notes["inherited"] == notes["tensors"] == len(slim.module.state_dict())
    assert (notes["weights_name"], notes["weights_sha256"]) == ("drawn", whole.weights_sha256)


@pytest.mark.parametrize("kernel", [2, 4])
def test_a_slim_network_with_deconvolutions_inherits_from_one_with_upsampling(
    kernel: int, tmp_path: Path
) -> None:
    """The positions kept of what arrives at a transposed convolution are not those kept of what leaves it."""
    whole = build_from_spec(NetworkSpec(block="C2f", up="nearest"))
    path = save_checkpoint(whole, tmp_path / "pretrained")
    slim = _applied(whole, f"deconv:{kernel}", "slim:0.4,importance=random,multiple=1,seed=3")
    built = _applied(slim, f"rederive:{path}")
    assert built.weights_sha256 == slim.weights_sha256
    assert built.lineage[-1].notes["inherited"] == len(slim.module.state_dict())


def test_from_scratch_objects_start_as_rare(whole: Detector) -> None:
    built = _applied(whole, "slim:0.5,importance=l1,multiple=4", "rederive")
    biases = [layer[-1].bias for layer in built.module.model[-1].cv3]
    assert all((bias < -5).all() for bias in biases)


def test_the_kept_filters_by_hand(whole: Detector, pretrained: Path) -> None:
    slim = _applied(whole, "slim:0.5,importance=l1,multiple=4")
    built = _applied(slim, f"rederive:{pretrained}")
    kept = slim.lineage[0].notes["kept"]
    assert kept
    stem = positions_from_text(kept.get("model.0.conv", "0-7"))
    rows = positions_from_text(kept.get("model.1.conv", "0-15"))
    expected = whole.module.get_submodule("model.1.conv").weight[rows][:, stem]
    assert torch.equal(built.module.get_submodule("model.1.conv").weight, expected)


def test_the_first_channels_by_hand(whole: Detector, pretrained: Path) -> None:
    slim = _applied(whole, "slim:0.5,importance=random,multiple=4")
    built = _applied(slim, f"rederive:{pretrained},match=first")
    layers = (built.module.get_submodule("model.1.conv"), whole.module.get_submodule("model.1.conv"))
    rows, columns = layers[0].weight.shape[:2]
    assert torch.equal(layers[0].weight, layers[1].weight[:rows, :columns])


def test_other_classes_leave_only_the_outputs_of_the_head_at_random(
    whole: Detector, pretrained: Path
) -> None:
    other = build_from_spec(NetworkSpec(widths=(8, 16, 16), block="C2f", seed=5), class_count=2)
    built = _applied(other, f"rederive:{pretrained},match=first")
    ours, theirs = built.module.state_dict(), whole.module.state_dict()
    different = {name for name, tensor in ours.items() if tensor.shape != theirs[name].shape}
    assert different
    assert all(name.startswith("model.8.cv3.") for name in different)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name not in different)


def test_kept_needs_a_lineage_that_says_so(whole: Detector, pretrained: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _applied(whole, f"rederive:{pretrained}")
    assert str(caught.value) == (
        "match=kept for drawn: no slim in its lineage\n"
        "  expected: a detector whose lineage says which channels were kept\n"
        "  what to do: write match=first, which takes the first channels of every layer"
    )
    padded = _applied(whole, "slim:0.4,importance=random,multiple=1", "align:8")
    with pytest.raises(UsageError, match="match=kept for drawn: channels padded by align"):
        _applied(padded, f"rederive:{pretrained}")


def test_another_family_is_refused(whole: Detector, tmp_path: Path) -> None:
    legacy = save_checkpoint(build_from_spec(NetworkSpec(family=Family.YOLOV5_ANCHOR)), tmp_path / "legacy")
    with pytest.raises(InputError) as caught:
        _applied(whole, f"rederive:{legacy},match=first")
    assert str(caught.value) == (
        "weights drawn: of the family yolov5-anchor\n"
        "  expected: ultralytics, as drawn\n"
        "  what to do: name a pretrained detector of the same family"
    )


def test_a_narrower_detector_is_refused_by_layer(whole: Detector, tmp_path: Path) -> None:
    narrow = save_checkpoint(
        build_from_spec(NetworkSpec(widths=(8, 8, 16), block="C2f")), tmp_path / "narrow"
    )
    with pytest.raises(
        InputError, match=r"weights drawn: \d+ layers do not fit drawn, such as model\.1\.conv\.weight\n"
    ):
        _applied(whole, f"rederive:{narrow},match=first")


def test_a_file_that_is_not_there(whole: Detector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        _applied(whole, f"rederive:{tmp_path / 'none.safetensors'}")


def test_an_empty_path() -> None:
    assert parse_operation("rederive").settings["weights"] is None
    with pytest.raises(UsageError, match=r"rederive weights: an empty path(.|\n)*leave weights out"):
        parse_operation("rederive:weights=")


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("match", ["kept", "first"])
def test_levels_and_blocks_that_went_go_from_the_pretrained_detector_too(
    family: Family, match: str, tmp_path: Path
) -> None:
    whole = build_from_spec(NetworkSpec(family=family, depth=3))
    path = save_checkpoint(whole, tmp_path / "pretrained")
    slim = _applied(whole, "drop-levels:1", "shallow:1", "slim:0.4,importance=random,multiple=1")
    built = _applied(slim, f"rederive:{path},match={match}")
    assert built.lineage[-1].notes["inherited"] == len(slim.module.state_dict())
    assert (built.weights_sha256 == slim.weights_sha256) == (match == "kept")


def test_blocks_removed_after_slim_have_other_names(tmp_path: Path) -> None:
    whole = build_from_spec(NetworkSpec(depth=2))
    path = save_checkpoint(whole, tmp_path / "pretrained")
    slim = _applied(whole, "slim:0.4,importance=l1,multiple=1", "shallow:1")
    with pytest.raises(UsageError) as caught:
        _applied(slim, f"rederive:{path}")
    assert str(caught.value) == (
        "match=kept for drawn: blocks removed after slim, which renames the others\n"
        "  expected: a detector whose lineage says which channels were kept\n"
        "  what to do: write match=first, which takes the first channels of every layer"
    )


def test_the_lineage_names_the_file_without_its_folder(whole: Detector, pretrained: Path) -> None:
    built = _applied(whole, "slim:0.3,importance=l1,multiple=1", f"rederive:{pretrained}")
    assert built.lineage[-1].settings["weights"] == "pretrained.safetensors"


def test_another_file_of_the_same_name_is_another_operation(whole: Detector, pretrained: Path) -> None:
    step = parse_operation(f"rederive:{pretrained}")
    before = OPERATIONS["rederive"].fingerprints(step.settings)
    other = dataclasses.replace(build_from_spec(NetworkSpec(seed=5)), name=whole.name)
    save_checkpoint(other, pretrained)
    assert OPERATIONS["rederive"].fingerprints(step.settings) != before
