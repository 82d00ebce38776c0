"""Reading YOLO datasets: ``images/`` and ``labels/`` folders, with or without a ``data.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.data.checked import build_dataset, inspect_images, require_no_offenders
from slimgate.data.coco_json import LARGEST_ID
from slimgate.data.images import IMAGE_SUFFIXES, list_images
from slimgate.data.sample import Dataset
from slimgate.errors import InputError

_SPLIT_KEYS = ("val", "test", "train")
_LABEL_LINE = "five columns per line: class x-centre y-centre width height, coordinates as fractions 0..1"
_EDGE = 1e-3
"""How far outside 0..1 a coordinate may lie: real tools write rounded numbers."""


def read_yolo(
    source: Path,
    *,
    name: str,
    count: int | None = None,
    split: str | None = None,
) -> Dataset:
    """Return the dataset of a YOLO folder or ``data.yaml``.

    An image without a label file has no objects. A ``data.yaml`` is evaluated on its ``val`` images (else
    ``test``, else ``train``); its ``path`` and image entries are relative to the file's own folder.

    Args:
        source: the ``data.yaml``, or a folder with ``images/`` and ``labels/`` (names from the
            ``data.yaml`` or ``classes.txt`` in it).
        name: the dataset's name.
        count: read only the first ``count`` images.
        split: the key of a ``data.yaml`` to read, such as ``train``; by default as said above.

    Raises:
        InputError: no images, no class names, missing or unreadable images, labels of images that are not
            there, or labels out of range (each with file and line).
    """
    if source.is_dir():
        images = _list_folder(source)
        names = _names_of_folder(source)
    else:
        config = _read_yaml(source)
        names = _names_from_config(source, config)
        images = _images_from_config(source, config, _SPLIT_KEYS if split is None else (split,))
    if not images:
        raise InputError(
            str(source),
            found="no images",
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))} in images/",
            action="put the images there, or point at another folder",
        )
    _require_no_orphans(source, images)
    images = images[:count]
    parsed = _parse_labels(source, [_label_path(image) for image in images], len(names))
    facts = inspect_images(str(source), images)
    rows = []
    for number, path, table, fact in zip(_image_ids(images), images, parsed, facts, strict=True):
        boxes = _pixels_from_fractions(table[:, 1:], fact.width, fact.height)
        rows.append(
            {
                "image_id": number,
                "path": path,
                "boxes": boxes,
                "classes": table[:, 0].astype(np.int64),
                "crowd": np.zeros(len(table), dtype=np.bool_),
                "areas": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            }
        )
    return build_dataset(rows, subject=str(source), name=name, class_names=names, facts=facts)


def _image_ids(images: Sequence[Path]) -> list[int]:
    """Return the numbers that images are named by, as in COCO, else their places; of all of them alike.

    Names such as 20231123150000123 are numbers that the evaluator cannot tell apart.
    """
    stems = [image.stem for image in images]
    # int() itself refuses texts of thousands of digits.
    if all(stem.isdecimal() and len(stem) <= len(str(LARGEST_ID)) for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers) and max(numbers, default=0) <= LARGEST_ID:
            return numbers
    return list(range(1, len(images) + 1))


def named_splits(path: Path) -> tuple[str, ...]:
    """Return which of val, test and train a ``data.yaml`` names images for, in this order.

    Raises:
        InputError: it is not there, or no YAML mapping.
    """
    config = _read_yaml(path)
    return tuple(key for key in _SPLIT_KEYS if config.get(key))


def _list_folder(folder: Path) -> list[Path]:
    images = folder / "images"
    if not images.is_dir():
        raise InputError(
            str(folder),
            found="no folder images/ in it",
            expected="a folder with images/ and labels/, a YOLO data.yaml, or a COCO .json",
            action="point at the folder that holds images/",
        )
    return list_images(images)


def _names_of_folder(folder: Path) -> tuple[str, ...]:
    config, listing = folder / "data.yaml", folder / "classes.txt"
    if config.exists():
        return _names_from_config(config, _read_yaml(config))
    if listing.exists():
        return tuple(line.strip() for line in _read_lines(listing) if line.strip())
    raise InputError(
        str(folder),
        found="no class names",
        expected="a data.yaml with names, or a classes.txt with one name per line",
        action=f"write {listing.name} into the folder",
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            str(path), found="no such file", expected="a YOLO data.yaml", action="check the path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())
        raise InputError(
            str(path), found=f"not YAML ({found})", expected="a YOLO data.yaml", action="correct the file"
        ) from error
    if not isinstance(config, dict):
        raise InputError(
            str(path),
            found="not a YAML mapping",
            expected="a YOLO data.yaml with the keys names and val or train",
            action="correct the file",
        )
    return config


def _names_from_config(path: Path, config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InputError(
            str(path),
            found=f"names is {names!r}",
            expected="names: a list, or a mapping from 0, 1, 2, ... to names",
            action="add the class names to the file",
        )
    count = config.get("nc", len(names))
    if count != len(names):
        raise InputError(
            str(path),
            found=f"nc is {count}, but there are {len(names)} names",
            expected="one name per class",
            action="correct nc, or leave it out",
        )
    return tuple(str(name) for name in names)


def _images_from_config(path: Path, config: dict[str, Any], keys: Sequence[str]) -> list[Path]:
    key = next((key for key in keys if config.get(key)), None)
    if key is None:
        raise InputError(
            str(path),
            found="no images are named" if len(keys) > 1 else f"no {keys[0]} images are named",
            expected=f"one of the keys {', '.join(keys)}" if len(keys) > 1 else f"the key {keys[0]}",
            action="add the folder of the images to the file",
        )
    root = path.parent / str(config.get("path", "."))
    entries = config[key] if isinstance(config[key], list) else [config[key]]
    images: list[Path] = []
    for entry in entries:
        place = next(
            (base / str(entry) for base in (root, path.parent) if (base / str(entry)).exists()), None
        )
        if place is None:
            raise InputError(
                str(path),
                found=f"{key}: {entry} is not there",
                expected=f"a folder or a list of images, relative to {root}",
                action="correct the entry, or path",
            )
        images += list_images(place) if place.is_dir() else _images_from_list(place)
    return images


def _images_from_list(listing: Path) -> list[Path]:
    if listing.suffix.lower() in IMAGE_SUFFIXES:
        return [listing]
    lines = (line.strip() for line in _read_lines(listing))
    return [listing.parent / line for line in lines if line]


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(
            str(path),
            found=f"cannot be read as text ({error})",
            expected="a text file in UTF-8, one entry per line",
            action="save it as UTF-8, or correct what names it",
        ) from None


def _label_path(image: Path) -> Path:
    """Return where YOLO looks for an image's labels: the last ``images`` folder of its path is ``labels``."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _require_no_orphans(source: Path, images: Sequence[Path]) -> None:
    """Refuse label files in whose place among the images there is no image, listed or not."""
    offenders = []
    for folder in sorted({image.parent for image in images}):
        labels = _label_path(folder / "any.jpg").parent
        if labels == folder or not labels.is_dir():
            continue
        pictured = {image.stem for image in list_images(folder)}
        offenders += [
            label.name
            for label in sorted(labels.glob("*.txt"))
            if label.stem not in pictured and label.name != "classes.txt"
        ]
    require_no_offenders(
        str(source),
        offenders,
        found="annotations for images that are not there",
        expected="an image of the same name in images/ for every label file",
        action="add the images, or remove the label files",
    )


def _parse_labels(source: Path, labels: Sequence[Path], class_count: int) -> list[Any]:
    tables = []
    offenders: list[str] = []
    for path in labels:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        rows = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                row, problem = _parse_line(line, class_count)
                rows.append(row)
                if problem:
                    offenders.append(f"{path.name}:{number} ({problem})")
        tables.append(np.array(rows, dtype=np.float64).reshape(-1, 5) if not offenders else None)
    require_no_offenders(
        str(source),
        offenders,
        found="labels out of range or not readable",
        expected=f"{_LABEL_LINE}; classes 0 to {class_count - 1}",
        action="correct these lines",
    )
    return tables


def _parse_line(line: str, class_count: int) -> tuple[list[float], str]:
    columns = line.split()
    if len(columns) != 5:
        return [], f"{len(columns)} columns"
    try:
        row = [float(column) for column in columns]
    except ValueError:
        return [], f"not numbers: {line.strip()}"
    label, *coordinates = row
    if not label.is_integer() or not 0 <= label < class_count:
        return row, f"class {columns[0]}"
    if not all(-_EDGE <= value <= 1 + _EDGE for value in coordinates):
        return row, f"coordinates {' '.join(columns[1:])}"
    return row, ""


def _pixels_from_fractions(fractions: Any, width: int, height: int) -> Any:
    """Return xyxy pixels of ``(n, 4)`` centre-size fractions, clipped to the image."""
    centre, half = fractions[:, :2], fractions[:, 2:] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * np.array([width, height] * 2)
    return np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float64))
