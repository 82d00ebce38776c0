"""Fewer blocks: of stages that repeat a residual block, the blocks that add least go.

A residual block adds to what passes by it, so without it the network still computes something close. Every layer
costs time of its own however narrow it is: on a small batch, depth is what a slim network's latency is made of.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from slimgate.compress.operation import Operation, Setting, Workspace, read_count
from slimgate.compress.rows import join_rows, rebuild, split_rows
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Json, Step

_STAGES = frozenset({"C3"})
"""Rows whose repeated blocks are one after the other in ``m``, so that any of them may go."""


def most_blocks(detector: Detector) -> int:
    """Return how many blocks the longest stage has that ``shallow`` can shorten; 1 where there is none."""
    return max(map(len, _stages(detector).values()), default=1)


def make_shallow(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with at most so many blocks in every stage; those that stay keep their weights.

    Args:
        detector: stays as it is.
        settings: ``blocks``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: no stage has more blocks.
    """
    most: int = settings["blocks"]
    dropped = {}
    for name, blocks in _stages(detector).items():
        strengths = [_strength(block) for block in blocks]
        ranked = sorted(range(len(blocks)), key=lambda number: -strengths[number])
        if len(blocks) > most:
            dropped[name] = sorted(ranked[most:])
    if not dropped:
        raise InputError(
            f"shallow of {detector.name}",
            found=f"no C3 stage of more than {most} blocks",
            expected="stages that repeat their block more often",
            action="ask for fewer blocks, or leave shallow out",
        )
    return drop_blocks(detector, dropped, Step(operation="shallow", settings=dict(settings), notes={}))


def drop_blocks(detector: Detector, dropped: Mapping[str, Sequence[int]], step: Step) -> Detector:
    """Return the detector without the blocks of these numbers, by name of the sequence they are in.

    Args:
        detector: stays as it is.
        dropped: such as ``{"model.4.m": [1]}``; every sequence keeps a block.
        step: what the lineage says, to which the blocks are added.

    Raises:
        InputError: it has no such blocks.
    """
    stages = _stages(detector)
    strange = [
        f"{name}.{n}" for name, gone in dropped.items() for n in gone if n >= len(stages.get(name, ()))
    ]
    if strange:
        raise InputError(
            f"{step.operation} of {detector.name}",
            found=f"no block {name_offenders(strange)}",
            expected="a detector with the blocks that are to go",
            action="use the detector that the lineage is of",
        )
    left = {int(name.split(".")[1]): len(stages[name]) - len(gone) for name, gone in dropped.items()}
    architecture = _with_blocks(detector.architecture, left)

    def rename(name: str) -> str | None:
        match = re.match(r"(model\.\d+\.m)\.(\d+)\.(.*)", name)
        if match is None or match[1] not in dropped:
            return name
        number, gone = int(match[2]), dropped[match[1]]
        if number in gone:
            return None
        return f"{match[1]}.{number - sum(other < number for other in gone)}.{match[3]}"

    notes: dict[str, Json] = {"dropped": {name: list(gone) for name, gone in dropped.items()}}
    noted = dataclasses.replace(step, notes={**step.notes, **notes})
    return rebuild(detector, architecture, detector.module.state_dict(), rename, noted)


def _stages(detector: Detector) -> dict[str, nn.Sequential]:
    """Return the sequences of blocks of the rows that repeat theirs, by name."""
    found = {}
    for index, row in enumerate(split_rows(detector.architecture)):
        blocks: Any = getattr(detector.module.get_submodule(f"model.{index}"), "m", None)
        if row[2] in _STAGES and isinstance(blocks, nn.Sequential):
            found[f"model.{index}.m"] = blocks
    return found


def _strength(block: nn.Module) -> float:
    """Return how much a block adds: the mean scale of its last batch norm."""
    norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    return float(norms[-1].weight.detach().abs().mean())


def _with_blocks(architecture: Mapping[str, Json], left: Mapping[int, int]) -> dict[str, Json]:
    """Return the architecture with so many blocks in the rows of these numbers."""
    rows = split_rows(architecture)
    scales = architecture.get("scales")
    scale = architecture.get("scale") or next(iter(scales or ()), None)
    depth = scales[scale][0] if scales else architecture.get("depth_multiple", 1.0)
    numbers = {index: _number_for(blocks, depth) for index, blocks in left.items()}
    if 0 in numbers.values():
        # No number times this multiple gives so many, such as 2 with YOLOv5x's 1.33: rows say what they come to.
        numbers = {index: _blocks_of(row[1], depth) for index, row in enumerate(rows)} | {**left}
        if scales:
            architecture = {**architecture, "scales": {**scales, scale: [1.0, *scales[scale][1:]]}}
        else:
            architecture = {**architecture, "depth_multiple": 1.0}
    for index, number in numbers.items():
        rows[index][1] = number
    return join_rows(architecture, rows)


def _blocks_of(number: int, depth: float) -> int:
    """Return what a depth multiple makes of a row's number, as both upstreams read it."""
    return max(round(number * depth), 1) if number > 1 else number


def _number_for(blocks: int, depth: float) -> int:
    """Return the number in a row that the depth multiple turns into so many blocks; 0 if there is none."""
    numbers = (number for number in range(1, 10_000) if _blocks_of(number, depth) == blocks)
    return next(numbers, 0)


OPERATION = Operation(
    name="shallow",
    summary="keep at most so many blocks in every stage that repeats them",
    example="shallow:1",
    positional="blocks",
    settings={"blocks": Setting(read=read_count(1, 100), meaning="most blocks that a stage keeps")},
    successors=frozenset(
        {"align", "deconv", "drop-levels", "finetune", "prune", "prune24", "recalibrate", "slim", "sparsify"}
        | {"swap-activation", "transfer-head", "rederive", "shallow"}
    ),
    apply=make_shallow,
)
