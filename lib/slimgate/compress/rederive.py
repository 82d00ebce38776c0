"""The slim widths as an architecture of their own, built again without the pruned weights ("nas").

What pruning found may be the widths and not the weights (Liu et al. 2019, arXiv:1810.05270): here the same
architecture starts anew, from scratch or from a pretrained detector's weights, and is trained like any other.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from slimgate.compress.deconv import deconvolve
from slimgate.compress.drop_levels import drop_levels
from slimgate.compress.operation import Operation, Setting, Workspace, read_choice, read_count, recorded
from slimgate.compress.shallow import drop_blocks
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Json, Step
from slimgate.model.build import build_module
from slimgate.model.channels import ChannelGraph, trace_channels
from slimgate.model.load import load_detector, replace_module
from slimgate.model.slice import positions_from_text, slice_tensors


def rederive(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return a detector of the same architecture with new weights; those of the given one are not used.

    Args:
        detector: whose architecture is built again; it stays as it is.
        settings: checked. ``weights`` names the pretrained detector, ``match`` how its channels are chosen where it
            is wider: ``kept`` takes those that slimming kept, by the positions in the lineage; ``first`` the first of
            each layer.
        workspace: not used; nothing is trained.

    Raises:
        UsageError: ``match=kept`` for a detector whose lineage does not say which channels were kept.
        InputError: the pretrained file cannot be loaded, is of another family or has other layers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        module = build_module(
            detector.architecture,
            family=detector.family,
            class_count=len(detector.class_names),
            subject=detector.name,
        )
    state = module.state_dict()
    notes: dict[str, Json] = {"tensors": len(state), "inherited": 0}
    if settings["weights"] is not None:
        pretrained = load_detector(Path(settings["weights"]))
        inherited = _inherited(detector, pretrained, settings["match"], state)
        module.load_state_dict({**state, **inherited})
        notes |= {
            "inherited": len(inherited),
            "weights_sha256": pretrained.weights_sha256,
            "weights_name": pretrained.name,
        }
    step = Step(operation="rederive", settings=recorded(settings), notes=notes)
    # The record of how the pruned weights were trained is not that of these.
    return dataclasses.replace(replace_module(detector, module, step), training={})


def _inherited(
    detector: Detector, pretrained: Detector, match: str, state: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    if pretrained.family != detector.family:
        raise InputError(
            f"weights {pretrained.name}",
            found=f"of the family {pretrained.family.value}",
            expected=f"{detector.family.value}, as {detector.name}",
            action="name a pretrained detector of the same family",
        )
    pretrained = _with_the_same_layers(pretrained, detector.lineage)
    graph = trace_channels(pretrained.module, subject=pretrained.name)
    slim = trace_channels(detector.module, subject=detector.name)
    if match == "kept":
        chosen = _positions_kept(detector)
        kept = _kept_by_positions(graph, chosen)
    else:
        kept = _first_channels(graph, slim)
    sliced = slice_tensors(pretrained.module.state_dict(), graph, kept)
    fitting = {
        name: tensor for name, tensor in sliced.items() if name in state and state[name].shape == tensor.shape
    }
    _refuse_if_strange(detector, pretrained, graph, fitting, state)
    return fitting


def _with_the_same_layers(pretrained: Detector, lineage: Sequence[Step]) -> Detector:
    """Return the pretrained detector with the layers that a lineage says were removed, or put in for others.

    A transposed convolution has output channels of its own, where upsampling passes on what arrives: without it the
    positions kept before and after it could not be told apart.
    """
    for step in lineage:
        if step.operation == "drop-levels":
            pretrained = drop_levels(pretrained, step.settings, Workspace())
        elif step.operation == "shallow":
            pretrained = drop_blocks(pretrained, step.notes["dropped"], step)
        elif step.operation == "deconv" and not _has_deconvolutions(pretrained):
            pretrained = deconvolve(pretrained, step.settings, Workspace())
    return pretrained


def _has_deconvolutions(detector: Detector) -> bool:
    return any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in detector.module.modules())


def _refuse_if_strange(
    detector: Detector,
    pretrained: Detector,
    graph: ChannelGraph,
    fitting: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
) -> None:
    # The head's outputs follow the classes, and may differ; everything else must fit.
    missing = [
        f"{name}.weight"
        for name in graph.choosable
        if f"{name}.weight" in state and f"{name}.weight" not in fitting
    ]
    if missing or not fitting:
        raise InputError(
            f"weights {pretrained.name}",
            found=f"{len(missing) or 'all'} layers do not fit {detector.name}, such as "
            f"{min(missing, default='none of its names')}",
            expected="the detector that was slimmed, or one with the same layers, as wide or wider",
            action="name that detector, or leave weights out to start from scratch",
        )


def _positions_kept(detector: Detector) -> dict[str, list[int]]:
    """Return, by layer, the positions in the first network that are still there after all slimming."""
    chosen: dict[str, list[int]] = {}
    steps = [step for step in detector.lineage if step.operation in ("slim", "align")]
    padded = [step for step in steps if step.operation == "align" and step.notes.get("padded")]
    operations = [step.operation for step in detector.lineage]
    renamed = "slim" in operations and "shallow" in operations[operations.index("slim") :]
    if padded or renamed or "slim" not in operations:
        found = (
            "channels padded by align" if padded else "blocks removed after slim, which renames the others"
        )
        raise UsageError(
            f"match=kept for {detector.name}",
            found=found if padded or renamed else "no slim in its lineage",
            expected="a detector whose lineage says which channels were kept",
            action="write match=first, which takes the first channels of every layer",
        )
    for step in steps:
        for name, text in step.notes.get("kept", {}).items():
            positions = positions_from_text(text)
            before = chosen.get(name)
            chosen[name] = positions if before is None else [before[position] for position in positions]
    return chosen


def _kept_by_positions(graph: ChannelGraph, chosen: Mapping[str, list[int]]) -> frozenset[int]:
    kept = set(graph.all_channels())
    for name, positions in chosen.items():
        layer = graph.layers.get(name)
        if layer is not None:
            stay = set(positions)
            kept -= {channel for position, channel in enumerate(layer.outputs) if position not in stay}
    return frozenset(kept)


def _first_channels(graph: ChannelGraph, slim: ChannelGraph) -> frozenset[int]:
    widths = {group.layers: len(group.channels) for group in slim.groups}
    return frozenset(
        channel for group in graph.groups for channel in group.channels[: widths.get(group.layers)]
    )


def _read_path(subject: str, value: Json) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    if not text:
        raise UsageError(
            subject,
            found="an empty path",
            expected="a pretrained detector's file",
            action="name one, or leave weights out to start from scratch",
        )
    return text


def _fingerprint_file(path: Json) -> Json:
    """Return the sha256 of a file; None without one."""
    if path is None or not Path(path).is_file():
        return None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


OPERATION = Operation(
    name="rederive",
    summary="build the (slim) architecture again with new weights, from scratch or from a pretrained detector",
    example="rederive:yolov5n.safetensors",
    positional="weights",
    settings={
        "weights": Setting(
            read=_read_path,
            default=None,
            fingerprint=_fingerprint_file,
            meaning="pretrained detector to inherit from; left out: from scratch",
        ),
        "match": Setting(
            read=read_choice("kept", "first"),
            default="kept",
            meaning="which of its channels: those that slimming kept, or the first ones",
        ),
        "seed": Setting(
            read=read_count(0, 2**31 - 1), default=0, meaning="of the weights that start at random"
        ),
    },
    successors=frozenset({"align", "finetune", "recalibrate", "sparsify", "swap-activation"}),
    apply=rederive,
)
