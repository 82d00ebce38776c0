"""Faults in what a detector is fed with: pictures, labels, letterbox, colours, classes."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from slimgate.compress.training_data import read_training_data
from slimgate.data import Dataset, check_class_names, inspect_image, load_dataset, read_image
from slimgate.data.letterbox import Letterbox, batch_from_images
from slimgate.errors import InputError
from slimgate.flow import Measurement, Status
from slimgate.measure import predict

from fixtures.datasets import write_dataset
from fixtures.faults import Caught
from fixtures.planted_models import FP32, INT8, Accepted, Bench, Tampered, accept, assert_failed, judge_case

_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def few(bench: Bench) -> Dataset:
    """Return pictures that are few enough to be evaluated again and again."""
    return bench.dataset.head(16)


@pytest.fixture(scope="module")
def healthy(bench: Bench, few: Dataset) -> list[Measurement]:
    return [*bench.run(FP32, bench.fp32, few), *bench.run(INT8, bench.int8, few)]


@pytest.fixture(scope="module")
def golden(healthy: list[Measurement], tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    return accept(tmp_path_factory.mktemp("input"), healthy)


def judge_on(golden: Accepted, healthy: Sequence[Measurement], dataset: Dataset) -> Any:
    """Return what is red about the same numbers of one case on another dataset."""
    provenance = {"dataset_sha256": dataset.sha256, "images": len(dataset)}
    fp32 = [one for one in healthy if one.case == FP32]
    run = [replace(one, provenance={**one.provenance, **provenance}) for one in fp32]
    return judge_case(golden, run)


def remade(dataset: Dataset, *changed: Any) -> Dataset:
    """Return the dataset with its first samples replaced and its fingerprint computed anew."""
    samples = (*changed, *dataset.samples[len(changed) :])
    return Dataset.from_samples(samples, name=dataset.name, class_names=dataset.class_names)


def test_nothing_planted_is_green(
    golden: Accepted, healthy: list[Measurement], bench: Bench, few: Dataset
) -> None:
    assert judge_on(golden, healthy, remade(few)) == ()
    assert judge_case(golden, bench.run(FP32, bench.fp32, few)) == ()


@pytest.mark.fault("labels of two pictures exchanged")
def test_labels_exchanged(golden: Accepted, healthy: list[Measurement], few: Dataset, caught: Caught) -> None:
    first, second = few.samples[:2]
    labels = ("boxes", "classes", "crowd", "areas")
    taken = {name: getattr(second, name) for name in labels}, {name: getattr(first, name) for name in labels}
    red = judge_on(golden, healthy, remade(few, replace(first, **taken[0]), replace(second, **taken[1])))
    assert {verdict.status for verdict in red} == {Status.INVALID}
    caught.verdicts(red)


@pytest.mark.fault("one class label corrected in silence")
def test_a_label_changed(golden: Accepted, healthy: list[Measurement], few: Dataset, caught: Caught) -> None:
    first = few.samples[0]
    classes = first.classes.copy()
    classes[0] = (classes[0] + 1) % len(few.class_names)
    red = judge_on(golden, healthy, remade(few, replace(first, classes=classes)))
    assert {verdict.status for verdict in red} == {Status.INVALID}
    caught.verdicts(red)


@pytest.mark.fault("a picture saved again")
def test_a_picture_saved_again(
    golden: Accepted, healthy: list[Measurement], few: Dataset, tmp_path: Path, caught: Caught
) -> None:
    first = few.samples[0]
    Image.open(first.path).save(tmp_path / first.path.name, quality=30)
    sha256 = inspect_image(tmp_path / first.path.name).sha256
    caught.verdicts(judge_on(golden, healthy, remade(few, replace(first, sha256=sha256))))


def refuse(folder: Path) -> InputError:
    with pytest.raises(InputError) as raised:
        load_dataset(folder)
    return raised.value


@pytest.mark.fault("a picture cut short")
def test_a_picture_cut_short(dataset_folder: Path, caught: Caught) -> None:
    """OpenCV pads it with grey and says nothing."""
    path = dataset_folder / "images" / "0002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    caught.error(refuse(dataset_folder / "instances.json"))


@pytest.mark.fault("a picture that is not there")
def test_a_picture_missing(dataset_folder: Path, caught: Caught) -> None:
    (dataset_folder / "images" / "0003.jpg").unlink()
    caught.error(refuse(dataset_folder / "instances.json"))


@pytest.mark.fault("a picture turned by its EXIF")
def test_a_turned_picture(dataset_folder: Path, caught: Caught) -> None:
    path = dataset_folder / "images" / "0001.jpg"
    picture = Image.open(path)
    exif = picture.getexif()
    exif[_ORIENTATION] = 6
    picture.save(path, exif=exif)
    caught.error(refuse(dataset_folder / "instances.json"))


@pytest.mark.fault("a label of a class that does not exist")
def test_a_class_that_does_not_exist(dataset_folder: Path, caught: Caught) -> None:
    path = dataset_folder / "labels" / "0001.txt"
    path.write_text(path.read_text().replace(path.read_text()[0], "7", 1))
    caught.error(refuse(dataset_folder / "data.yaml"))


@pytest.mark.fault("boxes as corners in a COCO file")
def test_corners_for_sizes(dataset_folder: Path, caught: Caught) -> None:
    path = dataset_folder / "instances.json"
    document = json.loads(path.read_text())
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        one["bbox"] = [x + width, y + height, -width, -height]
    path.write_text(json.dumps(document))
    caught.error(refuse(path))


@pytest.mark.fault("trained on the pictures that are evaluated")
def test_trained_on_evaluated(tmp_path: Path, caught: Caught) -> None:
    write_dataset(tmp_path / "set")
    (tmp_path / "set" / "train").mkdir()
    for kind in ("images", "labels"):
        shutil.copytree(tmp_path / "set" / kind, tmp_path / "set" / "train" / kind)
    text = "path: .\ntrain: train/images\nval: images\nnames: [datamatrix, qrcode, barcode]\n"
    (tmp_path / "set" / "data.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        read_training_data(str(tmp_path / "set" / "data.yaml"))
    caught.error(raised.value)


# What follows is the same for every runtime: torch is given the same wrong pixels, so parity cannot tell.

Prepared = tuple[np.ndarray, list[Letterbox]]


def stretch(images: Sequence[Any], size: int) -> Prepared:
    stretched = [cv2.resize(image, (size, size)) for image in images]
    placements = [
        Letterbox(
            width=image.shape[1],
            height=image.shape[0],
            size=size,
            scale_x=size / image.shape[1],
            scale_y=size / image.shape[0],
            left=0,
            top=0,
        )
        for image in images
    ]
    return np.stack(stretched).transpose(0, 3, 1, 2).astype(np.float32) / 255, placements


def keep_bytes(images: Sequence[Any], size: int) -> Prepared:
    batch, placements = batch_from_images(images, size)
    return batch * 255, placements


def refuse_to_measure(bench: Bench, few: Dataset) -> InputError:
    with bench.open(bench.fp32) as runner, pytest.raises(InputError) as raised:
        bench.measure(FP32, runner, few)
    return raised.value


@pytest.mark.parametrize(
    ("function", "replacement"),
    [
        pytest.param(
            "read_image",
            lambda path: np.ascontiguousarray(read_image(path)[..., ::-1]),
            marks=pytest.mark.fault("blue for red where pictures are read"),
            id="colours",
        ),
        pytest.param(
            "read_image",
            lambda path: np.ascontiguousarray(read_image(path)[:, ::-1]),
            marks=pytest.mark.fault("pictures mirrored where they are read"),
            id="mirrored",
        ),
        pytest.param(
            "batch_from_images",
            keep_bytes,
            marks=pytest.mark.fault("bytes for fractions where pictures are letterboxed"),
            id="bytes",
        ),
        pytest.param(
            "batch_from_images",
            stretch,
            marks=pytest.mark.fault("stretched in place of letterboxed"),
            id="stretched",
        ),
    ],
)
def test_a_fault_on_the_way_to_the_network(
    bench: Bench,
    few: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caught: Caught,
    function: str,
    replacement: Callable[..., Any],
) -> None:
    monkeypatch.setattr(predict, function, replacement)
    caught.error(refuse_to_measure(bench, few))


@pytest.mark.fault("another grey around the picture")
def test_another_padding(bench: Bench, few: Dataset, monkeypatch: pytest.MonkeyPatch, caught: Caught) -> None:
    monkeypatch.setattr(importlib.import_module("slimgate.data.letterbox"), "PADDING", 0)
    caught.error(refuse_to_measure(bench, few))


@pytest.mark.fault("boxes that come back without the border")
def test_a_way_back_without_the_border(
    bench: Bench, few: Dataset, monkeypatch: pytest.MonkeyPatch, caught: Caught
) -> None:
    def forget_the_border(self: Letterbox, boxes: Any) -> Any:
        return boxes / np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)

    monkeypatch.setattr(Letterbox, "to_original", forget_the_border)
    caught.error(refuse_to_measure(bench, few))


@pytest.mark.fault("classes in another order")
def test_classes_in_another_order(bench: Bench, few: Dataset, caught: Caught) -> None:
    turned = replace(few, class_names=few.class_names[::-1])
    with pytest.raises(InputError) as raised:
        check_class_names(bench.detector.class_names, turned)
    caught.error(raised.value)


@pytest.mark.fault("every class index one too high")
def test_class_indices_shifted(bench: Bench, golden: Accepted, few: Dataset, caught: Caught) -> None:
    def shift(predictions: Any) -> Any:
        return np.concatenate([predictions[:, :4], np.roll(predictions[:, 4:], 1, axis=1)], axis=1)

    with bench.open(bench.fp32) as runner:
        red = judge_case(golden, bench.measure(FP32, Tampered(runner, after=shift), few))
    assert_failed(red, FP32, "map50_95", *(f"recall/{name}" for name in few.class_names[:3]))
    caught.verdicts(red, about="recall/")
