"""Networks whose layers have widths of their own: what structured pruning leaves, as an architecture.

A YOLO yaml gives a block one width and derives the rest from it (half of it inside a C3, the same for each of its
bottlenecks). Pruning leaves widths that follow no such rule, so an architecture may hold ``widths``: output
channels by convolution, over whatever its rows say. Input channels are never written; they follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slimgate.errors import InputError, name_offenders, nearest_name
from slimgate.model.channels import ChannelGraph, graph_from_trace
from slimgate.model.labelling import is_depthwise
from slimgate.model.trace import CONVOLUTIONS
from slimgate.model.tracer import run_labelled


def apply_widths(module: nn.Module, widths: Mapping[str, int], *, subject: str) -> ChannelGraph:
    """Give convolutions the output channels that ``widths`` says, in place; return the new channel graph.

    Input channels and batch norms follow from what arrives at each layer. A layer whose shape changes gets
    fresh weights (torch's own initialisation and global generator); the others keep theirs.

    Args:
        module: a detector's network.
        widths: output channels by module name of a convolution; those not named keep theirs.
        subject: what error messages are about, a file name.

    Raises:
        InputError: a name is not that of a convolution with a width to choose, a split is not even, or two widths
            that are added differ; the message names the layers and the two numbers.
    """
    graph = graph_from_trace(run_labelled(module, subject=subject))
    _check_names(graph, widths, subject)

    shapes: dict[str, tuple[int, ...]] = {}

    def resize(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        incoming = inputs[0].shape[1]
        if isinstance(layer, nn.BatchNorm2d):
            shapes[name] = (incoming,)
            _resize_norm(layer, incoming)
        elif isinstance(layer, CONVOLUTIONS):
            outgoing = incoming if is_depthwise(layer) else widths.get(name, layer.out_channels)
            shapes[name] = (incoming, outgoing)
            _resize_convolution(layer, incoming, outgoing)

    try:
        trace = run_labelled(module, subject=subject, before=resize)
    except RuntimeError as error:  # a block that slices or splits by a width it worked out for itself
        raise InputError(
            f"{subject}: widths",
            found=f"the layers do not fit together ({error})",
            expected="widths that every block can be built from",
            action="compare them with those of the network they were written for",
        ) from error
    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and name in shapes:
            _resize_norm(layer, *shapes[name])
        elif isinstance(layer, CONVOLUTIONS) and name in shapes:
            _resize_convolution(layer, *shapes[name])
    return graph_from_trace(trace)


def _check_names(graph: ChannelGraph, widths: Mapping[str, int], subject: str) -> None:
    exempt = graph.exempt
    problems = []
    for name, width in widths.items():
        layer = graph.layers.get(name)
        if layer is None:
            problems.append(f"no convolution {name}{nearest_name(name, graph.layers)}")
        elif layer.kind == "depthwise":
            problems.append(f"{name} is depthwise: its width is that of what it reads")
        elif name in exempt and width != len(layer.outputs):
            problems.append(f"{name}: {width} in place of {len(layer.outputs)} ({exempt[name]})")
    if problems:
        raise InputError(
            f"{subject}: widths",
            found=name_offenders(problems),
            expected="names of convolutions that have a width to choose",
            action="check that the widths belong to these backbone and head rows",
        )


def _resize_norm(layer: nn.BatchNorm2d, channels: int) -> None:
    if layer.num_features == channels:
        return
    fresh = nn.BatchNorm2d(channels, device=layer.weight.device, dtype=layer.weight.dtype)
    layer.num_features = channels
    layer.weight, layer.bias = fresh.weight, fresh.bias
    layer.running_mean, layer.running_var = fresh.running_mean, fresh.running_var


def _resize_convolution(layer: nn.Conv2d | nn.ConvTranspose2d, incoming: int, outgoing: int) -> None:
    if (incoming, outgoing) == (layer.in_channels, layer.out_channels):
        return
    kept_bias = layer.bias if outgoing == layer.out_channels else None
    if is_depthwise(layer):
        layer.groups = incoming
        setattr(layer, "was_depthwise", True)  # noqa: B010 - torch types every attribute of a module as a module
    layer.in_channels, layer.out_channels = incoming, outgoing
    turned = isinstance(layer, nn.ConvTranspose2d)
    rows, columns = (incoming, outgoing) if turned else (outgoing, incoming)
    like: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    layer.weight = nn.Parameter(torch.empty(rows, columns // layer.groups, *layer.kernel_size, **like))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.empty(outgoing, **like))
    layer.reset_parameters()
    if kept_bias is not None:
        # The head's output convolutions start from a bias that says how rare objects are.
        layer.bias = kept_bias
