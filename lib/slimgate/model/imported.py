"""What a foreign checkpoint gives after it was read inertly: tensors, yaml and names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from slimgate.errors import InputError, name_offenders
from slimgate.flow import Family, Json
from slimgate.model.activation import activations, text_from_activation
from slimgate.model.architecture import ACTIVATIONS
from slimgate.model.build import build_module
from slimgate.model.inert_pickle import StandIn

_DEEPEST = 64


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A foreign network, read without its code.

    Attributes:
        subject: what error messages are about, a file name.
        root: the stand-in of the network.
        layers: every layer's stand-in by path.
        tensors: every parameter and buffer by name, floating ones as float32.
        yaml: the network's yaml.
        class_names: one per class.
        training: what the checkpoint says of its training, plain values only.
    """

    subject: str
    root: StandIn
    layers: Mapping[str, StandIn]
    tensors: Mapping[str, torch.Tensor]
    yaml: Mapping[str, Json]
    class_names: tuple[str, ...]
    training: Mapping[str, Json]


def imported_from_object(loaded: object, *, subject: str) -> Imported:
    """Return the network of a checkpoint that ``read_inert`` has read.

    Raises:
        InputError: it holds no network (such as a bare state dict), or one without a yaml or names.
    """
    checkpoint = loaded if isinstance(loaded, dict) else {"model": loaded}
    root = checkpoint.get("ema") or checkpoint.get("model")
    if not isinstance(root, StandIn):
        raise InputError(
            subject,
            found=_what_it_holds(loaded),
            expected="a YOLOv5 or ultralytics checkpoint with a network under 'ema' or 'model'",
            action="pass the .pt that training wrote; weights alone do not say what they belong to",
        )
    layers: dict[str, StandIn] = {}
    tensors: dict[str, torch.Tensor] = {}
    _collect(root, "", layers, tensors, subject)
    yaml = getattr(root, "yaml", None)
    if not isinstance(yaml, dict):
        raise InputError(
            subject,
            found="a network without the yaml it was built from",
            expected="the attribute yaml of a YOLOv5 v4.0-v7.0 or ultralytics detector",
            action="save the checkpoint with the training code it came from",
        )
    return Imported(
        subject=subject,
        root=root,
        layers=layers,
        tensors=tensors,
        yaml=yaml,
        class_names=_class_names(getattr(root, "names", None), yaml, subject),
        training=_training(checkpoint, root),
    )


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor], *, subject: str) -> None:
    """Copy tensors into a module, strictly.

    Raises:
        InputError: tensors are missing, unknown or of another shape; all are named.
    """
    own = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is not part of the architecture" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        raise InputError(
            f"{subject}: tensors",
            found=name_offenders(problems),
            expected=f"the {len(own)} tensors of its architecture",
            action="use weights and architecture of one and the same detector",
        )
    module.load_state_dict(dict(tensors))


def rebuild(
    imported: Imported, architecture: dict[str, Json], tensors: Mapping[str, torch.Tensor], family: Family
) -> tuple[dict[str, Json], nn.Module]:
    """Return the architecture and the network that carry a checkpoint's layers, activations and tensors.

    The activations are those of the checkpoint's layers: old releases set them in code, not in the yaml.

    Args:
        imported: the checkpoint.
        architecture: its yaml; ``activation`` and ``activations`` are added where the layers differ from it.
        tensors: those to load, under the names of the rebuilt network.
        family: how the head decodes.

    Raises:
        InputError: layers, activations or tensors are unknown or do not fit together.
    """

    def build() -> tuple[nn.Module, dict[str, str]]:
        module = build_module(
            architecture, family=family, class_count=len(imported.class_names), subject=imported.subject
        )
        return module, _differing_activations(module, imported.layers, imported.subject)

    module, differing = build()
    if differing:
        stored = (text_from_activation(layer, layer.class_name) for layer in imported.layers.values())
        texts = Counter(text for text in stored if text not in (None, "nn.Identity()"))
        architecture["activation"] = texts.most_common(1)[0][0]
        module, differing = build()
    if differing:
        architecture["activations"] = differing
        module, differing = build()
    load_tensors(module, tensors, subject=imported.subject)
    return architecture, module


def _differing_activations(module: nn.Module, layers: Mapping[str, StandIn], subject: str) -> dict[str, str]:
    """Return the checkpoint's activations, by path, where the rebuilt module's are others."""
    differing: dict[str, str] = {}
    unknown: list[str] = []
    for path, activation in activations(module):
        stored = layers.get(path)
        if stored is None:
            continue
        text = text_from_activation(stored, stored.class_name)
        if text is None:
            unknown.append(f"{stored.global_name} at {path}")
        elif text != text_from_activation(activation, type(activation).__name__):
            differing[path] = text
    if unknown:
        raise InputError(
            f"{subject}: activations",
            found=name_offenders(unknown),
            expected=f"activations of torch.nn among {', '.join(sorted(ACTIVATIONS))}",
            action="retrain with one of these",
        )
    return differing


def _collect(
    layer: StandIn,
    path: str,
    layers: dict[str, StandIn],
    tensors: dict[str, torch.Tensor],
    subject: str,
) -> None:
    prefix = f"{path}." if path else ""
    parts = {key: layer.__dict__.get(key) or {} for key in ("_parameters", "_buffers", "_modules")}
    if path.count(".") > _DEEPEST or not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(
            subject,
            found=f"layer '{path[:60]}' is not built as a torch module is",
            expected="nested torch modules",
            action="download or save the checkpoint again",
        )
    layers[path] = layer
    transient = layer.__dict__.get("_non_persistent_buffers_set") or set()
    for name, tensor in {**parts["_parameters"], **parts["_buffers"]}.items():
        if isinstance(tensor, torch.Tensor) and name not in transient:
            tensor = tensor.detach()
            tensors[prefix + str(name)] = tensor.float() if tensor.is_floating_point() else tensor
    for name, child in parts["_modules"].items():
        if isinstance(child, StandIn):
            _collect(child, prefix + str(name), layers, tensors, subject)


def _class_names(names: object, yaml: Mapping[str, Json], subject: str) -> tuple[str, ...]:
    count = yaml.get("nc")
    if names is None and isinstance(count, int):
        names = [str(index) for index in range(count)]
    if isinstance(names, dict):
        names = [names.get(index) for index in range(len(names))]
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{subject}: class names",
            found=f"{names!r:.80}",
            expected="a list of texts, or a mapping from 0, 1, 2, ... to texts",
            action="save the checkpoint with its class names",
        )
    if len(names) != count:
        raise InputError(
            f"{subject}: class names",
            found=f"{len(names)} names",
            expected=f"{count}, the class count of its architecture",
            action="save the checkpoint with the names it was trained with",
        )
    return tuple(names)


def _training(checkpoint: Mapping[str, object], root: StandIn) -> dict[str, Json]:
    """Return the plain values that a checkpoint says of its training."""
    said = {key: checkpoint.get(key) for key in ("epoch", "date", "version", "best_fitness")}
    record: dict[str, Json] = {k: v for k, v in said.items() if isinstance(v, str) or _is_finite(v)}
    settings = checkpoint.get("train_args") or checkpoint.get("opt") or root.__dict__.get("args")
    if isinstance(settings, StandIn):
        settings = settings.__dict__
    if isinstance(settings, dict):
        record["settings"] = {k: v for k, v in settings.items() if isinstance(k, str) and _is_finite(v)}
    return record


def _is_finite(value: object) -> bool:
    """Whether a value is a number that JSON can hold."""
    return isinstance(value, (bool, int, float)) and math.isfinite(value)


def _what_it_holds(loaded: object) -> str:
    if isinstance(loaded, dict) and loaded and all(isinstance(v, torch.Tensor) for v in loaded.values()):
        return f"a bare state dict of {len(loaded)} tensors"
    if isinstance(loaded, dict):
        return f"a dictionary with the keys {name_offenders(loaded)}" if loaded else "an empty dictionary"
    return f"a {type(loaded).__name__}"
