"""Activations: their text, and giving each layer one of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from torch import nn

from slimgate.errors import InputError, name_offenders
from slimgate.model.architecture import ACTIVATIONS, parse_activation
from slimgate.model.ultralytics_env import Conv


def activation_from_text(text: str, *, subject: str) -> nn.Module:
    """Return a new activation for a text such as ``nn.LeakyReLU(0.1)``; nothing is evaluated.

    Raises:
        InputError: it is not a known activation.
    """
    name, values = parse_activation(text, subject=subject)
    activation: nn.Module = getattr(nn, name)(**dict(zip(ACTIVATIONS[name], values, strict=False)))
    return activation


def text_from_activation(activation: object, name: str) -> str | None:
    """Return the text of an activation, or None for a class that is not in ``ACTIVATIONS``.

    Args:
        activation: the activation, or a stand-in with its attributes.
        name: its class name.
    """
    if name not in ACTIVATIONS:
        return None
    values = [getattr(activation, attribute) for attribute in ACTIVATIONS[name]]
    return f"nn.{name}({', '.join(repr(float(value)) for value in values)})"


def activations(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the path and the activation of every layer that has one."""
    for path, layer in module.named_modules():
        activation = layer._modules.get("act")
        if activation is not None:
            yield f"{path}.act".removeprefix("."), activation


def own_activations(module: nn.Module, default: str | None = None, *, subject: str = "architecture") -> None:
    """Give each layer an activation of its own, with ``default`` where ultralytics put its default.

    Sharing one instance, as ultralytics does, gives every activation node of an exported graph the path of
    the first layer.
    """
    for path, activation in list(activations(module)):
        replace = default is not None and activation is Conv.default_act
        own = (
            activation_from_text(default, subject=subject)
            if replace and default
            else copy.deepcopy(activation)
        )
        module.set_submodule(path, own)


def set_activations(module: nn.Module, texts: Mapping[str, str], *, subject: str) -> None:
    """Replace the activations at the given paths.

    Raises:
        InputError: a path is not that of an activation.
    """
    known = {path for path, _ in activations(module)}
    unknown = [path for path in texts if path not in known]
    if unknown:
        raise InputError(
            f"{subject}: activations",
            found=f"no activation at {name_offenders(unknown)}",
            expected="paths such as model.0.act",
            action="check that the architecture belongs to these weights",
        )
    for path, text in texts.items():
        module.set_submodule(path, activation_from_text(text, subject=subject))
