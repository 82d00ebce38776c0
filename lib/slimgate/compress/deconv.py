"""Learned upsampling: nearest-neighbour layers become transposed convolutions that compute the same.

Some NPUs have no upsampling operator, and a transposed convolution can be trained, pruned and quantised as a layer
of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_choice
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Json, Step
from slimgate.model.build import build_module
from slimgate.model.load import replace_module

GEOMETRIES: Mapping[str, tuple[int, int]] = {"2": (2, 0), "4": (4, 1)}
"""Kernel and padding of a transposed convolution of stride 2 that doubles height and width, by the setting."""

_STRIDE = 2


def nearest_neighbour_kernel(channels: int, kernel: int) -> torch.Tensor:
    """Return the weight ``(channels, channels, kernel, kernel)`` that doubles a map by repeating each position.

    Input position i adds ``weight[k]`` to output position ``2 i - padding + k`` (Dumoulin and Visin 2016,
    arXiv:1603.07285, section 4), so ones where ``k - padding`` is 0 or 1 write 2 i and 2 i + 1, each exactly
    once: the whole of a 2 x 2 kernel, the middle of a 4 x 4 kernel with padding 1.
    """
    size, padding = GEOMETRIES[str(kernel)]
    weight = torch.zeros(channels, channels, size, size)
    middle = slice(padding, padding + _STRIDE)
    diagonal = torch.arange(channels)
    weight[diagonal, diagonal, middle, middle] = 1.0
    return weight


def deconvolve(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with ``nn.ConvTranspose2d`` for every ``nn.Upsample``, and equal outputs.

    The new layers mix no channels yet (their weights are 0 off the diagonal) and have a bias of 0; training and
    pruning may change both.

    Args:
        detector: whose upsampling is nearest-neighbour by a factor of 2.
        settings: ``kernel``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: it has no upsampling, or one that a transposed convolution of stride 2 cannot reproduce.
    """
    size, padding = GEOMETRIES[settings["kernel"]]
    layers = _upsampling_layers(detector)
    channels = _arriving_channels(detector, layers)
    architecture = dict(detector.architecture)
    # New rows, not changed ones: two rows of an architecture may be one and the same list.
    rows = [list(row) for row in (*architecture["backbone"], *architecture["head"])]
    for name in layers:
        arguments = [
            _row_channels(architecture, channels[name]),
            size,
            _STRIDE,
            *([padding] if padding else []),
        ]
        rows[int(name.removeprefix("model."))][2:] = ["nn.ConvTranspose2d", arguments]
    depth = len(architecture["backbone"])
    architecture |= {"backbone": rows[:depth], "head": rows[depth:]}
    module = _build(detector, architecture)
    others = {
        name: count
        for name, count in channels.items()
        if getattr(module.get_submodule(name), "out_channels", None) != count
    }
    if others:
        # A width that no row can name: rows say multiples of 8, and no more than a scale's most channels.
        architecture["widths"] = {**architecture.get("widths", {}), **others}
        module = _build(detector, architecture)
    state = dict(detector.module.state_dict())
    for name in layers:
        state[f"{name}.weight"] = nearest_neighbour_kernel(channels[name], size)
        state[f"{name}.bias"] = torch.zeros(channels[name])
    module.load_state_dict(state, strict=True)
    notes: dict[str, Json] = {"layers": {name: channels[name] for name in layers}}
    step = Step(operation="deconv", settings=dict(settings), notes=notes)
    return dataclasses.replace(replace_module(detector, module, step), architecture=architecture)


def _upsampling_layers(detector: Detector) -> tuple[str, ...]:
    """Return the names of the upsampling layers: rows of the architecture that repeat each position twice."""
    layers = detector.module.named_modules()
    found = {name: layer for name, layer in layers if isinstance(layer, nn.Upsample)}
    rows = len(detector.architecture["backbone"]) + len(detector.architecture["head"])
    own_rows = {f"model.{index}" for index in range(rows)}
    problems = [
        f"{name} ({problem})"
        for name, layer in found.items()
        if (problem := _why_not(layer) or ("" if name in own_rows else "inside another layer"))
    ]
    if found and not problems:
        return tuple(found)
    raise InputError(
        f"upsampling of {detector.name}",
        found=f"not replaceable: {name_offenders(problems)}" if problems else "there is none",
        expected="nn.Upsample layers of scale 2 and mode nearest, as rows of the architecture",
        action="convert a detector that has them"
        if problems
        else "leave deconv out: nothing is upsampled, or transposed convolutions do it already",
    )


def _why_not(layer: nn.Upsample) -> str:
    if layer.mode != "nearest":
        return f"mode {layer.mode}"
    if layer.size is not None:
        return f"size {layer.size}"
    factors: Any = layer.scale_factor
    pair = factors if isinstance(factors, tuple) else (factors, factors)
    return "" if pair == (_STRIDE, _STRIDE) else f"scale {factors}"


def _arriving_channels(detector: Detector, layers: tuple[str, ...]) -> dict[str, int]:
    """Return how many channels each layer takes, seen by running the network once."""
    channels: dict[str, int] = {}

    def watch(name: str) -> Any:
        def record(layer: nn.Module, taken: tuple[torch.Tensor, ...]) -> None:
            channels[name] = int(taken[0].shape[1])

        return record

    handles = [detector.module.get_submodule(name).register_forward_pre_hook(watch(name)) for name in layers]
    side = detector.stride
    try:
        with torch.no_grad():
            detector.module(next(detector.module.parameters()).new_zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return channels


def _row_channels(architecture: Mapping[str, Json], channels: int) -> int:
    """Return what a row must say for a number of channels: builders multiply it by the width and round up to 8."""
    scales = architecture.get("scales")
    scale = architecture.get("scale") or next(iter(scales or ()), None)
    width = scales[scale][1] if scales else architecture.get("width_multiple", 1.0)
    return max(int(channels / width), 1)


def _build(detector: Detector, architecture: Mapping[str, Json]) -> nn.Module:
    count = len(detector.class_names)
    return build_module(architecture, family=detector.family, class_count=count, subject=detector.name)


OPERATION = Operation(
    name="deconv",
    summary="replace nearest-neighbour upsampling by transposed convolutions with equal outputs",
    example="deconv:2",
    positional="kernel",
    settings={
        "kernel": Setting(
            read=read_choice(*GEOMETRIES),
            default="2",
            meaning="2 (2 x 2, stride 2) or 4 (4 x 4, stride 2, padding 1)",
        ),
    },
    successors=frozenset(
        {
            "drop-levels",
            "shallow",
            "align",
            "finetune",
            "prune",
            "prune24",
            "recalibrate",
            "slim",
            "sparsify",
            "swap-activation",
        }
    ),
    apply=deconvolve,
)
