"""Detection without its coarsest level: a head level and every layer that works at its stride go.

A level that finds nothing costs as much as one that does. Whether one is needed shows in Taylor importance: on the
built-in codes, layers of stride 32 have less than a millionth of that of stride 8.

The rows that go are replaced by ``nn.Identity``, so all others keep their numbers, and pretrained weights match by
name as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_count
from slimgate.compress.rows import join_rows, rebuild, split_rows
from slimgate.errors import UsageError
from slimgate.flow import Detector, Json, Step
from slimgate.model.channels import trace_channels
from slimgate.model.head import head_of, strides_of
from slimgate.model.slice import slice_tensors


def drop_levels(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector without its coarsest levels; what is left keeps its weights, and must be trained on.

    Args:
        detector: stays as it is.
        settings: ``levels``, checked: how many go.
        workspace: not used; nothing is trained.

    Raises:
        UsageError: no level would be left.
        InputError: layers that stay depend on those that go.
    """
    strides = strides_of(detector.module)
    if settings["levels"] >= len(strides):
        raise UsageError(
            f"drop-levels of {detector.name}",
            found=f"{settings['levels']} of its {len(strides)} levels (strides {', '.join(map(str, strides))})",
            expected=f"at most {len(strides) - 1}: a detector has at least one level",
            action=f"write drop-levels:{len(strides) - 1} or less",
        )
    for _ in range(settings["levels"]):
        detector = _without_coarsest(detector)
    return detector


def _without_coarsest(detector: Detector) -> Detector:
    strides = strides_of(detector.module)
    coarsest = max(strides)
    rows = split_rows(detector.architecture)
    sources = [_absolute_sources(index, row[0]) for index, row in enumerate(rows)]
    gone = _rows_gone(detector, sources, coarsest)
    level = strides.index(coarsest)
    for index, row in enumerate(rows[:-1]):
        left = [source for source in sources[index] if source not in gone]
        if index in gone:
            rows[index] = [-1, 1, "nn.Identity", []]
        elif len(left) < len(sources[index]):
            # Of a concatenation, what is left; of one input alone, that input.
            rows[index] = [left, *row[1:]] if len(left) > 1 else [left[0], 1, "nn.Identity", []]
    rows[-1][0] = [source for source in sources[-1] if source not in gone]
    architecture = join_rows(detector.architecture, rows)
    if isinstance(architecture.get("anchors"), list):
        architecture["anchors"] = [
            anchors for index, anchors in enumerate(architecture["anchors"]) if index != level
        ]
    graph = trace_channels(detector.module, subject=detector.name)
    removed = {
        channel for name, layer in graph.layers.items() if _row_of(name) in gone for channel in layer.outputs
    }
    made_elsewhere = {
        channel
        for name, layer in graph.layers.items()
        if _row_of(name) not in gone
        for channel in layer.outputs
    }
    kept = graph.all_channels() - (removed - made_elsewhere)
    tensors = slice_tensors(detector.module.state_dict(), graph, kept)
    branches = _level_lists(detector.module, len(strides))
    if "anchors" in architecture:
        tensors = _anchors_left(tensors, level, len(strides))

    def rename(name: str) -> str | None:
        if _row_of(name) in gone:
            return None
        for prefix in branches:
            if name.startswith(f"{prefix}."):
                number, _, rest = name[len(prefix) + 1 :].partition(".")
                if int(number) == level:
                    return None
                return f"{prefix}.{int(number) - (int(number) > level)}.{rest}"
        return name

    notes: dict[str, Json] = {
        "stride": coarsest,
        "rows": sorted(gone),
        "strides": [stride for stride in strides if stride != coarsest],
    }
    step = Step(operation="drop-levels", settings={"levels": 1}, notes=notes)
    return rebuild(detector, architecture, tensors, rename, step)


def _absolute_sources(index: int, source: Any) -> list[int]:
    """Return the numbers of the rows that a row reads; -1 is the image of the first row."""
    listed = source if isinstance(source, (list, tuple)) else [source]
    return [index + one if one < 0 else one for one in listed]


def _rows_gone(detector: Detector, sources: list[list[int]], stride: int) -> set[int]:
    """Return the rows whose maps are of a stride, and those that read nothing else."""
    sizes = _map_sizes(detector)
    cells = 2 * detector.stride // stride
    gone = {index for index, size in sizes.items() if size <= cells}
    for index, read in enumerate(sources[:-1]):
        if read and all(source in gone for source in read):
            gone.add(index)
    return gone


def _map_sizes(detector: Detector) -> dict[int, int]:
    """Return the height of each row's map for an image of two coarsest strides, the head left out."""
    sizes: dict[int, int] = {}
    rows: Any = detector.module.model
    handles = [
        row.register_forward_hook(
            lambda _layer, _given, made, index=index: sizes.__setitem__(index, int(made.shape[-2]))
        )
        for index, row in enumerate(rows[:-1])
    ]
    side = 2 * detector.stride
    try:
        with torch.no_grad():
            detector.module(next(detector.module.parameters()).new_zeros(1, 3, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _level_lists(module: nn.Module, levels: int) -> list[str]:
    """Return the names of the head's lists that have one entry per level."""
    names = {id(layer): name for name, layer in module.named_modules()}
    return [
        names[id(child)]
        for child in head_of(module).children()
        if isinstance(child, nn.ModuleList) and len(child) == levels
    ]


def _anchors_left(tensors: Mapping[str, torch.Tensor], level: int, levels: int) -> dict[str, torch.Tensor]:
    """Return the tensors of a legacy head without a level's anchors."""
    stay = torch.tensor([index for index in range(levels) if index != level])
    return {
        name: tensor.index_select(0, stay)
        if name.endswith((".anchors", ".strides")) and len(tensor) == levels
        else tensor
        for name, tensor in tensors.items()
    }


def _row_of(name: str) -> int:
    """Return the row that a module or tensor belongs to."""
    return int(name.split(".")[1])


OPERATION = Operation(
    name="drop-levels",
    summary="remove the coarsest detection levels and every layer of their strides",
    example="drop-levels:1",
    positional="levels",
    settings={"levels": Setting(read=read_count(1, 10), meaning="how many, coarsest first")},
    successors=frozenset(
        {"align", "deconv", "finetune", "prune", "prune24", "recalibrate", "shallow", "slim", "sparsify"}
        | {"swap-activation", "transfer-head", "rederive", "drop-levels"}
    ),
    apply=drop_levels,
)
