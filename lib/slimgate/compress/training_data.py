"""What a detector is trained on: two lists of pictures, and the digests that name them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slimgate.data import Dataset, list_images
from slimgate.data.codes import CLASS_NAMES, materialise_split
from slimgate.data.yolo_txt import read_yolo
from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Json

CODES = "codes"
"""The built-in set, by name."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Pictures to train on and to validate on, with their labels where YOLO looks for them.

    Attributes:
        source: what it was read from, as the user wrote it.
        train: the pictures' paths.
        val: the same, for validation.
        class_names: one per class index.
        facts: what the record says: per split the set's name, digest and number of images.
    """

    source: str
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    class_names: tuple[str, ...]
    facts: Mapping[str, Json]


def read_training_data(
    source: str = CODES,
    *,
    count: int = 0,
    val_count: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingData:
    """Return the validated pictures of a source.

    Args:
        source: ``codes`` (drawn on first use), a YOLO ``data.yaml`` with ``train`` and ``val``, or a folder with
            such a file.
        count: the first pictures to train on only; all when 0.
        val_count: the same for validation.
        progress: called with (pictures drawn, pictures to draw).

    Raises:
        InputError: there are no such pictures, labels are out of range, or a picture is in both splits.
        UsageError: a count is larger than the set.
    """
    if source == CODES:
        return _codes(count, val_count, progress)
    path = Path(source)
    config = path / "data.yaml" if path.is_dir() else path
    if config.suffix not in {".yaml", ".yml"} or not config.is_file():
        raise InputError(
            f"data {source}",
            found="no data.yaml in it" if path.is_dir() else "no such data.yaml",
            expected="codes, a YOLO data.yaml with train and val, or a folder with a data.yaml",
            action="name the data.yaml",
        )
    name = config.stem if config.stem != "data" else config.parent.name
    splits = {
        split: _first(read_yolo(config, name=f"{name}:{split}", split=split), most, source)
        for split, most in (("train", count), ("val", val_count))
    }
    _refuse_overlap(source, splits["train"], splits["val"])
    return TrainingData(
        source=str(path.resolve()),
        train=tuple(sample.path for sample in splits["train"].samples),
        val=tuple(sample.path for sample in splits["val"].samples),
        class_names=splits["train"].class_names,
        facts={
            split: {"set": dataset.name, "digest": dataset.sha256, "images": len(dataset)}
            for split, dataset in splits.items()
        },
    )


def fingerprint_data(source: Json) -> Json:
    """Return what decides the pictures of a source: its digests; the built-in set is named by its own."""
    return source if source == CODES else read_training_data(source).facts


def refuse_other_classes(data: TrainingData, class_names: tuple[str, ...], subject: str) -> None:
    """Refuse data whose classes are not the detector's, in the same order.

    Raises:
        InputError: they differ; both lists are named.
    """
    if data.class_names != class_names:
        raise InputError(
            f"data {data.source}",
            found=f"the classes {', '.join(data.class_names)}",
            expected=f"those of {subject}: {', '.join(class_names)}",
            action="train on data with the detector's classes in the same order",
        )


def _codes(count: int, val_count: int, progress: Callable[[int, int], None] | None) -> TrainingData:
    folders = {
        split: materialise_split(split, count=most or None, progress=progress)
        for split, most in (("train", count), ("val", val_count))
    }
    return TrainingData(
        source=CODES,
        train=tuple(list_images(folders["train"] / "images")),
        val=tuple(list_images(folders["val"] / "images")),
        class_names=CLASS_NAMES,
        facts={split: _codes_facts(folder) for split, folder in folders.items()},
    )


def _codes_facts(folder: Path) -> dict[str, Json]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "set": f"codes:{manifest['split']}",
        "digest": manifest["digest"],
        "seed": manifest["seed"],
        "images": len(manifest["images"]),
    }


def _first(dataset: Dataset, count: int, source: str) -> Dataset:
    if count > len(dataset):
        raise UsageError(
            f"data {source}",
            found=f"{len(dataset)} images in {dataset.name}, {count} asked for",
            expected=f"at most {len(dataset)}",
            action="ask for fewer, or 0 for all",
        )
    return dataset.head(count) if count else dataset


def _refuse_overlap(source: str, train: Dataset, val: Dataset) -> None:
    trained = {sample.sha256 for sample in train.samples}
    both = [sample.path.name for sample in val.samples if sample.sha256 in trained]
    if both:
        raise InputError(
            f"data {source}",
            found=f"{len(both)} of {len(val)} validation images are also trained on: {name_offenders(both)}",
            expected="no image in both splits, compared by sha256",
            action="remove them from one of the splits",
        )
