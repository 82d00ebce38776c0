"""The promise of the built-in set: the same bytes for the same seed, on record."""

from __future__ import annotations

import hashlib
import json
from importlib import resources

import numpy as np
import pytest
from slimgate.data import load_dataset
from slimgate.data.codes import CLASS_NAMES, SPLITS, materialise_split
from slimgate.data.codes.annotations import Box, coco_document, yolo_lines
from slimgate.data.codes.materialise import draw_one
from slimgate.data.codes.splits import digest_of, render_index, split_named, stored_digest
from slimgate.errors import UsageError

PREFIX = 12


def test_class_names_and_their_order():
    assert CLASS_NAMES == ("datamatrix", "qrcode", "barcode")


@pytest.mark.parametrize("name", list(SPLITS))
def test_the_first_pictures_have_the_stored_digest(name):
    split = SPLITS[name]
    found = digest_of(draw_one(split, index)[2] for index in range(PREFIX))
    assert found == stored_digest(split, PREFIX)


@pytest.mark.parametrize("name", list(SPLITS))
def test_every_whole_split_is_on_record(name):
    assert stored_digest(SPLITS[name], SPLITS[name].count) is not None


def test_a_picture_depends_on_its_seed_and_index_alone():
    split = SPLITS["val"]
    alone = render_index(split, 7)
    np.random.default_rng(0).random(10)
    render_index(split, 3)
    again = render_index(split, 7)
    assert np.array_equal(alone.pixels, again.pixels)
    assert np.array_equal(alone.boxes, again.boxes)
    assert not np.array_equal(alone.pixels, render_index(SPLITS["train"], 7).pixels)


def test_evaluated_splits_share_no_seed_with_training():
    trained = {SPLITS["train"].seed, SPLITS["calib"].seed}
    assert SPLITS["val"].seed not in trained
    assert SPLITS["test"].seed not in trained
    assert SPLITS["val"].seed != SPLITS["test"].seed


def test_calibration_is_the_beginning_of_train():
    assert SPLITS["calib"].seed == SPLITS["train"].seed
    assert 512 <= SPLITS["calib"].count <= SPLITS["train"].count
    assert stored_digest(SPLITS["calib"], PREFIX) == stored_digest(SPLITS["train"], PREFIX)


def test_val_has_500_pictures():
    assert SPLITS["val"].count == 500


def test_the_hard_split_holds_300_long_thin_or_small_barcodes():
    text = resources.files("slimgate.data.codes").joinpath("digests.json").read_text(encoding="utf-8")
    assert json.loads(text)["hard_barcodes"]["test"] >= 300


def test_unknown_split_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        split_named("vall")
    assert str(caught.value) == (
        "codes split 'vall': unknown codes split; did you mean 'val'?\n"
        "  expected: one of calib, test, train, val\n"
        "  what to do: use a known codes split"
    )


def test_yolo_lines_and_coco_agree_on_a_hand_computed_box():
    boxes = [Box(category=1, xyxy=(32.0, 64.0, 96.0, 80.0))]
    assert yolo_lines(boxes) == "1 0.200000 0.225000 0.200000 0.050000\n"
    document = coco_document([[], boxes], CLASS_NAMES)
    assert document["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "bbox": [32.0, 64.0, 64.0, 16.0],
            "area": 1024.0,
            "iscrowd": 0,
        }
    ]
    assert [c["name"] for c in document["categories"]] == list(CLASS_NAMES)


def test_digest_is_the_hash_over_the_hex_digests():
    assert digest_of(["ab", "cd"]) == hashlib.sha256(b"abcd").hexdigest()


@pytest.mark.slow
def test_the_whole_hard_split_has_its_digest_and_its_hard_barcodes(tmp_path):
    """Draws all 400 pictures: the digest on record is of the whole, and tests of every day draw only twelve."""
    split = split_named("test")
    dataset = load_dataset(materialise_split("test", tmp_path) / "instances.json")
    manifest = json.loads(next((tmp_path / "codes").glob("test-*/manifest.json")).read_text())
    assert digest_of(manifest["images"]) == manifest["digest"] == stored_digest(split, split.count)
    assert len(dataset) == 400
    barcode = dataset.class_names.index("barcode")
    boxes = np.concatenate([sample.boxes[sample.classes == barcode] for sample in dataset.samples])
    sides = np.sort(boxes[:, 2:] - boxes[:, :2], axis=1)
    # docs/datasets.md: long or thin is a box at least four times as long as wide, small a short side under 20 pixels.
    hard = (sides[:, 1] >= 4 * sides[:, 0]) | (sides[:, 0] < 20)
    assert hard.sum() >= 300
