"""slimgate's own checkpoints: what is saved is what is loaded, and anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family, Step
from slimgate.model import checkpoint_paths, hash_weights, load_detector, replace_module, save_checkpoint

from fixtures.detectors import build_detector

Edit = Callable[[Callable[[dict[str, Any]], None]], None]


@pytest.fixture
def saved(tmp_path: Path, tiny_detector: Detector) -> Path:
    return save_checkpoint(tiny_detector, tmp_path / "tiny.v1.safetensors")


@pytest.fixture
def edit(saved: Path) -> Edit:
    """Return a function that changes the saved JSON."""

    def change(make: Callable[[dict[str, Any]], None]) -> None:
        file = saved.with_suffix(".json")
        record = json.loads(file.read_text())
        make(record)
        file.write_text(json.dumps(record))

    return change


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_round_trip_changes_nothing(tmp_path: Path, family: Family, suffix: str) -> None:
    step = Step(operation="prune", settings={"ratio": 0.5}, notes={"nonzero": 3})
    built = replace(build_detector(family), training={"epochs": 3, "curve": [0.1, 0.2]}, lineage=(step,))
    save_checkpoint(built, tmp_path / "tiny")
    loaded = load_detector(tmp_path / f"tiny{suffix}")
    assert replace(loaded, module=built.module) == replace(built, source="tiny.safetensors")
    ours, theirs = built.module.state_dict(), loaded.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(built.module(x), loaded.module(x))


def test_the_file_is_plain_safetensors_without_a_pickle(saved: Path, tiny_detector: Detector) -> None:
    tensors = safetensors.numpy.load_file(saved)
    weight = tiny_detector.module.state_dict()["model.0.conv.weight"].numpy()
    assert np.array_equal(tensors["model.0.conv.weight"], weight)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["tiny.v1.json", "tiny.v1.safetensors"]


def test_half_storage_is_half_the_size_and_hashed_as_loaded(tmp_path: Path, tiny_detector: Detector) -> None:
    whole = save_checkpoint(tiny_detector, tmp_path / "whole")
    half = save_checkpoint(tiny_detector, tmp_path / "half", storage="float16")
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    loaded = load_detector(half)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
    weights = tiny_detector.module.state_dict()["model.1.conv.weight"]
    assert torch.equal(loaded.module.state_dict()["model.1.conv.weight"], weights.half().float())
    assert loaded.weights_sha256 == hash_weights(loaded.module) != tiny_detector.weights_sha256


def test_half_storage_refuses_what_it_cannot_hold(tmp_path: Path, tiny_detector: Detector) -> None:
    with torch.no_grad():
        tiny_detector.module.state_dict()["model.0.bn.running_var"][0] = 1e6
    with pytest.raises(InputError, match=r"model\.0\.bn\.running_var reaches 1e\+06"):
        save_checkpoint(tiny_detector, tmp_path / "half", storage="float16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.b", "a.b.json", "a.b.safetensors"])
def test_a_stem_may_hold_dots(name: str) -> None:
    assert checkpoint_paths(Path("x", name)) == (Path("x/a.b.safetensors"), Path("x/a.b.json"))


def test_saving_over_a_checkpoint_replaces_both_files(saved: Path, tiny_detector: Detector) -> None:
    other = build_detector(Family.ULTRALYTICS, seed=9)
    save_checkpoint(other, saved)
    assert load_detector(saved).weights_sha256 == other.weights_sha256 != tiny_detector.weights_sha256


def test_a_place_that_cannot_be_written_to(tmp_path: Path, tiny_detector: Detector) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        save_checkpoint(tiny_detector, tmp_path / "file" / "tiny")


def test_other_weights_under_the_json(saved: Path) -> None:
    json_text = saved.with_suffix(".json").read_text()
    save_checkpoint(build_detector(Family.ULTRALYTICS, seed=9), saved)
    saved.with_suffix(".json").write_text(json_text)
    with pytest.raises(InputError, match=r"tiny\.v1\.safetensors: weights with sha256 \w{12}…"):
        load_detector(saved)


def test_one_changed_bit_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"which tiny\.v1\.json records"):
        load_detector(saved)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_missing_half_of_the_pair(saved: Path, suffix: str) -> None:
    missing = saved.with_suffix(suffix)
    missing.unlink()
    remaining = next(saved.parent.iterdir())
    with pytest.raises(InputError, match=rf"{missing.name}: no such file"):
        load_detector(remaining)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda r: r.update(format="slimgate-checkpoint/2"), r"format 'slimgate-checkpoint/2'"),
        (lambda r: r.pop("format"), r"format None"),
        (lambda r: r.pop("stride"), r"no 'stride'"),
        (lambda r: r.update(image_size="64"), r"'image_size' is a str, not a int"),
        (lambda r: r.update(class_names=["a"]), r"1 class names for an architecture of 3 classes"),
        (lambda r: r.update(class_names=[1, 2, 3]), r"'class_names' is not a list of texts"),
        (lambda r: r.update(image_size=65), r"image size 65 is not a multiple of stride 8"),
        (lambda r: r.update(family="yolo9000"), r"unknown family 'yolo9000'"),
        (lambda r: r.update(lineage=["prune"]), r"'lineage' is not a list of steps"),
        (lambda r: r["architecture"].pop("head"), r"no head"),
        (lambda r: r.update(weights_sha256="0" * 64), r"expected: 000000000000…"),
    ],
)
def test_a_json_that_is_wrong(saved: Path, edit: Edit, change: Callable[[Any], None], found: str) -> None:
    edit(change)
    with pytest.raises(InputError, match=found):
        load_detector(saved)


def test_a_json_that_is_nested_without_end(saved: Path) -> None:
    saved.with_suffix(".json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"tiny.v1.json: not JSON"):
        load_detector(saved)


def test_a_json_that_is_not_json(saved: Path) -> None:
    saved.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"tiny.v1.json: not JSON"):
        load_detector(saved)


def test_a_cut_off_safetensors(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"tiny.v1.safetensors: not a whole safetensors file"):
        load_detector(saved)


def test_tensors_that_do_not_fit_are_all_named(saved: Path) -> None:
    tensors = safetensors.numpy.load_file(saved)
    del tensors["model.0.conv.weight"]
    tensors["model.1.bn.bias"] = np.zeros(7, np.float32)
    tensors["extra"] = np.zeros(1, np.float32)
    safetensors.numpy.save_file(tensors, saved)
    with pytest.raises(InputError) as caught:
        load_detector(saved)
    text = str(caught.value)
    assert "model.0.conv.weight is missing" in text
    assert "model.1.bn.bias is (7,), not (8,)" in text
    assert "extra is not part of the architecture" in text


@pytest.mark.parametrize(("size", "advice"), [(100, "use 96 or 104"), (4, "use 8 or 16"), (0, "use 8 or 16")])
def test_an_image_size_off_the_stride(saved: Path, size: int, advice: str) -> None:
    with pytest.raises(UsageError, match=rf"image size {size}: not a multiple of the stride(.|\n)*{advice}"):
        load_detector(saved, image_size=size)


def test_an_image_size_may_be_chosen(saved: Path) -> None:
    assert load_detector(saved, image_size=128).image_size == 128


@pytest.mark.parametrize("name", ["nothing.pt", "nothing.safetensors", "."])
def test_a_path_that_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a directory" if name == "." else "no such file"):
        load_detector(tmp_path / name)


def test_an_exported_file_cannot_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "best.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(InputError, match=r"an exported \.onnx file, whose weights cannot be changed"):
        load_detector(tmp_path / "best.onnx")


def test_replacing_the_module_updates_hash_and_lineage(tiny_detector: Detector) -> None:
    other = build_detector(Family.ULTRALYTICS, seed=9).module
    step = Step(operation="prune", settings={})
    replaced = replace_module(tiny_detector, other.train(), step)
    assert replaced.module is other
    assert not other.training
    assert replaced.weights_sha256 == hash_weights(other)
    assert replaced.lineage == (step,)
    assert tiny_detector.lineage == ()


def test_the_hash_sees_names_values_and_shapes(tiny_detector: Detector) -> None:
    module = tiny_detector.module
    before = hash_weights(module)
    assert before == hash_weights(module) == tiny_detector.weights_sha256
    state = module.state_dict()
    with torch.no_grad():
        state["model.0.conv.weight"][0, 0, 0, 0] += 1e-6
    assert hash_weights(module) != before
    # -0.0 equals 0.0 but is another byte: a hash of bytes tells them apart.
    with torch.no_grad():
        state["model.0.conv.weight"].zero_()
    zero = hash_weights(module)
    with torch.no_grad():
        state["model.0.conv.weight"].neg_()
    assert hash_weights(module) != zero
