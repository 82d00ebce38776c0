"""Checkpoints that the ultralytics package saved, as detectors."""

from __future__ import annotations

import re

import torch

from slimgate.flow import Family, Json
from slimgate.model.build import plain_architecture
from slimgate.model.imported import Imported, rebuild

ROOTS = frozenset({"ultralytics.nn.tasks.DetectionModel"})
"""The class under which ultralytics saves a detector."""

_ONE_TO_ONE = re.compile(r"model\.\d+\.one2one_cv[23]\.")


def ultralytics_network(imported: Imported) -> tuple[Family, dict[str, Json], torch.nn.Module]:
    """Return family, architecture and network of an ultralytics checkpoint.

    Of an end-to-end head (YOLO26) the one-to-many branch is kept: its candidates go through NMS.

    Raises:
        InputError: the head is not a plain ``Detect``, or layers and tensors do not fit the yaml.
    """
    tensors = {name: tensor for name, tensor in imported.tensors.items() if not _ONE_TO_ONE.match(name)}
    architecture = plain_architecture(imported.yaml) | {"nc": len(imported.class_names), "end2end": False}
    return Family.ULTRALYTICS, *rebuild(imported, architecture, tensors, Family.ULTRALYTICS)
