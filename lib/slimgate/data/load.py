"""Reading a dataset from wherever it is: the one place where loose input becomes a ``Dataset``."""

from __future__ import annotations

import re
from pathlib import Path

from slimgate.data.coco_json import read_coco
from slimgate.data.sample import Dataset
from slimgate.data.yolo_txt import named_splits, read_yolo
from slimgate.errors import InputError, UsageError, nearest_name

_BUILT_IN = ("coco128", "codes:train", "codes:val", "codes:test", "codes:calib")
_YAML = frozenset({".yaml", ".yml"})
_SPLIT = re.compile(r"(?P<file>.+\.ya?ml):(?P<split>\w+)")


def load_dataset(source: str | Path, *, count: int | None = None) -> Dataset:
    """Return the validated dataset of a source.

    Args:
        source: ``codes:<split>`` (the built-in set, generated on first use), ``coco128`` (fetched), a COCO
            ``.json`` (images beside it or in ``images/``), a YOLO ``data.yaml``, one split of it
            (``data.yaml:train``), or a folder with ``images/`` and ``labels/``.
        count: read only the first ``count`` images; all when None.

    Raises:
        UsageError: ``count`` below 1, or no such built-in name.
        InputError: a file is missing, or images or annotations cannot be used; up to ten offenders are named.
        UnavailableError: the data would have to be fetched and cannot be.
    """
    if count is not None and count < 1:
        raise UsageError(
            "count",
            found=str(count),
            expected="at least 1 image",
            action="leave count out to read all images",
        )
    text = str(source)
    if text.startswith("codes:"):
        return _load_codes(text.removeprefix("codes:"), count)
    if text == "coco128":
        return _load_coco128(count)
    part = _SPLIT.fullmatch(text)
    if part:
        config = Path(part["file"])
        return read_yolo(config, name=f"{_name_of(config)}:{part['split']}", count=count, split=part["split"])
    path = Path(source)
    if path.is_dir():
        return read_yolo(path, name=path.name, count=count)
    if not path.exists():
        raise InputError(
            text,
            found=f"no such dataset{nearest_name(path.name, _BUILT_IN)}",
            expected="codes:<split>, coco128, a COCO .json, a YOLO data.yaml, or a folder with images/ and "
            "labels/",
            action="check the name or path",
        )
    if path.suffix == ".json":
        return read_coco(path, name=path.stem, count=count)
    if path.suffix in _YAML:
        return read_yolo(path, name=_name_of(path), count=count)
    raise InputError(
        text,
        found=f"a file ending in '{path.suffix}'",
        expected="a COCO .json or a YOLO data.yaml",
        action="point at the annotation file, or at the folder that holds images/ and labels/",
    )


def training_source(source: str) -> str:
    """Return a source as it is meant where pictures are learned from: of a ``data.yaml``, its ``train`` images.

    Evaluation means its ``val`` images instead. Whatever names its images itself stays as it is.
    """
    return f"{source}:train" if Path(source).suffix in _YAML else source


def held_out_source(source: str) -> str | None:
    """Return what a ``data.yaml`` itself keeps for evaluation, its ``val``, else its ``test`` images.

    So it does of a single split of it, such as ``data.yaml:train``. None where it names neither, and for every other
    source.

    Raises:
        InputError: the file cannot be read.
    """
    part = _SPLIT.fullmatch(source)
    config = part["file"] if part else source
    if Path(config).suffix not in _YAML:
        return None
    split = next((split for split in named_splits(Path(config)) if split != "train"), None)
    return split and f"{config}:{split}"


def _name_of(config: Path) -> str:
    return config.stem if config.stem != "data" else config.resolve().parent.name


def _load_codes(split: str, count: int | None) -> Dataset:
    from slimgate.data.codes import materialise_split

    folder = materialise_split(split, count=count)
    return read_coco(folder / "instances.json", name=f"codes:{split}", count=count)


def _load_coco128(count: int | None) -> Dataset:
    from slimgate.data.coco128 import read_coco128

    return read_coco128(count=count)
