"""Networks from architectures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from slimgate.errors import InputError, SlimgateError, unknown_name
from slimgate.flow import Family, Json
from slimgate.model.activation import own_activations, set_activations
from slimgate.model.architecture import check_architecture
from slimgate.model.build_legacy import legacy_module
from slimgate.model.ultralytics_env import Detect, DetectionModel
from slimgate.model.widths import apply_widths

LAYOUT_KEYS = (
    *("nc", "depth_multiple", "width_multiple", "scale", "scales", "reg_max"),
    *("activation", "activations", "anchors", "backbone", "head", "widths"),
)
"""The keys of an architecture; all others of a yaml do not decide its layers."""


def build_module(
    architecture: Mapping[str, Json], *, family: Family | str, class_count: int, subject: str = "architecture"
) -> nn.Module:
    """Return a fresh network in eval mode that maps ``(n, 3, s, s)`` to ``(n, 4 + classes, candidates)``.

    Its weights are random (torch's global generator). Submodules keep the names of YOLOv5 and ultralytics
    (``model.0.conv``), so exported node names carry them.

    Args:
        architecture: the YOLO yaml as a mapping.
        family: how the head decodes.
        class_count: number of classes; overrides ``nc``.
        subject: what error messages are about, a file name.

    Raises:
        InputError: the architecture is not one of the family, or its layers do not fit together.
        UsageError: the family is not known.
    """
    if family not in FAMILIES:
        raise unknown_name("detector family", str(family), FAMILIES)
    family = Family(family)
    layout = copy.deepcopy(dict(architecture)) | {"nc": class_count}
    check_architecture(layout, family=family, subject=subject)
    try:
        module = FAMILIES[family](layout)
    except SlimgateError:
        raise
    except Exception as error:  # a yaml whose layers do not fit fails anywhere inside torch's constructors
        raise InputError(
            f"{subject}: architecture",
            found=f"its layers do not fit together ({type(error).__name__}: {error})",
            expected="a YOLO yaml whose layers can be built in order",
            action="compare it with the yaml the detector was trained from",
        ) from error
    own_activations(module, layout.get("activation"), subject=subject)
    set_activations(module, layout.get("activations", {}), subject=subject)
    if layout.get("widths"):
        apply_widths(module, layout["widths"], subject=subject)
    return module.eval()


def plain_architecture(yaml: Mapping[str, Json]) -> dict[str, Json]:
    """Return the part of a model's yaml that decides its layers; of its sizes, the one in use."""
    layout = copy.deepcopy({key: yaml[key] for key in LAYOUT_KEYS if key in yaml})
    scales, scale = layout.get("scales"), layout.get("scale")
    if isinstance(scales, dict) and scale in scales:
        # parse_model reads the letter too: C3k2 and A2C2f change shape from size m on.
        layout["scales"] = {scale: list(scales[scale])}
    return layout


def _ultralytics_module(layout: dict[str, Json]) -> nn.Module:
    # The one-to-many head is the one whose candidates NMS needs; and parse_model evals the activation's text.
    built = {key: value for key, value in layout.items() if key != "activation"} | {"end2end": False}
    module: Any = DetectionModel(cfg=built, ch=3, nc=layout["nc"], verbose=False)
    head = module.model[-1]
    if type(head) is not Detect:
        raise TypeError(f"the head is {type(head).__name__}, not Detect")
    # Makes forward return the predictions alone instead of (predictions, raw maps).
    head.export = True
    return module  # type: ignore[no-any-return]


FAMILIES: Mapping[Family, Callable[[dict[str, Json]], nn.Module]] = {
    Family.ULTRALYTICS: _ultralytics_module,
    Family.YOLOV5_ANCHOR: legacy_module,
}
"""How each family is built."""
