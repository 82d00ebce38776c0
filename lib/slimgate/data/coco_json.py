"""Reading COCO ``instances`` files."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.data.checked import build_dataset, require_no_offenders
from slimgate.data.sample import Dataset
from slimgate.errors import InputError

LARGEST_ID = 2**53 - 1
"""Larger whole numbers are not all exact in float64, in which COCO's evaluators carry ids."""

_ACTION = "correct the annotation file, or export it again"


def read_coco(path: Path, *, name: str, count: int | None = None, images: Path | None = None) -> Dataset:
    """Return the dataset of a COCO ``instances`` file.

    Category ids become contiguous class indices in ascending order of id; crowd annotations are kept and
    marked. Boxes that stick out of their image are kept as annotated, as pycocotools does.

    Args:
        path: the JSON file.
        name: the dataset's name.
        count: read only the first ``count`` images of the file.
        images: the folder of the images; ``images/`` beside the file, else the file's own folder, when None.

    Raises:
        InputError: not a COCO file, values of the wrong kind, no images, missing or unreadable images,
            annotations of images or categories that are not there, sizes that contradict the pictures, boxes
            that are not boxes.
    """
    document = _read_document(path)
    folder = images or _image_folder(path)
    categories = sorted(document["categories"], key=lambda category: int(category["id"]))
    _require_once(
        path, [int(category["id"]) for category in categories], "category ids", "entry per category"
    )
    _require_once(
        path, [str(category["name"]) for category in categories], "category names", "name per category"
    )
    category_ids = tuple(int(category["id"]) for category in categories)
    index_of = {number: index for index, number in enumerate(category_ids)}
    records = document["images"]
    annotations = _group_annotations(path, records, document["annotations"], index_of)
    rows = []
    for record in records[:count]:
        boxes, classes, crowd, areas = _columns(annotations[int(record["id"])], index_of)
        rows.append(
            {
                "image_id": int(record["id"]),
                "path": folder / record["file_name"],
                "size": (int(record["width"]), int(record["height"])),
                "boxes": boxes,
                "classes": classes,
                "crowd": crowd,
                "areas": areas,
            }
        )
    return build_dataset(
        rows,
        subject=str(path),
        name=name,
        class_names=tuple(str(category["name"]) for category in categories),
        category_ids=category_ids,
    )


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            str(path), found="no such file", expected="a COCO instances file", action="check the path"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            str(path), found=f"not JSON ({error})", expected="a COCO instances file", action=_ACTION
        ) from error
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(document, dict) or not isinstance(document.get(key), list)
    ]
    if missing:
        raise InputError(
            str(path),
            found=f"no list '{missing[0]}'",
            expected="a COCO instances file: images, annotations, categories",
            action=_ACTION,
        )
    for key, fields in _FIELDS.items():
        require_no_offenders(
            str(path),
            [f"{key}[{i}]" for i, row in enumerate(document[key]) if not _has_fields(row, fields)],
            found=f"{key} without {', '.join(fields)}",
            expected=f"every entry of '{key}' has {', '.join(fields)}",
            action=_ACTION,
        )
        require_no_offenders(
            str(path),
            [
                f"{key}[{i}] {field} {row[field]!r:.40}"
                for i, row in enumerate(document[key])
                for field, (fits, _) in (fields | _OPTIONAL.get(key, {})).items()
                if field in row and not fits(row[field])
            ],
            found="values of the wrong kind",
            expected=", ".join(
                f"{field}: {kind}" for field, (_, kind) in (fields | _OPTIONAL.get(key, {})).items() if kind
            ),
            action=_ACTION,
        )
    return dict(document)


def _is_whole(value: object) -> bool:
    """Return whether a number is whole, and small enough for the evaluator, which keeps ids as float64."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST_ID:
        return False
    return float(value).is_integer()


def _is_flag(value: object) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value)) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_anything(value: object) -> bool:
    return True


_WHOLE = (_is_whole, "a whole number below 2^53")
_TEXT = (_is_text, "a text")
_FIELDS: Mapping[str, dict[str, tuple[Callable[[object], bool], str]]] = {
    "images": {"id": _WHOLE, "file_name": _TEXT, "width": _WHOLE, "height": _WHOLE},
    # Boxes are held against what a box is, further down.
    "annotations": {"image_id": _WHOLE, "category_id": _WHOLE, "bbox": (_is_anything, "")},
    "categories": {"id": _WHOLE, "name": (_is_anything, "")},
}
_OPTIONAL: Mapping[str, dict[str, tuple[Callable[[object], bool], str]]] = {
    "annotations": {"area": (_is_amount, "square pixels"), "iscrowd": (_is_flag, "0 or 1")},
}
"""What each entry must have and may have, and what kind of value that is."""


def _has_fields(row: object, fields: Iterable[str]) -> bool:
    return isinstance(row, dict) and all(field in row for field in fields)


def _image_folder(path: Path) -> Path:
    beside = path.parent / "images"
    return beside if beside.is_dir() else path.parent


def _group_annotations(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    index_of: Mapping[int, int],
) -> dict[int, list[Mapping[str, Any]]]:
    """Return annotations by image id, every one of them usable."""
    known = {int(record["id"]) for record in records}
    _require_once(path, [int(record["id"]) for record in records], "image ids", "entry per image")
    labels = [f"annotation {row.get('id', f'[{i}]')}" for i, row in enumerate(annotations)]
    require_no_offenders(
        str(path),
        [
            f"{label} (image {row['image_id']})"
            for label, row in zip(labels, annotations, strict=True)
            if row["image_id"] not in known
        ],
        found="annotations for images that are not there",
        expected=f"the image_id of one of the {len(known)} images",
        action=_ACTION,
    )
    require_no_offenders(
        str(path),
        [
            f"{label} (category {row['category_id']})"
            for label, row in zip(labels, annotations, strict=True)
            if row["category_id"] not in index_of
        ],
        found="labels out of range: categories that the file does not define",
        expected=f"the id of one of the {len(index_of)} categories",
        action=_ACTION,
    )
    require_no_offenders(
        str(path),
        [
            f"{label} ({row['bbox']})"
            for label, row in zip(labels, annotations, strict=True)
            if not _is_box(row["bbox"])
        ],
        found="boxes that are not [x, y, width, height] with finite numbers and no negative side",
        expected="pixels, xywh",
        action=_ACTION,
    )
    grouped: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in annotations:
        grouped[int(row["image_id"])].append(row)
    return grouped


def _require_once(path: Path, values: Sequence[int | str], what: str, expected: str) -> None:
    require_no_offenders(
        str(path),
        [str(value) for value, times in Counter(values).items() if times > 1],
        found=f"{what} used more than once",
        expected=f"one {expected}",
        action=_ACTION,
    )


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    if not all(isinstance(number, int | float) and np.isfinite(number) for number in value):
        return False
    return bool(value[2] >= 0 and value[3] >= 0)


def _columns(rows: Sequence[Mapping[str, Any]], index_of: Mapping[int, int]) -> tuple[Any, Any, Any, Any]:
    xywh = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    classes = np.array([index_of[row["category_id"]] for row in rows], dtype=np.int64)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_)
    areas = np.array([row.get("area", row["bbox"][2] * row["bbox"][3]) for row in rows], dtype=np.float64)
    return boxes, classes, crowd, areas
