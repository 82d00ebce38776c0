"""What a detector is trained on: read once, checked at the door, named by its digests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slimgate.compress.training_data import fingerprint_data, read_training_data
from slimgate.errors import InputError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a YOLO folder with three pictures to train on and two to validate on."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / "images" / split / f"{index}.png")
            (tmp_path / "set" / "labels" / split / f"{index}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "set" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return tmp_path / "set"


def test_a_folder_and_its_data_yaml_are_the_same(folder: Path) -> None:
    data = read_training_data(str(folder))
    assert data.class_names == ("cat", "dog")
    assert [path.name for path in data.train] == ["0.png", "1.png", "2.png"]
    assert {path.parent.name for path in data.val} == {"val"}
    assert data.facts["train"]["images"] == 3
    assert data.facts["train"]["digest"] != data.facts["val"]["digest"]
    assert read_training_data(str(folder / "data.yaml")).facts == data.facts
    assert fingerprint_data(str(folder)) == data.facts


def test_the_first_pictures_only_have_a_digest_of_their_own(folder: Path) -> None:
    few = read_training_data(str(folder), count=2, val_count=1)
    assert (len(few.train), len(few.val)) == (2, 1)
    assert few.facts["train"]["digest"] != read_training_data(str(folder)).facts["train"]["digest"]
    with pytest.raises(UsageError, match=r"3 images in set:train, 4 asked for"):
        read_training_data(str(folder), count=4)


def test_a_picture_in_both_splits_is_refused(folder: Path) -> None:
    shutil.copy(folder / "images/train/1.png", folder / "images/val/1.png")
    with pytest.raises(
        InputError, match=r"1 of 2 validation images are also trained on: 1\.png\n  expected: no image in"
    ):
        read_training_data(str(folder))


def test_a_folder_without_both_splits_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data\.yaml in it"):
        read_training_data(str(tmp_path))
    with pytest.raises(InputError, match=r"no such data\.yaml"):
        read_training_data(str(tmp_path / "none.yaml"))
    (folder / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    with pytest.raises(InputError, match="no val images are named\n  expected: the key val"):
        read_training_data(str(folder))


def test_the_built_in_set_is_its_own_fingerprint() -> None:
    assert fingerprint_data("codes") == "codes"
