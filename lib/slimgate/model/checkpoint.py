"""slimgate's own checkpoints: ``<stem>.safetensors`` beside ``<stem>.json``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from slimgate.errors import InputError
from slimgate.flow import Detector, Family, Json, Step
from slimgate.model.build import build_module
from slimgate.model.imported import load_tensors
from slimgate.model.weights import hash_tensors, loaded_tensors

FORMAT = "slimgate-checkpoint/1"
SUFFIXES = (".safetensors", ".json")

_KEYS: Mapping[str, type] = {
    "format": str,
    "name": str,
    "family": str,
    "architecture": dict,
    "class_names": list,
    "image_size": int,
    "stride": int,
    "weights_sha256": str,
    "storage": str,
    "source": str,
    "training": dict,
    "lineage": list,
}


def checkpoint_paths(path: Path) -> tuple[Path, Path]:
    """Return the ``.safetensors`` and the ``.json`` that a path names; a stem may hold dots."""
    stem = path.name.removesuffix(path.suffix) if path.suffix in SUFFIXES else path.name
    return path.with_name(f"{stem}.safetensors"), path.with_name(f"{stem}.json")


def save_checkpoint(
    detector: Detector, path: Path, *, storage: Literal["float32", "float16"] = "float32"
) -> Path:
    """Write a detector as ``<stem>.safetensors`` and ``<stem>.json``; return the first.

    Both are written under temporary names and then renamed, the JSON last. A pair torn by a crash in between
    fails its hash on loading.

    Args:
        detector: what to save.
        path: where to; the suffix may be ``.safetensors``, ``.json`` or absent.
        storage: type of the floating tensors in the file. With ``float16`` the stored hash is that of the
            rounded weights, as they will be loaded.

    Raises:
        InputError: the directory cannot be written to, or a weight is too large for float16.
    """
    weights_path, json_path = checkpoint_paths(path)
    tensors = loaded_tensors(detector.module)
    if storage == "float16":
        tensors = {name: _half(name, tensor, weights_path) for name, tensor in tensors.items()}
    record = {**describe_detector(detector), "weights_sha256": hash_tensors(tensors), "storage": storage}
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    try:
        weights_path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".slimgate-", dir=weights_path.parent) as folder:
            # Not save_file: it leaves the file readable by its owner only.
            Path(folder, weights_path.name).write_bytes(save(tensors, metadata={"format": FORMAT}))
            Path(folder, json_path.name).write_text(text, encoding="utf-8")
            Path(folder, weights_path.name).replace(weights_path)
            Path(folder, json_path.name).replace(json_path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            str(weights_path),
            found=f"cannot be written ({error})",
            expected="a directory that can be written to, with room for the weights",
            action="free space or choose another path",
        ) from error
    return weights_path


def describe_detector(detector: Detector) -> dict[str, Json]:
    """Return all that a checkpoint says of a detector beside its tensors, stored as float32.

    Equal tensors are not yet equal networks: activation and decoding are in the architecture alone.
    """
    return {
        "format": FORMAT,
        "name": detector.name,
        "family": detector.family.value,
        "class_names": list(detector.class_names),
        "image_size": detector.image_size,
        "stride": detector.stride,
        "weights_sha256": detector.weights_sha256,
        "storage": "float32",
        "source": detector.source,
        "training": dict(detector.training),
        "lineage": [step.to_json() for step in detector.lineage],
        "architecture": dict(detector.architecture),
    }


def load_checkpoint(path: Path) -> Detector:
    """Return the detector that ``save_checkpoint`` wrote.

    Args:
        path: either file of the pair.

    Raises:
        InputError: a file is missing, unreadable, of another format version, or the pair does not match.
    """
    weights_path, json_path = checkpoint_paths(path)
    record = _read_record(json_path)
    tensors = _read_tensors(weights_path)
    names = tuple(record["class_names"])
    module = build_module(
        record["architecture"], family=record["family"], class_count=len(names), subject=json_path.name
    )
    load_tensors(module, tensors, subject=weights_path.name)
    found = hash_tensors(tensors)
    if found != record["weights_sha256"]:
        raise InputError(
            weights_path.name,
            found=f"weights with sha256 {found[:12]}…",
            expected=f"{record['weights_sha256'][:12]}…, which {json_path.name} records",
            action="restore both files from one and the same save",
        )
    return Detector(
        name=record["name"],
        family=Family(record["family"]),
        class_names=names,
        image_size=record["image_size"],
        stride=record["stride"],
        architecture=record["architecture"],
        module=module,
        weights_sha256=found,
        source=weights_path.name,
        training=record["training"],
        lineage=tuple(Step.from_json(step) for step in record["lineage"]),
    )


def _read_record(path: Path) -> dict[str, Json]:
    if not path.is_file():
        raise InputError(
            str(path),
            found="no such file",
            expected="the .json that lies beside every slimgate .safetensors",
            action="copy both files of the checkpoint",
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            path.name,
            found=f"not JSON ({error})",
            expected="a slimgate checkpoint's .json",
            action="copy the checkpoint again",
        ) from error
    version = record.get("format") if isinstance(record, dict) else None
    if version != FORMAT:
        raise InputError(
            path.name,
            found=f"format {version!r}",
            expected=f"'{FORMAT}'",
            action="use the slimgate version that wrote it, or pass a slimgate checkpoint",
        )
    problems = [f"no '{key}'" for key in _KEYS if key not in record]
    problems += [
        f"'{key}' is a {type(record[key]).__name__}, not a {kind.__name__}"
        for key, kind in _KEYS.items()
        if key in record and type(record[key]) is not kind
    ]
    if not problems:
        problems = _value_problems(record)
    if problems:
        raise InputError(
            path.name,
            found="; ".join(problems),
            expected=f"the keys of a {FORMAT}",
            action="restore the file that save_checkpoint wrote",
        )
    return dict(record)


def _value_problems(record: dict[str, Json]) -> list[str]:
    problems = []
    names, count = record["class_names"], record["architecture"].get("nc")
    if not names or not all(isinstance(name, str) for name in names):
        problems.append("'class_names' is not a list of texts")
    elif len(names) != count:
        problems.append(f"{len(names)} class names for an architecture of {count} classes")
    if record["stride"] < 1 or record["image_size"] < 1 or record["image_size"] % record["stride"]:
        problems.append(f"image size {record['image_size']} is not a multiple of stride {record['stride']}")
    if record["family"] not in [family.value for family in Family]:
        problems.append(f"unknown family '{record['family']}'")
    if not all(
        isinstance(step, dict)
        and isinstance(step.get("operation"), str)
        and isinstance(step.get("settings"), dict)
        and isinstance(step.get("notes", {}), dict)
        for step in record["lineage"]
    ):
        problems.append("'lineage' is not a list of steps (operation, settings, notes)")
    return problems


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(
            str(path),
            found="no such file",
            expected="the .safetensors that lies beside every slimgate checkpoint .json",
            action="copy both files of the checkpoint",
        )
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            path.name,
            found=f"not a whole safetensors file ({error}; {path.stat().st_size:,} bytes)",
            expected="a safetensors file that save_checkpoint wrote",
            action="copy the checkpoint again",
        ) from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def _half(name: str, tensor: torch.Tensor, path: Path) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not torch.equal(torch.isfinite(half), torch.isfinite(tensor)):
        raise InputError(
            str(path),
            found=f"{name} reaches {tensor.abs().max().item():.3g}",
            expected="weights within float16's ±65,504",
            action="save it as float32",
        )
    return half
