"""Matches on disk: one compressed file per case, numbers only, no pickle."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import InputError
from slimgate.measure.confusion import COUNTED
from slimgate.measure.matches import IOU_THRESHOLDS, Matches

MATCHES_FORMAT = "slimgate-matches/1"

_ARRAYS = {
    "image_ids": np.int64,
    "objects": np.int32,
    "images": np.int32,
    "classes": np.int32,
    "scores": np.float32,
    "hits": np.uint16,
    "ignored": np.uint16,
    "deployed": np.int32,
}
_FACTS = ("class_names", "dataset_sha256", "protocol")


def write_matches(path: Path, matches: Mapping[str, Matches]) -> Path:
    """Write the matches of one case, by evaluation set, and return the path; the same matches give the same bytes."""
    header = {
        "format": MATCHES_FORMAT,
        "sets": [
            {
                "name": name,
                "class_names": list(one.class_names),
                "dataset_sha256": one.dataset_sha256,
                "protocol": dict(one.protocol),
            }
            for name, one in matches.items()
        ],
    }
    arrays = {
        f"{index}.{key}": np.asarray(getattr(one, key), dtype=kind)
        for index, one in enumerate(matches.values())
        for key, kind in _ARRAYS.items()
    }
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
    return path


def read_matches(path: Path) -> dict[str, Matches]:
    """Return the matches that ``write_matches`` wrote, by evaluation set.

    Raises:
        InputError: the file is missing, cut off, of another format version, or its arrays do not fit together.
    """
    if not path.is_file():
        raise _broken(path, "no such file")
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header.get("format") != MATCHES_FORMAT:
                raise _broken(path, f"format {header.get('format')!r}")
            found = {
                one["name"]: (one, {key: file[f"{index}.{key}"] for key in _ARRAYS})
                for index, one in enumerate(header["sets"])
            }
            return {name: _matches_from_arrays(facts, arrays) for name, (facts, arrays) in found.items()}
    except (
        AttributeError,
        EOFError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _broken(path, f"cut off, or not what was written ({error})") from None


def _matches_from_arrays(facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Matches:
    """Return checked matches.

    Raises:
        ValueError: says what does not fit.
    """
    for key, kind in _ARRAYS.items():
        if arrays[key].dtype != kind:
            raise ValueError(f"{key} is {arrays[key].dtype}")
    images, classes = len(arrays["image_ids"]), len(facts["class_names"])
    detections = len(arrays["images"])
    shapes = {
        "objects": (images, classes),
        "deployed": (images, classes, len(COUNTED)),
        **dict.fromkeys(("images", "classes", "scores", "hits", "ignored"), (detections,)),
        "image_ids": (images,),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{key} is {arrays[key].shape}, expected {shape}")
    for key, count in (("images", images), ("classes", classes)):
        # Compiled code does not look where it reads.
        if detections and not 0 <= arrays[key].min() <= arrays[key].max() < count:
            raise ValueError(f"{key} names one beyond the {count} there are")
    if min(arrays["objects"].min(initial=0), arrays["deployed"].min(initial=0)) < 0:
        raise ValueError("a count is negative")
    if not np.isfinite(arrays["scores"]).all() or (np.diff(arrays["image_ids"]) <= 0).any():
        raise ValueError("a score is not finite, or image ids do not ascend")
    if (np.diff(arrays["images"]) < 0).any():
        raise ValueError("detections are not in the order of the images")
    whole: dict[str, Any] = {**arrays, **{key: facts[key] for key in _FACTS}}
    found = Matches(**whole | {"class_names": tuple(facts["class_names"])})
    if _has_more_hits_than_objects(found):
        raise ValueError("more hits than objects")
    return found


def _has_more_hits_than_objects(matches: Matches) -> bool:
    cells = matches.images * matches.objects.shape[1] + matches.classes
    right = matches.hits & ~matches.ignored
    most = matches.objects.ravel()
    return any(
        (np.bincount(cells[(right >> bit) & 1 == 1], minlength=most.size) > most).any()
        for bit in range(IOU_THRESHOLDS)
    )


def _broken(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected=f"a {MATCHES_FORMAT} file as 'slimgate study' wrote it",
        action="restore the file, or run the study again",
    )
