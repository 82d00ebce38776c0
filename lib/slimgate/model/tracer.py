"""Running a network once with a label on every channel."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from slimgate.model.head import head_of, output_convolutions, strides_of
from slimgate.model.labelling import Labelling, Where, label_with, labels_of
from slimgate.model.trace import CONVOLUTIONS, HEAD, IMAGE_CHANNELS, OUTPUT, Trace


def run_labelled(
    module: nn.Module,
    *,
    subject: str,
    before: Callable[[str, nn.Module, tuple[Any, ...]], None] | None = None,
) -> Trace:
    """Return the trace of one run on shapes alone: nothing is computed, and the network is left as it is.

    Args:
        module: a detector's network.
        subject: what error messages are about.
        before: called with every convolution and batch norm of a copy without values, its name and its inputs,
            before it runs.

    Raises:
        InputError: a function is not known, or channels that are added are not equally many.
    """
    trace = Trace(subject=subject)
    shapes = copy.deepcopy(module).eval().to("meta")
    # In training the head stops before the decode, which reads its strides: values, and there are none here.
    head_of(shapes).training = True
    side = 2 * max(strides_of(module))
    image = torch.zeros(1, 3, side, side, device="meta", dtype=next(shapes.parameters()).dtype)
    with torch.no_grad(), _hooks(shapes, before) as where:
        labels = trace.new(3, "the image")
        trace.fix(labels, IMAGE_CHANNELS)
        with Labelling(trace, where):
            outputs = shapes(label_with(image, labels))
    if isinstance(outputs, torch.Tensor):
        trace.fix(labels_of(outputs) or (), OUTPUT)
    for layer in output_convolutions(shapes):
        trace.fix(trace.calls[where.names[id(layer)]].outputs, HEAD)
    return trace


@contextlib.contextmanager
def _hooks(
    module: nn.Module, before: Callable[[str, nn.Module, tuple[Any, ...]], None] | None
) -> Iterator[Where]:
    where = Where(module)

    def enter(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        where.stack.append(layer)
        if before is not None and isinstance(layer, (*CONVOLUTIONS, nn.BatchNorm2d)):
            with torch._C.DisableTorchFunction():
                before(where.name, layer, inputs)

    def leave(*_: Any) -> None:
        where.stack.pop()

    handles = []
    for layer in module.modules():
        handles.append(layer.register_forward_pre_hook(enter))
        handles.append(layer.register_forward_hook(leave))
    try:
        yield where
    finally:
        for handle in handles:
            handle.remove()
