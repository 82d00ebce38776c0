from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from slimgate.data import (
    calibration_list,
    check_class_names,
    check_image_size,
    labelled_list,
    load_dataset,
)
from slimgate.errors import InputError, UsageError


def test_equal_names_pass(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    check_class_names(list(dataset.class_names), dataset)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("datamatrix", "qrcode"), "the model has 2 classes, the data 3; only in the data: barcode"),
        (("datamatrix", "qr", "barcode"), "only in the model: qr; only in the data: qrcode"),
        (
            ("qrcode", "datamatrix", "barcode"),
            "the order differs at 0: 'qrcode' in the model, 'datamatrix' in the data, 1: 'datamatrix'",
        ),
    ],
)
def test_other_names_are_refused_with_the_difference(
    dataset_folder: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_class_names(names, load_dataset(dataset_folder))
    assert "class names differ between model and data" in str(caught.value)


def test_image_size_must_be_a_multiple_of_the_stride() -> None:
    check_image_size(320, 32)
    with pytest.raises(UsageError, match=r"image size 330: .*stride 32\n.*\n  what to do: use 320 or 352"):
        check_image_size(330, 32)
    for wrong in (0, -32, 20):
        with pytest.raises(UsageError, match=r"what to do: use 32$"):
            check_image_size(wrong, 32)


def test_calibration_list_is_ordered_and_fingerprinted(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    chosen = calibration_list(dataset, count=3, evaluated=None)
    assert [path.name for path in chosen.paths] == ["0001.jpg", "0002.jpg", "0003.jpg"]
    assert chosen.dataset_sha256 == dataset.sha256
    assert chosen.sha256 == calibration_list(dataset, count=3, evaluated=None).sha256
    backwards = replace(dataset, samples=dataset.samples[::-1])
    assert (
        calibration_list(backwards, count=6, evaluated=None).sha256
        != calibration_list(dataset, count=6, evaluated=None).sha256
    )


def test_calibration_on_an_evaluated_image_is_refused_whatever_its_name(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    renamed = replace(dataset.samples[1], path=Path("other.jpg"), image_id=999)
    evaluated = replace(dataset, name="val", samples=(renamed,))
    assert calibration_list(dataset, count=1, evaluated=evaluated)
    with pytest.raises(
        InputError, match=r"1 of 3 calibration images are also evaluated: 0002\.jpg"
    ) as caught:
        calibration_list(dataset, count=3, evaluated=evaluated)
    assert "no image of 'val'" in str(caught.value)


@pytest.mark.parametrize("count", [0, 7])
def test_calibration_needs_as_many_images_as_asked(dataset_folder: Path, count: int) -> None:
    with pytest.raises(InputError, match=f"6 images, {count} asked for"):
        calibration_list(load_dataset(dataset_folder), count=count, evaluated=None)


def test_labelled_pictures_are_those_that_are_not_calibrated_on(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    calibration = calibration_list(dataset, count=4, evaluated=None)
    labelled = labelled_list(dataset, count=2, calibration=calibration, evaluated=())
    assert [sample.path for sample in labelled.samples] == [sample.path for sample in dataset.samples[4:]]
    assert labelled.sha256 != dataset.sha256


@pytest.mark.parametrize("count", [0, 3])
def test_labelled_pictures_are_as_many_as_asked(dataset_folder: Path, count: int) -> None:
    dataset = load_dataset(dataset_folder)
    calibration = calibration_list(dataset, count=4, evaluated=None)
    with pytest.raises(InputError, match=f"beside those that are calibrated on, {count} asked for"):
        labelled_list(dataset, count=count, calibration=calibration, evaluated=())


def test_pictures_without_a_label_measure_nothing(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    calibration = calibration_list(dataset, count=4, evaluated=None)
    bare = tuple(replace(sample, classes=sample.classes[:0]) for sample in dataset.samples)
    with pytest.raises(InputError, match="2 pictures without a single label") as caught:
        labelled_list(replace(dataset, samples=bare), count=2, calibration=calibration, evaluated=())
    assert "name a dataset with ground truth" in str(caught.value)


def test_labelled_pictures_that_are_evaluated_are_refused(dataset_folder: Path) -> None:
    dataset = load_dataset(dataset_folder)
    calibration = calibration_list(dataset, count=1, evaluated=None)
    with pytest.raises(InputError, match=r"2 of 2 labelled pictures are also evaluated: 0002\.jpg"):
        labelled_list(dataset, count=2, calibration=calibration, evaluated=(dataset,))
