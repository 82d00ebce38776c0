"""Any detector file as a Detector."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Detector, Step
from slimgate.model import import_ultralytics, import_yolov5
from slimgate.model.checkpoint import SUFFIXES, load_checkpoint
from slimgate.model.head import strides_of
from slimgate.model.imported import imported_from_object
from slimgate.model.inert_pickle import read_inert
from slimgate.model.weights import hash_weights

_IMPORTED_IMAGE_SIZE = 640
"""What both upstreams train at unless told otherwise, pixels."""

_IMPORTERS = {
    **dict.fromkeys(import_yolov5.ROOTS, import_yolov5.yolov5_network),
    **dict.fromkeys(import_ultralytics.ROOTS, import_ultralytics.ultralytics_network),
}


def load_detector(source: str | Path, *, image_size: int | None = None) -> Detector:
    """Return the detector in a file; nothing in the file is run.

    Args:
        source: a slimgate checkpoint (``.safetensors`` or its ``.json``), a legacy YOLOv5 ``.pt`` (v4.0-v7.0)
            or an ultralytics ``.pt``.
        image_size: side of the square input, pixels; by default the one it was saved with, or trained at.

    Raises:
        InputError: the file is missing, empty, damaged, not a detector, or wants to run something.
        UsageError: the image size is not a multiple of the stride.
    """
    path = Path(source)
    if not path.is_file():
        raise InputError(
            str(path),
            found="a directory" if path.is_dir() else "no such file",
            expected="a slimgate checkpoint (.safetensors), a YOLOv5 .pt or an ultralytics .pt",
            action="check the path",
        )
    if path.stat().st_size == 0:
        raise InputError(
            str(path),
            found="an empty file",
            expected="a slimgate checkpoint (.safetensors), a YOLOv5 .pt or an ultralytics .pt",
            action="download or copy it again",
        )
    if path.suffix in (".onnx", ".engine"):
        raise InputError(
            str(path),
            found=f"an exported {path.suffix} file, whose weights cannot be changed any more",
            expected="the checkpoint it was exported from (.safetensors or .pt)",
            action="pass that checkpoint",
        )
    detector = load_checkpoint(path) if path.suffix in SUFFIXES else _import_detector(path)
    return detector if image_size is None else resize_detector(detector, image_size)


def replace_module(detector: Detector, module: nn.Module, step: Step) -> Detector:
    """Return the same detector with another module, after one more step: new hash, longer lineage."""
    return dataclasses.replace(
        detector,
        module=module.eval(),
        weights_sha256=hash_weights(module),
        lineage=(*detector.lineage, step),
    )


def _import_detector(path: Path) -> Detector:
    imported = imported_from_object(read_inert(path), subject=path.name)
    importer = _IMPORTERS.get(imported.root.global_name)
    if importer is None:
        raise InputError(
            path.name,
            found=f"a {imported.root.global_name}",
            expected=f"a detector: {name_offenders(sorted(_IMPORTERS))}",
            action="pass a detection checkpoint, not a segmentation, pose or classification one",
        )
    family, architecture, module = importer(imported)
    stride = max(strides_of(module))
    trained_at = imported.training.get("settings", {}).get("imgsz")
    usable = isinstance(trained_at, int) and trained_at > 0 and trained_at % stride == 0
    return Detector(
        name=path.stem,
        family=family,
        class_names=imported.class_names,
        image_size=trained_at if usable else _IMPORTED_IMAGE_SIZE,
        stride=stride,
        architecture=architecture,
        module=module,
        weights_sha256=hash_weights(module),
        source=path.name,
        training=imported.training,
    )


def resize_detector(detector: Detector, image_size: int) -> Detector:
    """Return the same detector for another side of the square input, pixels.

    Raises:
        UsageError: it is not a multiple of the stride.
    """
    if image_size < detector.stride or image_size % detector.stride:
        lower = max(image_size // detector.stride, 1) * detector.stride
        raise UsageError(
            f"image size {image_size}",
            found=f"not a multiple of the stride of {detector.name}",
            expected=f"a multiple of {detector.stride}",
            action=f"use {lower} or {lower + detector.stride}",
        )
    return dataclasses.replace(detector, image_size=image_size)
