"""Another activation in every layer: what SiLU costs in INT8, ReLU and Hardswish do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_choice
from slimgate.flow import Detector, Json, Step
from slimgate.model import build_module
from slimgate.model.activation import activations, text_from_activation
from slimgate.model.load import replace_module

_TEXTS: Mapping[str, str] = {"relu": "nn.ReLU()", "hardswish": "nn.Hardswish()", "silu": "nn.SiLU()"}


def swap_activation(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with another activation and the same weights; its accuracy is gone until it is trained.

    Layers without an activation (``nn.Identity``) stay without one.

    Args:
        detector: of any family; it stays as it is.
        settings: ``activation``, checked.
        workspace: not used; nothing is trained.
    """
    text = _TEXTS[settings["activation"]]
    architecture = {**detector.architecture, "activation": text}
    before = _activation_texts(detector.module)
    own = {path: old if old == "nn.Identity()" else text for path, old in before.items()}
    # What the default does not reach is written down layer by layer.
    architecture.pop("activations", None)
    reached = _activation_texts(_build(detector, architecture))
    differing = {path: wanted for path, wanted in own.items() if reached[path] != wanted}
    if differing:
        architecture["activations"] = differing
    module = _build(detector, architecture)
    module.load_state_dict(detector.module.state_dict())
    changed = sum(own[path] != old for path, old in before.items())
    step = Step(
        operation="swap-activation",
        settings=dict(settings),
        notes={"layers": changed, "from": sorted({old for path, old in before.items() if own[path] != old})},
    )
    return dataclasses.replace(replace_module(detector, module, step), architecture=architecture)


def _build(detector: Detector, architecture: Mapping[str, Json]) -> nn.Module:
    return build_module(
        architecture, family=detector.family, class_count=len(detector.class_names), subject=detector.name
    )


def _activation_texts(module: nn.Module) -> dict[str, str | None]:
    return {path: text_from_activation(layer, type(layer).__name__) for path, layer in activations(module)}


OPERATION = Operation(
    name="swap-activation",
    summary="replace every activation; the weights stay and need fine-tuning after",
    example="swap-activation:relu",
    positional="activation",
    settings={
        "activation": Setting(read=read_choice(*_TEXTS), meaning="relu, hardswish or silu"),
    },
    successors=frozenset(
        {"drop-levels", "shallow", "align", "deconv", "finetune", "rederive", "slim", "sparsify"}
    ),
    apply=swap_activation,
)
