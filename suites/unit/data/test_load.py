from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slimgate.data import held_out_source, load_dataset
from slimgate.data.yolo_txt import _image_ids
from slimgate.detect import Detections
from slimgate.errors import InputError, SlimgateError, UsageError
from slimgate.measure import evaluate_coco

from fixtures.datasets import CLASS_NAMES, SIZES, write_dataset

Edit = Callable[[dict[str, Any]], object]


def edit_coco(folder: Path, change: Edit) -> Path:
    path = folder / "instances.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_coco_and_yolo_of_the_same_data_are_the_same_dataset(dataset_folder: Path) -> None:
    coco = load_dataset(dataset_folder / "instances.json")
    for source in (dataset_folder / "data.yaml", dataset_folder):
        yolo = load_dataset(source)
        assert yolo.class_names == coco.class_names == CLASS_NAMES
        for ours, theirs in zip(yolo.samples, coco.samples, strict=True):
            assert (ours.image_id, ours.sha256) == (theirs.image_id, theirs.sha256)
            np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-9)
            np.testing.assert_array_equal(ours.classes, theirs.classes)
        assert yolo.sha256 == coco.sha256


def test_every_image_is_there_with_its_size(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    assert [(sample.width, sample.height) for sample in dataset.samples] == list(SIZES)
    assert len(dataset.samples[-1].boxes) == 0


def test_to_coco_gives_back_the_annotation_file(dataset_folder: Path) -> None:
    written = json.loads((dataset_folder / "instances.json").read_text())
    document = load_dataset(dataset_folder / "instances.json").to_coco()
    assert document["annotations"] == written["annotations"]
    assert document["categories"] == written["categories"]
    assert document["images"] == written["images"]


def test_crowds_areas_and_sparse_category_ids_are_kept(dataset_folder: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        for category in document["categories"]:
            category["id"] *= 10
        for row in document["annotations"]:
            row["category_id"] *= 10
        document["annotations"][0] |= {"iscrowd": 1, "area": 12.5}

    written = json.loads((dataset_folder / "instances.json").read_text())["annotations"][0]
    dataset = load_dataset(edit_coco(dataset_folder, change))
    assert dataset.category_ids == (10, 20, 30)
    first = dataset.samples[0]
    assert (bool(first.crowd[0]), first.areas[0], first.classes[0]) == (
        True,
        12.5,
        written["category_id"] - 1,
    )


def test_count_reads_only_the_first_images(dataset_folder: Path) -> None:
    whole = load_dataset(dataset_folder)
    for source in (dataset_folder, dataset_folder / "instances.json"):
        some = load_dataset(source, count=2)
        assert len(some) == 2
        assert some.sha256 == whole.head(2).sha256 != whole.sha256
    assert whole.head(99) is whole


def test_fingerprint_follows_content_and_not_place_or_order(dataset_folder: Path, tmp_path: Path) -> None:
    original = load_dataset(dataset_folder / "instances.json")
    moved = tmp_path / "elsewhere"
    shutil.copytree(dataset_folder, moved)
    edit_coco(moved, lambda d: (d["images"].reverse(), d["annotations"].reverse()))
    assert load_dataset(moved / "instances.json").sha256 == original.sha256
    edit_coco(moved, lambda d: d["annotations"][0]["bbox"].__setitem__(0, 1))
    assert load_dataset(moved / "instances.json").sha256 != original.sha256


@pytest.mark.parametrize("key", ["bbox", "category_id", "iscrowd"])
def test_fingerprint_sees_every_part_of_an_annotation(dataset_folder: Path, key: str) -> None:
    original = load_dataset(dataset_folder / "instances.json")
    changed = {"bbox": [0, 0, 9, 9], "category_id": 3, "iscrowd": 1}

    def change(document: dict[str, Any]) -> None:
        row = next(row for row in document["annotations"] if row[key] != changed[key])
        row[key] = changed[key]

    assert load_dataset(edit_coco(dataset_folder, change)).sha256 != original.sha256


def test_names_come_from_classes_txt_too(dataset_folder: Path) -> None:
    (dataset_folder / "data.yaml").unlink()
    (dataset_folder / "classes.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    assert load_dataset(dataset_folder).class_names == CLASS_NAMES


@pytest.mark.parametrize("names", ["{0: a, 1: b, 2: c}", "[a, b, c]", "{2: c, 0: a, 1: b}"])
def test_yaml_names_may_be_a_list_or_a_mapping(dataset_folder: Path, names: str) -> None:
    (dataset_folder / "data.yaml").write_text(f"train: images\nnames: {names}\nnc: 3\n")
    assert load_dataset(dataset_folder / "data.yaml").class_names == ("a", "b", "c")


def test_yaml_may_list_images_in_a_text_file(dataset_folder: Path) -> None:
    (dataset_folder / "val.txt").write_text("./images/0002.jpg\n\nimages/0001.jpg\n")
    (dataset_folder / "data.yaml").write_text(f"val: val.txt\nnames: {list(CLASS_NAMES)}\n")
    names = [sample.path.name for sample in load_dataset(dataset_folder / "data.yaml").samples]
    assert names == ["0002.jpg", "0001.jpg"]


def test_pictures_named_by_numbers_that_float64_cannot_tell_apart_are_numbered_by_place(
    dataset_folder: Path,
) -> None:
    """Names such as a time stamp with milliseconds."""
    for kind, suffix in (("images", "jpg"), ("labels", "txt")):
        for place, path in enumerate(sorted((dataset_folder / kind).glob(f"*.{suffix}"))):
            path.rename(path.with_stem(str(20231123150000123 + place)))
    dataset = load_dataset(dataset_folder)
    assert [sample.image_id for sample in dataset.samples] == list(range(1, len(SIZES) + 1))
    exact = [
        Detections(sample.boxes.astype(np.float32), np.ones(len(sample.boxes), np.float32), sample.classes)
        for sample in dataset.samples
    ]
    assert evaluate_coco(dataset, exact).numbers["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("digits", [16, 20, 5000])
def test_a_name_of_many_digits_is_no_number(dataset_folder: Path, digits: int) -> None:
    if digits > 200:
        names = [Path("1.jpg"), Path("9" * digits + ".jpg")]
        assert _image_ids(names) == [1, 2]
        return
    for kind, suffix in (("images", "jpg"), ("labels", "txt")):
        path = sorted((dataset_folder / kind).glob(f"*.{suffix}"))[0]
        path.rename(path.with_stem("9" * digits))
    assert {sample.image_id for sample in load_dataset(dataset_folder).samples} == set(
        range(1, len(SIZES) + 1)
    )


def test_a_split_may_name_one_picture(dataset_folder: Path) -> None:
    (dataset_folder / "data.yaml").write_text(f"val: images/0002.jpg\nnames: {list(CLASS_NAMES)}\n")
    assert [one.path.name for one in load_dataset(dataset_folder / "data.yaml").samples] == ["0002.jpg"]


@pytest.mark.parametrize("name", ["classes.txt", "val.txt"])
def test_lists_that_are_no_text_are_refused(dataset_folder: Path, name: str) -> None:
    (dataset_folder / "data.yaml").unlink()
    (dataset_folder / name).write_bytes(b"\xff\xfe\x00d")
    source = dataset_folder
    if name == "val.txt":
        source = dataset_folder / "data.yaml"
        source.write_text(f"val: val.txt\nnames: {list(CLASS_NAMES)}\n")
    with pytest.raises(
        InputError, match=rf"{name}: cannot be read as text \(.*\n  expected: a text file in UTF-8"
    ):
        load_dataset(source)


def test_deeply_nested_annotations_are_refused(dataset_folder: Path) -> None:
    (dataset_folder / "instances.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="not JSON"):
        load_dataset(dataset_folder / "instances.json")


def test_what_a_data_yaml_keeps_for_evaluation_is_the_same_for_each_of_its_splits(
    dataset_folder: Path,
) -> None:
    config = dataset_folder / "data.yaml"
    config.write_text("train: images\nval: images\nnames: [a, b, c]\n")
    for source in (str(config), f"{config}:train", f"{config}:val"):
        assert held_out_source(source) == f"{config}:val"
    assert held_out_source(str(dataset_folder)) is None


def truncate(folder: Path, name: str) -> None:
    path = folder / "images" / name
    path.write_bytes(path.read_bytes()[:200])


COCO_FAULTS: dict[str, tuple[Edit, str]] = {
    "no images": (
        lambda d: d["images"].clear() or d["annotations"].clear(),
        r"no images\n  expected: at least one image",
    ),
    "no categories": (lambda d: d["categories"].clear() or d["annotations"].clear(), "no class names"),
    "no list": (lambda d: d.pop("annotations"), "no list 'annotations'"),
    "half an entry": (
        lambda d: d["images"][1].pop("width"),
        r"images without id, file_name, width, height: images\[1\]",
    ),
    "a category id twice": (
        lambda d: (d["categories"][1].update(id=1), d["annotations"].clear()),
        r"category ids used more than once: 1\n  expected: one entry per category",
    ),
    "a category name twice": (
        lambda d: d["categories"][1].update(name=d["categories"][0]["name"]),
        "category names used more than once: datamatrix",
    ),
    "a crowd by a text": (
        lambda d: d["annotations"][0].update(iscrowd="0"),
        r"values of the wrong kind: annotations\[0\] iscrowd '0'\n  expected: .*iscrowd: 0 or 1",
    ),
    "an id that float64 cannot hold": (
        lambda d: d["images"][0].update(id=2**53),
        r"values of the wrong kind: images\[0\] id 9007199254740992\n  expected: id: a whole number below 2\^53",
    ),
    "an id of 400 digits": (
        lambda d: d["images"][0].update(id=10**400),
        r"values of the wrong kind: images\[0\] id 1000",
    ),
    "orphans": (
        lambda d: d["annotations"][0].update(image_id=77),
        r"annotations for images that are not there: annotation 1 \(image 77\)",
    ),
    "unknown category": (
        lambda d: d["annotations"][1].update(category_id=9),
        r"labels out of range: .*annotation 2 \(category 9\)\n  expected: the id of one of the 3 categories",
    ),
    "not a box": (
        lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 4]),
        r"annotation 1 \(\[1, 2, -3, 4\]\)",
    ),
    "NaN box": (lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "finite numbers"),
    "missing picture": (
        lambda d: d["images"][0].update(file_name="gone.jpg"),
        r"1 of 6 images are not there: gone\.jpg",
    ),
    "other size": (
        lambda d: d["images"][0].update(width=640),
        r"image sizes differ: 0001\.jpg \(640×48 annotated, the file 64×48\)",
    ),
    "same id twice": (lambda d: d["images"][0].update(id=2), "image ids used more than once: 2"),
    "image id no number": (
        lambda d: d["images"][0].update(id="first"),
        r"of the wrong kind: images\[0\] id 'first'\n  expected: id: a whole number below 2\^53, file_name: a text",
    ),
    "width no number": (lambda d: d["images"][2].update(width=None), r"wrong kind: images\[2\] width None"),
    "file name no text": (lambda d: d["images"][1].update(file_name=5), r"images\[1\] file_name 5"),
    "category id no number": (lambda d: d["categories"][0].update(id="x"), r"categories\[0\] id 'x'"),
    "image id a list": (
        lambda d: d["annotations"][3].update(image_id=[1]),
        r"annotations\[3\] image_id \[1\]\n  expected: .*area: square pixels",
    ),
    "area no number": (lambda d: d["annotations"][0].update(area="big"), r"annotations\[0\] area 'big'"),
}


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_bad_coco_file_is_refused(dataset_folder: Path, fault: str) -> None:
    change, message = COCO_FAULTS[fault]
    path = edit_coco(dataset_folder, change)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(path)
    assert str(caught.value).startswith(str(path))
    assert "what to do: " in str(caught.value)


def test_json_that_is_none_is_refused(dataset_folder: Path) -> None:
    path = dataset_folder / "instances.json"
    path.write_text('{"images": [')
    with pytest.raises(InputError, match="not JSON"):
        load_dataset(path)
    path.write_text("[1]")
    with pytest.raises(InputError, match="no list 'images'"):
        load_dataset(path)


def test_unreadable_images_are_all_named_up_to_ten(dataset_folder: Path) -> None:
    for name in ("0001.jpg", "0003.jpg"):
        truncate(dataset_folder, name)
    (dataset_folder / "images" / "0004.jpg").write_bytes(b"")
    for source in (dataset_folder, dataset_folder / "instances.json"):
        with pytest.raises(InputError, match=r"3 of 6 images cannot be read: 0001\.jpg") as caught:
            load_dataset(source)
        for part in ("0001.jpg (truncated", "0003.jpg (truncated", "0004.jpg (the file is empty)"):
            assert part in str(caught.value)


def test_many_offenders_are_cut_at_ten(dataset_folder: Path) -> None:
    label = dataset_folder / "labels" / "0001.txt"
    label.write_text("9 .5 .5 .1 .1\n" * 14)
    with pytest.raises(InputError, match=r"0001\.txt:10 \(class 9\) and 4 more"):
        load_dataset(dataset_folder)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("3 .5 .5 .1 .1", "class 3"),
        ("-1 .5 .5 .1 .1", "class -1"),
        ("0.5 .5 .5 .1 .1", "class 0.5"),
        ("0 1.2 .5 .1 .1", "coordinates 1.2 .5 .1 .1"),
        ("0 nan .5 .1 .1", "coordinates nan"),
        ("0 .5 .5 .1", "4 columns"),
        ("0 .5 .5 .1 .1 .9", "6 columns"),
        ("0 a b c d", "not numbers: 0 a b c d"),
    ],
)
def test_label_line_that_is_out_of_range_is_named_by_file_and_line(
    dataset_folder: Path, line: str, problem: str
) -> None:
    label = dataset_folder / "labels" / "0002.txt"
    label.write_text(f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(InputError, match=re.escape(f"0002.txt:2 ({problem}")) as caught:
        load_dataset(dataset_folder)
    assert "classes 0 to 2" in str(caught.value)


def test_labels_of_images_that_are_not_there_are_refused(dataset_folder: Path) -> None:
    (dataset_folder / "labels" / "0777.txt").write_text("0 .5 .5 .1 .1\n")
    with pytest.raises(InputError, match=r"annotations for images that are not there: 0777\.txt"):
        load_dataset(dataset_folder)


YAML_FAULTS = {
    "val: images\n": "names is None",
    "val: images\nnames: {1: a, 2: b}\n": "names is {1: 'a', 2: 'b'}",
    "val: images\nnames: [a]\nnc: 2\n": "nc is 2, but there are 1 names",
    "names: [a]\n": "no images are named",
    "val: pictures\nnames: [a]\n": "val: pictures is not there",
    "- a\n": "not a YAML mapping",
    "a: [\n": "not YAML",
}


@pytest.mark.parametrize("text", YAML_FAULTS)
def test_bad_data_yaml_is_refused(dataset_folder: Path, text: str) -> None:
    (dataset_folder / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=re.escape(YAML_FAULTS[text])):
        load_dataset(dataset_folder / "data.yaml")


def test_folders_that_are_no_dataset_are_refused(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder images/ in it"):
        load_dataset(tmp_path)
    (dataset_folder / "data.yaml").unlink()
    with pytest.raises(
        InputError, match=r"no class names\n  expected: a data.yaml with names, or a classes.txt"
    ):
        load_dataset(dataset_folder)
    shutil.rmtree(dataset_folder / "images")
    (dataset_folder / "images").mkdir()
    (dataset_folder / "classes.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"no images\n  expected: files ending in"):
        load_dataset(dataset_folder)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("coco12", InputError, "no such dataset; did you mean 'coco128'"),
        ("nowhere.json", InputError, "no such dataset"),
        ("codes:vall", SlimgateError, "val"),
    ],
)
def test_unknown_source_is_refused(source: str, kind: type[SlimgateError], message: str) -> None:
    with pytest.raises(kind, match=message):
        load_dataset(source)


def test_other_files_and_counts_are_refused(dataset_folder: Path) -> None:
    with pytest.raises(InputError, match=r"a file ending in '\.jpg'"):
        load_dataset(dataset_folder / "images" / "0001.jpg")
    with pytest.raises(UsageError, match="count: 0"):
        load_dataset(dataset_folder, count=0)


def test_one_split_of_a_data_yaml_is_named_after_a_colon(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "labels-of-mine")
    config = folder / "data.yaml"
    config.write_text(config.read_text() + "train: images\n")
    train = load_dataset(f"{config}:train")
    assert train.name == "labels-of-mine:train"
    assert len(load_dataset(f"{config}:train", count=2)) == 2
    with pytest.raises(InputError, match="no test images are named"):
        load_dataset(f"{config}:test")


def test_a_built_in_name_that_is_almost_right_is_offered_with_any_path_before_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'coco128'"):
        load_dataset(tmp_path / "coco12")
