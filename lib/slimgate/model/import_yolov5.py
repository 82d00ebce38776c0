"""Legacy YOLOv5 checkpoints, v4.0-v7.0, as detectors."""

from __future__ import annotations

import torch

from slimgate.errors import InputError, name_offenders
from slimgate.flow import Family, Json
from slimgate.model.build import plain_architecture
from slimgate.model.imported import Imported, rebuild

ROOTS = frozenset({"models.yolo.Model", "models.yolo.DetectionModel"})
"""The classes under which YOLOv5 saves a detector."""

_ANCHOR_GRID_TENSOR = "anchor_grid"


def yolov5_network(imported: Imported) -> tuple[Family, dict[str, Json], torch.nn.Module]:
    """Return family, architecture and network of a legacy YOLOv5 checkpoint.

    The anchors come from the head's buffers, not from the yaml: training may have fitted them anew.

    Raises:
        InputError: the head is not ``models.yolo.Detect``, or layers and tensors do not fit the yaml.
    """
    head_path, stride = _head(imported)
    tensors = dict(imported.tensors)
    anchors = tensors[f"{head_path}.anchors"]
    grid = tensors.pop(f"{head_path}.{_ANCHOR_GRID_TENSOR}", None)
    if grid is not None:
        # v4-v5 multiply by this buffer, in pixels; later versions derive it from the anchors.
        anchors = grid.reshape(anchors.shape) / stride.view(-1, 1, 1)
        tensors[f"{head_path}.anchors"] = anchors
    architecture = plain_architecture(imported.yaml) | {
        "nc": len(imported.class_names),
        "anchors": (anchors * stride.view(-1, 1, 1)).tolist(),
    }
    # The anchors now stand in one place only; the row's copy may be anything that YOLOv5 evals.
    architecture["head"] = [*architecture["head"][:-1], [*architecture["head"][-1][:3], ["nc", "anchors"]]]
    return Family.YOLOV5_ANCHOR, *rebuild(imported, architecture, tensors, Family.YOLOV5_ANCHOR)


def _head(imported: Imported) -> tuple[str, torch.Tensor]:
    """Return the head's path and its strides ``(levels,)``."""
    heads = [path for path, layer in imported.layers.items() if layer.global_name == "models.yolo.Detect"]
    if len(heads) == 1 and f"{heads[0]}.anchors" in imported.tensors:
        stride = getattr(imported.layers[heads[0]], "stride", None)
        if isinstance(stride, torch.Tensor):
            return heads[0], stride.float()
    kinds = sorted({layer.global_name for layer in imported.layers.values()} - {imported.root.global_name})
    raise InputError(
        imported.subject,
        found=f"{len(heads)} heads models.yolo.Detect with anchors and strides among {name_offenders(kinds)}",
        expected="one YOLOv5 detection head",
        action="pass a detection checkpoint, not a segmentation or classification one",
    )
