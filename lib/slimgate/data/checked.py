"""Checks that every dataset format shares, and the checks between a dataset and a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimgate.data.images import ImageFacts, inspect_image
from slimgate.data.sample import Dataset, Sample
from slimgate.errors import InputError, UsageError, name_offenders


def require_no_offenders(
    subject: str, offenders: Iterable[object], *, found: str, expected: str, action: str
) -> None:
    """Raise one error that names up to ten offenders, or do nothing when there are none.

    Raises:
        InputError: there is at least one offender.
    """
    listed = list(offenders)
    if listed:
        raise InputError(
            subject, found=f"{found}: {name_offenders(listed)}", expected=expected, action=action
        )


def inspect_images(subject: str, paths: Sequence[Any]) -> list[ImageFacts]:
    """Return the facts of image files, all of them there and whole.

    Raises:
        InputError: images are missing or cannot be read; up to ten are named, each with the reason.
    """
    facts: list[ImageFacts] = []
    missing: list[str] = []
    damaged: list[str] = []
    for path in paths:
        if not path.exists():
            missing.append(path.name)
            continue
        try:
            facts.append(inspect_image(path))
        except InputError as error:
            damaged.append(f"{path.name} ({error.found})")
    require_no_offenders(
        subject,
        missing,
        found=f"{len(missing)} of {len(paths)} images are not there",
        expected=f"image files in {paths[0].parent if paths else subject}",
        action="put the images beside their annotations, or correct the file names",
    )
    require_no_offenders(
        subject,
        damaged,
        found=f"{len(damaged)} of {len(paths)} images cannot be read",
        expected="whole image files",
        action="replace these files, or leave them out",
    )
    return facts


def build_dataset(
    rows: Sequence[Mapping[str, Any]],
    *,
    subject: str,
    name: str,
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...] | None = None,
    notes: str = "",
    facts: Sequence[ImageFacts] | None = None,
) -> Dataset:
    """Return the dataset of parsed rows after looking at every image file.

    Args:
        rows: per image ``image_id``, ``path``, ``boxes``, ``classes``, ``crowd``, ``areas`` as ``Sample`` has
            them, and ``size`` (width, height) where the annotations claim one.
        subject: what error messages are about.
        name: the dataset's name.
        class_names: one per class index.
        category_ids: COCO category ids; 1, 2, ... when None.
        notes: see ``Dataset``.
        facts: of the image files, where the caller has looked at them already.

    Raises:
        InputError: no images or no classes, missing or unreadable images, or sizes that contradict the
            pictures.
    """
    if not rows:
        raise InputError(
            subject, found="no images", expected="at least one image", action="point at a dataset with images"
        )
    if not class_names:
        raise InputError(
            subject,
            found="no class names",
            expected="at least one class",
            action="add the classes to the annotation file",
        )
    facts = facts or inspect_images(subject, [row["path"] for row in rows])
    require_no_offenders(
        subject,
        [
            f"{row['path'].name} ({row['size'][0]}×{row['size'][1]} annotated, the file {f.width}×{f.height})"
            for row, f in zip(rows, facts, strict=True)
            if row.get("size") not in (None, (f.width, f.height))
        ],
        found="image sizes differ",
        expected="the width and height of the pictures that were annotated",
        action="use the pictures that the annotations were made for",
    )
    samples = tuple(
        Sample(
            image_id=row["image_id"],
            path=row["path"],
            width=f.width,
            height=f.height,
            sha256=f.sha256,
            boxes=row["boxes"],
            classes=row["classes"],
            crowd=row["crowd"],
            areas=row["areas"],
        )
        for row, f in zip(rows, facts, strict=True)
    )
    return Dataset.from_samples(
        samples, name=name, class_names=class_names, category_ids=category_ids, notes=notes
    )


def check_class_names(model_names: Sequence[str], dataset: Dataset) -> None:
    """Refuse a model whose classes are not the dataset's, in the same order.

    Raises:
        InputError: the names differ; lists which classes only one side has, or where the order differs.
    """
    ours, theirs = tuple(model_names), dataset.class_names
    if ours == theirs:
        return
    only_model = [name for name in ours if name not in theirs]
    only_data = [name for name in theirs if name not in ours]
    parts = []
    if len(ours) != len(theirs):
        parts.append(f"the model has {len(ours)} classes, the data {len(theirs)}")
    if only_model:
        parts.append(f"only in the model: {name_offenders(only_model)}")
    if only_data:
        parts.append(f"only in the data: {name_offenders(only_data)}")
    if not parts or not (only_model or only_data):
        moved = [
            f"{index}: '{mine}' in the model, '{other}' in the data"
            for index, (mine, other) in enumerate(zip(ours, theirs, strict=False))
            if mine != other
        ]
        parts.append(f"the order differs at {name_offenders(moved)}")
    raise InputError(
        dataset.name,
        found=f"class names differ between model and data; {'; '.join(parts)}",
        expected="the same class names in the same order",
        action="use data that was labelled for this model, or relabel it",
    )


def check_image_size(image_size: int, stride: int) -> None:
    """Refuse an image size that the network cannot be run at.

    Raises:
        UsageError: ``image_size`` is not a positive multiple of ``stride``; names the two nearest that are.
    """
    if image_size > 0 and image_size % stride == 0:
        return
    below = max(image_size // stride, 1) * stride
    nearest = f"{below}" if image_size < below else f"{below} or {below + stride}"
    raise UsageError(
        f"image size {image_size}",
        found=f"not a positive multiple of the model's stride {stride}",
        expected=f"a multiple of {stride}",
        action=f"use {nearest}",
    )
