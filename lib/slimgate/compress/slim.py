"""Structured pruning: whole channels go, by coupled groups, and the network really gets smaller.

What network slimming (Liu et al. 2017, arXiv:1708.06519) does to convolutions in a row is done here to any graph of
coupled channels: shortcuts, concatenations, pyramid pooling, upsampling, transposed convolutions, detection heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from slimgate.compress.allocation import (
    Limits,
    choose_by_target,
    choose_channels,
    held_back,
    refuse_narrow,
    refuse_unreachable,
)
from slimgate.compress.favour import favoured, read_favour
from slimgate.compress.gammas import LEAST_SPARSE_SHARE, gamma_sparsity
from slimgate.compress.importance import IMPORTANCES, channel_importance
from slimgate.compress.operation import (
    Operation,
    Setting,
    Workspace,
    read_choice,
    read_count,
    read_ratio,
    read_text,
    recorded,
)
from slimgate.compress.reached import reached_notes
from slimgate.compress.slim_cost import latency_cost, macs_cost, parameter_cost
from slimgate.compress.taylor import labelled_pictures, taylor_importance
from slimgate.compress.training_data import CODES, fingerprint_data
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Json, Step
from slimgate.model.channels import ChannelGraph, trace_channels
from slimgate.model.head import head_of
from slimgate.model.load import replace_module
from slimgate.model.slice import kept_positions, slice_detector

_RESOLUTION = 2000
_LATENCY_STEPS = 64
"""Measurements are dear: seven decide among so many ratios."""
_TARGETS = ("ratio", "flops", "parameters", "latency")


def slim(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector without its least important channels; the one given stays as it is.

    Args:
        detector: what to slim.
        settings: checked; exactly one of ``ratio``, ``flops``, ``parameters`` and ``latency`` says how much.
        workspace: measures the latency, where that is the target.

    Raises:
        UsageError: no target or more than one, one that cannot be reached, or a layer would be emptied; or there
            is nothing to measure the latency with.
        InputError: the network does something unknown to channels, its gammas were never made sparse, or a layer is
            narrower than the multiple.
    """
    named = [key for key in _TARGETS if settings[key] is not None]
    if len(named) != 1:
        raise UsageError(
            "operation slim",
            found=f"{' and '.join(named) or 'no target'}",
            expected=f"exactly one of {', '.join(_TARGETS)}",
            action="write slim:0.5 (share of the channels to remove) or slim:flops=0.2 (share of the FLOPs to keep)",
        )
    graph = trace_channels(detector.module, subject=detector.name)
    limits = Limits(
        multiple=settings["multiple"],
        floor=settings["floor"],
        head_floor=settings["head_floor"],
        head=_head_layers(detector, graph),
    )
    if settings["importance"] == "gamma" and settings["dense_gammas"] == "refuse":
        _refuse_dense_gammas(detector)
    if settings["narrow"] == "refuse":
        refuse_narrow(graph.free, limits.multiple)
    macs, sizes = macs_cost(detector, graph), parameter_cost(detector, graph)
    scores = _scores(detector, graph, settings, macs)
    measured: dict[str, float] = {}
    if settings["latency"] is not None:
        measure = latency_cost(detector, graph, settings["runtime"], workspace, measured)
        kept, ratio = choose_by_target(
            graph,
            scores,
            scope=settings["scope"],
            limits=limits,
            cost=measure,
            target=settings["latency"],
            steps=_LATENCY_STEPS,
            name=f"of the latency on {settings['runtime']}",
        )
    else:
        kept, ratio = _choose(graph, scores, settings, limits, macs, sizes)
    architecture, module = slice_detector(detector, graph, kept)
    everything = graph.all_channels()
    held = held_back(graph, scores, ratio, scope=settings["scope"], limits=limits)
    shares = {key: cost(kept) / cost(everything) for key, cost in (("flops", macs), ("parameters", sizes))}
    shares["ratio"] = held.reached / max(held.removable, 1)
    shares["latency"] = measured.get(str(sorted(kept)), 1.0)
    notes = {
        "ratio": ratio,
        **reached_notes(named[0], settings[named[0]], shares[named[0]], held),
        "channels": {"before": held.removable, "after": held.removable - held.reached},
        "flops_share": shares["flops"],
        "parameters_share": shares["parameters"],
        "widths": {name: width for name, width in graph.widths(kept).items() if name not in graph.exempt},
        "exempt": graph.exempt,
        "unaligned": _unaligned(graph, kept, limits.multiple),
        "kept": kept_positions(graph, kept),
        **({"latency_ratio": measured[str(sorted(kept))]} if measured else {}),
    }
    step = Step(operation="slim", settings=recorded(settings), notes=notes)
    return dataclasses.replace(replace_module(detector, module, step), architecture=architecture)


def _choose(
    graph: ChannelGraph,
    scores: Mapping[int, float],
    settings: Mapping[str, Json],
    limits: Limits,
    macs: Callable[[frozenset[int]], float],
    sizes: Callable[[frozenset[int]], float],
) -> tuple[frozenset[int], float]:
    scope = settings["scope"]
    if settings["ratio"] is not None:
        ratio = settings["ratio"]
        kept = choose_channels(graph, scores, ratio, scope=scope, limits=limits)
        if settings["capped"] == "refuse":
            refuse_unreachable(graph, ratio, limits)
        return kept, ratio
    key, cost = ("flops", macs) if settings["flops"] is not None else ("parameters", sizes)
    whole = cost(graph.all_channels())
    return choose_by_target(
        graph,
        scores,
        scope=scope,
        limits=limits,
        cost=lambda kept: cost(kept) / whole,
        target=settings[key],
        steps=_RESOLUTION,
        name=f"of the {key}",
    )


def _scores(
    detector: Detector,
    graph: ChannelGraph,
    settings: Mapping[str, Json],
    macs: Callable[[frozenset[int]], float],
) -> Mapping[int, float]:
    if settings["importance"] == "taylor":
        pictures = labelled_pictures(settings["data"], settings["images"])
        scores = taylor_importance(detector, graph, pictures)
    else:
        scores = channel_importance(detector.module, graph, settings["importance"], seed=settings["seed"])
    if settings["favour"] is not None:
        scores = favoured(scores, detector, graph, settings["favour"])
    if settings["per"] == "channel":
        return scores
    everything = graph.all_channels()
    whole = macs(everything)
    costs = {
        c: whole - macs(everything - {group.channels[0]}) for group in graph.free for c in group.channels
    }
    return {channel: score / costs[channel] for channel, score in scores.items()}


def _refuse_dense_gammas(detector: Detector) -> None:
    found = gamma_sparsity(detector)
    if not found.is_sparse:
        raise InputError(
            f"slim of {detector.name} by gamma",
            found=f"the sparse training did not happen: {found.describe()}",
            expected=f"at least {LEAST_SPARSE_SHARE:.0%} of the scales under 0.01: without it they rank nothing",
            action="train with sparsify first, rank by importance=l2, or say dense_gammas=accept",
        )


def _head_layers(detector: Detector, graph: ChannelGraph) -> frozenset[str]:
    inside = {id(layer) for layer in head_of(detector.module).modules()}
    layers = dict(detector.module.named_modules())
    return frozenset(name for name in graph.layers if id(layers[name]) in inside)


def _unaligned(graph: ChannelGraph, kept: frozenset[int], multiple: int) -> dict[str, int]:
    exempt = graph.exempt
    return {n: w for n, w in graph.widths(kept).items() if w % multiple and n not in exempt}


def _read_optional_ratio(subject: str, value: Json) -> float | None:
    return None if value is None else read_ratio(subject, value)


OPERATION = Operation(
    name="slim",
    summary="remove whole channels by coupled group, widths rounded up to a multiple (structured pruning)",
    example="slim:0.5",
    positional="ratio",
    settings={
        "ratio": Setting(
            read=_read_optional_ratio, default=None, meaning="share of the channels to remove, 0 to 1"
        ),
        "flops": Setting(
            read=_read_optional_ratio, default=None, meaning="share of the FLOPs to keep, in place of a ratio"
        ),
        "parameters": Setting(
            read=_read_optional_ratio,
            default=None,
            meaning="share of the parameters to keep, in place of a ratio",
        ),
        "latency": Setting(
            read=_read_optional_ratio,
            default=None,
            meaning="share of the latency at batch 1 to keep, measured, in place of a ratio",
        ),
        "runtime": Setting(
            read=read_text, default="onnxruntime", meaning="with latency: what it is measured on"
        ),
        "scope": Setting(
            read=read_choice("global", "layer"),
            default="global",
            meaning="rank all channels together (global), or take the ratio of each layer (layer)",
        ),
        "importance": Setting(
            read=read_choice(*IMPORTANCES, "taylor"),
            default="gamma",
            meaning="what ranks channels: gamma, l1, l2, fpgm, random; taylor: the loss on training pictures",
        ),
        "per": Setting(
            read=read_choice("channel", "flops"),
            default="channel",
            meaning="rank channels by their importance, or by importance per FLOP that they cost",
        ),
        "favour": Setting(
            read=read_favour,
            default=None,
            meaning="factors on the importance by part, a stride or head: 4:0.5/16:2/head:1.5",
        ),
        "data": Setting(
            read=read_text,
            default=CODES,
            fingerprint=fingerprint_data,
            meaning="with importance=taylor: codes, or a YOLO data.yaml with train and val",
        ),
        "images": Setting(
            read=read_count(1, 100_000),
            default=640,
            meaning="with importance=taylor: so many training pictures",
        ),
        "multiple": Setting(
            read=read_count(1, 1024), default=8, meaning="kept widths are rounded up to it: 8, 4, 16, 32"
        ),
        "floor": Setting(read=read_ratio, default=0.125, meaning="smallest share that any layer keeps"),
        "head_floor": Setting(
            read=read_ratio, default=0.25, meaning="smallest share that a layer of the head keeps"
        ),
        "capped": Setting(
            read=read_choice("refuse", "accept"),
            default="refuse",
            meaning="a ratio beyond what floors and multiple allow: refuse, or take off as much as they do",
        ),
        "dense_gammas": Setting(
            read=read_choice("refuse", "accept"),
            default="refuse",
            meaning="a detector whose gammas were never made sparse, with importance=gamma: refuse or accept",
        ),
        "narrow": Setting(
            read=read_choice("refuse", "keep"),
            default="refuse",
            meaning="layers narrower than the multiple: refuse, or keep them whole and list them",
        ),
        "seed": Setting(read=read_count(0, 2**31 - 1), default=0, meaning="of importance=random"),
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
            "rederive",
            "slim",
            "swap-activation",
        }
    ),
    apply=slim,
)
