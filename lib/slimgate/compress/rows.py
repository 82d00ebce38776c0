"""Networks built from other rows of an architecture, with the weights of the layers that stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Json, Step
from slimgate.model.build import build_module
from slimgate.model.head import strides_of
from slimgate.model.load import replace_module

Renamed = Callable[[str], str | None]
"""Gives a module's or tensor's name in the new network, or None where it is not in it."""

_FROM_INPUTS = ("groups", "add")
"""What a layer takes from how many channels it reads: a depthwise convolution's groups, a bottleneck's shortcut."""


def split_rows(architecture: Mapping[str, Json]) -> list[list[Any]]:
    """Return all rows of an architecture in order, each a new list."""
    return [list(row) for row in (*architecture["backbone"], *architecture["head"])]


def join_rows(architecture: Mapping[str, Json], rows: list[list[Any]]) -> dict[str, Json]:
    """Return the architecture with these rows in place of its own; as many belong to the backbone as before."""
    depth = len(architecture["backbone"])
    return {**architecture, "backbone": rows[:depth], "head": rows[depth:]}


def rebuild(
    detector: Detector,
    architecture: Mapping[str, Json],
    tensors: Mapping[str, torch.Tensor],
    rename: Renamed,
    step: Step,
) -> Detector:
    """Return the detector of another architecture with the tensors that it shares with the given one.

    Args:
        detector: where the rest comes from.
        architecture: whose ``widths`` and ``activations`` still have the names of before.
        tensors: by their names of before.
        rename: from names of before to new ones.
        step: to add to the lineage.

    Raises:
        InputError: the tensors are not those of the architecture, or a layer would do something else with them.
    """
    by_name = {
        key: {name: value for old, value in architecture[key].items() if (name := rename(old)) is not None}
        for key in ("widths", "activations")
        if key in architecture
    }
    architecture = {**architecture, **by_name}
    with torch.random.fork_rng(devices=[]):
        module = build_module(
            architecture,
            family=detector.family,
            class_count=len(detector.class_names),
            subject=f"{detector.name} after {step.operation}",
        )
    state = {new: tensor for old, tensor in tensors.items() if (new := rename(old)) is not None}
    expected = module.state_dict()
    strange = [key for key in {*expected, *state} if _shape(expected, key) != _shape(state, key)]
    strange += _find_other_layers(detector.module, module, rename)
    if strange:
        raise InputError(
            f"{step.operation} of {detector.name}",
            found=f"does not fit what is left: {name_offenders(sorted(strange))}",
            expected="a network whose other layers do not depend on the ones removed",
            action="leave the operation out for this architecture",
        )
    module.load_state_dict(state)
    changed = replace_module(detector, module, step)
    return dataclasses.replace(changed, architecture=architecture, stride=max(strides_of(module)))


def _find_other_layers(before: nn.Module, after: nn.Module, rename: Renamed) -> list[str]:
    """Return what has changed in layers whose tensors may fit all the same, by their names in the new network."""
    layers = dict(after.named_modules())
    found = []
    for name, layer in before.named_modules():
        for key in _FROM_INPUTS:
            if not hasattr(layer, key) or (new := rename(name)) is None or new not in layers:
                continue
            was, now = getattr(layer, key), getattr(layers[new], key, None)
            if was != now:
                found.append(f"{new} ({key}: {now} in place of {was})")
    return found


def _shape(tensors: Mapping[str, torch.Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None
