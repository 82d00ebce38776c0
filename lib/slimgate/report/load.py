"""A run directory, checked for everything the report relies on before any of it is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, name_offenders
from slimgate.gate import RunFiles, load_run

_THRESHOLD = re.compile(r"^[01]\.\d+$")
_JPEG_START = b"\xff\xd8\xff"
_ANY = "*"

_NUMBER, _RATIO, _WHOLE, _TEXT, _ANYTHING = "number", "ratio", "whole", "text", "any"
_BOX = [_NUMBER, _NUMBER, _NUMBER, _NUMBER]
_PAIR = {"ratio": _RATIO, "interval": [_RATIO, _RATIO]}
_COUNTS = {_ANY: _NUMBER}
_ACCURACY = {
    "coco": _COUNTS,
    "ap_by_iou": _COUNTS,
    "per_class": {_ANY: _COUNTS},
    "images": _NUMBER,
}
_CONFUSION = {"conf": _NUMBER, "iou": _NUMBER, "per_class": {_ANY: _COUNTS}, "all": _COUNTS}
_RATE_NAMES = ("precision", "recall", "f1")
_RATES = {_ANY: [_NUMBER]}
_CURVES = {
    "iou": _NUMBER,
    "conf": [_NUMBER],
    "best_f1": _COUNTS,
    "per_class": {_ANY: _RATES},
    "all": _RATES,
}
_DIFFERENCE = {
    "reference": _TEXT,
    "metrics": {_ANY: {"value": _NUMBER, "interval": [_NUMBER, _NUMBER]}},
    "method": _TEXT,
    _ANY: _NUMBER,
}
_DIFFERENCES = [_DIFFERENCE]
_CASE_SHAPE: dict[str, Any] = {
    "variant": _TEXT,
    "runtime": _TEXT,
    "precision": _TEXT,
    "operations": [_TEXT],
    "lineage": [{"operation": _TEXT, "settings": {_ANY: _ANYTHING}, _ANY: _ANYTHING}],
    "artifact": {
        "target": _TEXT,
        "size_bytes": _NUMBER,
        "compressed_bytes": _NUMBER,
        "build_s": _NUMBER,
        "shares": _COUNTS,
        "facts": {
            "weight_memory_bytes": _NUMBER,
            "float_convolutions": {_ANY: _TEXT},
            "sqnr_db": {_ANY: _NUMBER},
            "sensitivity": {
                "groups": [{"name": _TEXT, "nodes": [_TEXT], "macs": _NUMBER, _ANY: _ANYTHING}],
                "steps": [_NUMBER],
                "returned": [_TEXT],
                _ANY: _ANYTHING,
            },
            _ANY: _ANYTHING,
        },
        _ANY: _ANYTHING,
    },
    "model": {"weights_sha256": _TEXT, _ANY: _NUMBER},
    "accuracy": _ACCURACY,
    "confusion": _CONFUSION,
    "curves": _CURVES,
    "also": {
        _ANY: {
            "dataset": {"name": _TEXT, "images": _NUMBER, "sha256": _TEXT},
            "accuracy": _ACCURACY,
            "confusion": _CONFUSION,
            "curves": _CURVES,
            "differences": _DIFFERENCES,
        }
    },
    "differences": _DIFFERENCES,
    "score_shift": {
        "reference": _TEXT,
        "quantiles": {_ANY: _NUMBER},
        "difference": _DIFFERENCE,
        _ANY: _ANYTHING,
    },
    "training": _TEXT,
    "controls": {_ANY: _TEXT},
    "widths": {_ANY: [_NUMBER, _NUMBER]},
    "latency": {
        _ANY: {
            "baseline": _TEXT,
            "control": _PAIR,
            **_PAIR,
            "ours": {"baseline": _TEXT, **_PAIR, _ANY: _ANYTHING},
            "others": [{**_PAIR, _ANY: _ANYTHING}],
            _ANY: _ANYTHING,
        }
    },
    "stages": {"intervals": {_ANY: [_NUMBER, _NUMBER]}, _ANY: _NUMBER},
    "parity": {"reference": _TEXT, _ANY: _NUMBER},
    "nms": {_ANY: {"candidates": _NUMBER, "kept": _NUMBER, "median_s": _NUMBER, "samples_s": [_NUMBER]}},
    "pictures": {_ANY: [{"class": _WHOLE, "score": _NUMBER, "box": _BOX}]},
    _ANY: _ANYTHING,
}
_RUN_SHAPE: dict[str, Any] = {
    "study": {"id": _TEXT, "title": _TEXT, _ANY: _ANYTHING},
    "class_names": [_TEXT],
    "cases": [_TEXT],
    "companions": [_TEXT],
    "pictures": {
        _ANY: {
            "file": _TEXT,
            "width": _NUMBER,
            "height": _NUMBER,
            "ground_truth": [{"class": _WHOLE, "box": _BOX, "crowd": _ANYTHING}],
        }
    },
    "trainings": {
        _ANY: {
            "stages": [
                {
                    "operation": _TEXT,
                    "epochs_done": _NUMBER,
                    "data": {_ANY: {"set": _TEXT, "digest": _TEXT, "images": _NUMBER, _ANY: _ANYTHING}},
                    "kept": {"epoch": _NUMBER, _ANY: _ANYTHING},
                    "curve": [_COUNTS],
                    _ANY: _ANYTHING,
                }
            ]
        }
    },
    _ANY: _ANYTHING,
}
_RUN_NEEDS = ("study", "class_names", "cases")


def load_checked(directory: Path) -> RunFiles:
    """Return a run whose records are whole and whose numbers are numbers.

    Raises:
        InputError: it is no run directory, a file is missing, cut off or of another version, or a record holds
            something else than it should; the message names the file and the key.
    """
    if not directory.is_dir() or not (directory / "run.json").is_file():
        raise InputError(
            str(directory),
            found="not a run directory: "
            + ("it has no run.json" if directory.is_dir() else "no such folder"),
            expected="a folder that 'slimgate study' wrote, such as runs/codes-20260101-120000",
            action="name a run directory, or make one with 'slimgate study'",
        )
    files = load_run(directory)
    missing = [key for key in _RUN_NEEDS if key not in files.run]
    if missing:
        raise _broken(directory / "run.json", f"lacks {name_offenders(missing)}")
    _refuse_complaints(directory / "run.json", _complaints(files.run, _RUN_SHAPE, ""))
    absent = [case for case in files.run["cases"] if case not in files.cases]
    if absent:
        raise InputError(
            str(directory / "cases"),
            found=f"no case record of {name_offenders(absent)}",
            expected=f"one file for each of the {len(files.run['cases'])} cases that run.json lists",
            action="restore the files, or run the study again",
        )
    for case, record in files.cases.items():
        path = directory / "cases" / f"{case.rpartition('/')[2]}.json"
        _refuse_complaints(path, _complaints(record, _CASE_SHAPE, ""))
        thresholds = record.get("accuracy", {}).get("ap_by_iou", {})
        odd = [repr(name) for name in thresholds if not _THRESHOLD.match(name)]
        if odd:
            raise _broken(path, f"accuracy.ap_by_iou: {name_offenders(odd)} is no threshold")
        ragged = [name for name, part in _parts(record) if "curves" in part and _is_ragged(part["curves"])]
        if ragged:
            raise _broken(path, f"{name_offenders(ragged)}: not one value of each rate for each confidence")
        classes = {one["class"] for shown in record.get("pictures", {}).values() for one in shown}
        _refuse_unknown_classes(path, classes, files.run)
    for entry in files.run.get("pictures", {}).values():
        _check_picture(directory, entry["file"])
        classes = {one["class"] for one in entry["ground_truth"]}
        _refuse_unknown_classes(directory / "run.json", classes, files.run)
    return files


def _complaints(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Yield what is wrong with a value, as ``key: found``; absent keys are fine."""
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            yield f"{where}: {_short(value)} is no table"
            return
        for key, inner in value.items():
            expected = shape.get(key, shape.get(_ANY, _ANYTHING))
            yield from _complaints(inner, expected, f"{where}.{key}" if where else key)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where}: {_short(value)} is no list"
            return
        # One entry in the shape: a list of any length; several: a list of exactly those.
        if len(shape) > 1 and len(value) != len(shape):
            yield f"{where}: {len(value)} entries instead of {len(shape)}"
        for index, inner in enumerate(value):
            yield from _complaints(inner, shape[0], f"{where}[{index}]")
    elif shape in (_NUMBER, _RATIO) and value is not None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"{where}: {_short(value)} is no finite number"
        elif shape == _RATIO and value <= 0:
            yield f"{where}: {_short(value)} is no ratio of times"
    elif shape == _WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
        yield f"{where}: {_short(value)} is no whole number"
    elif shape == _TEXT and not isinstance(value, str):
        yield f"{where}: {_short(value)} is no text"


def _parts(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the curves' place and the part of the record that they are in, for every evaluation set."""
    yield "curves", record
    for name, part in record.get("also", {}).items():
        yield f"also.{name}.curves", part


def _is_ragged(curves: Mapping[str, Any]) -> bool:
    if not {"conf", "per_class", "all"} <= set(curves):
        return True
    rates = [curves["all"], *curves["per_class"].values()]
    return any(len(one.get(rate, ())) != len(curves["conf"]) for one in rates for rate in _RATE_NAMES)


def _refuse_complaints(path: Path, complaints: Iterator[str]) -> None:
    found = list(complaints)
    if found:
        raise _broken(path, name_offenders(found))


def _refuse_unknown_classes(path: Path, classes: set[int], run: Mapping[str, Any]) -> None:
    names = run["class_names"]
    unknown = sorted(label for label in classes if not 0 <= label < len(names))
    if unknown:
        raise _broken(path, f"class {name_offenders(unknown)}, and there are {len(names)} class names")


def _check_picture(directory: Path, name: str) -> None:
    path = directory / name
    # The file is embedded in the report: a run directory from elsewhere must not make it carry any other file.
    if Path(name).parts[:-1] != ("pictures",) or path.is_symlink():
        raise _broken(directory / "run.json", f"picture '{name}' is not a file in pictures/")
    if not path.is_file():
        raise InputError(
            str(path),
            found="no such file",
            expected="a picture that run.json lists",
            action="restore the file, or run the study again",
        )
    with path.open("rb") as file:
        if file.read(len(_JPEG_START)) != _JPEG_START:
            raise _broken(path, "not a JPEG")


def _broken(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected="the file as 'slimgate study' wrote it",
        action="restore the file, or run the study again",
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
