"""What each torch function does to the labels of channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name

from slimgate.errors import InputError
from slimgate.model.trace import CONVOLUTIONS, GROUPED, LOST, SPLIT, Call, Labels, Trace


def is_depthwise(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether each output channel is made of the input channel at its place alone.

    With a single channel the shape does not tell; a layer that was slimmed to one says so itself.
    """
    alone = layer.groups == layer.in_channels == layer.out_channels
    return alone and (layer.groups > 1 or getattr(layer, "was_depthwise", False))


class Where:
    """The module that is running, and the names of all."""

    def __init__(self, module: nn.Module) -> None:
        self.names = {id(layer): name for name, layer in module.named_modules()}
        self.stack: list[nn.Module] = [module]

    @property
    def layer(self) -> nn.Module:
        """The innermost module that runs."""
        return self.stack[-1]

    @property
    def name(self) -> str:
        """Its name in the network."""
        return self.names[id(self.layer)] or type(self.layer).__name__


def label_with(tensor: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Return the tensor, which now carries these labels of its channels."""
    tensor._slimgate_channels = labels  # type: ignore[attr-defined]
    return tensor


def labels_of(value: Any) -> Labels | None:
    """Return the labels that a tensor carries, or None."""
    labels: Labels | None = getattr(value, "_slimgate_channels", None)
    return labels


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


class Labelling(TorchFunctionMode):
    """Runs each torch function as it is, and says which labels its result has."""

    def __init__(self, trace: Trace, where: Where) -> None:
        super().__init__()
        self.trace, self.where = trace, where

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = [tensor for tensor in tensors_in([*args, kwargs]) if labels_of(tensor) is not None]
        if not taken and func not in _CONVOLVE:
            return func(*args, **kwargs)
        name = (resolve_name(func) or repr(func)).rsplit(".", 1)[-1]
        if name == "__get__" or name in _READING:
            return func(*args, **kwargs)
        if name in _ADDING:
            self._check_addition(taken)
        labels_before = [labels_of(tensor) for tensor in taken]
        result = func(*args, **kwargs)
        if func in _CONVOLVE:
            return self._convolve(result, args, kwargs)
        if name == "batch_norm":
            assert labels_before[0] is not None
            self.trace.norms[self.where.name] = labels_before[0]
            return label_with(result, labels_before[0])
        if name in _PASSING:
            assert labels_before[0] is not None
            return label_with(result, labels_before[0])
        if name in _ADDING:
            return self._add(result, taken)
        if name in ("cat", "concat", "concatenate"):
            return self._concatenate(result, args, kwargs)
        if name in ("chunk", "split", "split_with_sizes"):
            return self._split(result, args, kwargs, even=name == "chunk")
        if name == "__getitem__":
            return self._slice(result, args)
        if name in _LOSING:
            for labels in labels_before:
                self.trace.fix(labels or (), LOST)
            return result
        raise InputError(
            f"{self.trace.subject}: {self.where.name} ({type(self.where.layer).__name__})",
            found=f"it calls {name}, and what that does to channels is not known here",
            expected="convolutions, batch norms, activations, pooling, upsampling, concatenation, addition and splits",
            action="replace the module, or leave structured pruning out for this network",
        )

    def _convolve(
        self, result: torch.Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> torch.Tensor:
        layer, name, trace = self.where.layer, self.where.name, self.trace
        if not isinstance(layer, CONVOLUTIONS):
            raise InputError(
                f"{trace.subject}: {name} ({type(layer).__name__})",
                found="it convolves by itself, without a convolution layer",
                expected="torch.nn.Conv2d or torch.nn.ConvTranspose2d",
                action="replace the module, or leave structured pruning out for this network",
            )
        inputs = labels_of(args[0] if args else kwargs["input"])
        deconv = isinstance(layer, nn.ConvTranspose2d)
        if inputs is not None and is_depthwise(layer):
            outputs, kind = inputs, "depthwise"
        else:
            outputs, kind = trace.new(layer.out_channels, name), "deconv" if deconv else "conv"
            if layer.groups > 1:
                kind = "grouped"
                trace.fix((*outputs, *(inputs or ())), f"{GROUPED} ({name})")
        if name in trace.calls:
            first = trace.calls[name]
            trace.join(first.outputs, outputs)
            if first.inputs is not None and inputs is not None:
                trace.join(first.inputs, inputs)
        else:
            trace.calls[name] = Call(name=name, kind=kind, inputs=inputs, outputs=outputs)  # type: ignore[arg-type]
        return label_with(result, outputs)

    def _check_addition(self, taken: Sequence[torch.Tensor]) -> None:
        if len(taken) == 2:
            one, other = (labels_of(tensor) or () for tensor in taken)
            if len(one) != len(other) and 1 not in (len(one), len(other)):
                raise InputError(
                    f"{self.trace.subject}: {self.where.name} ({type(self.where.layer).__name__})",
                    found=f"it adds {len(one)} channels of {self.trace.makers(one)} to "
                    f"{len(other)} of {self.trace.makers(other)}",
                    expected="equal widths on both sides of an addition",
                    action=f"give {self.trace.makers(one)} and {self.trace.makers(other)} the same width",
                )

    def _add(self, result: torch.Tensor, taken: Sequence[torch.Tensor]) -> torch.Tensor:
        rows = [labels for tensor in taken if (labels := labels_of(tensor)) is not None]
        first = max(rows, key=len)
        for other in rows:
            if len(other) == len(first):
                self.trace.join(first, other)
        return label_with(result, first) if result.dim() == 4 else result

    def _concatenate(
        self, result: torch.Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> torch.Tensor:
        parts = list(args[0] if args else kwargs["tensors"])
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        if dim % result.dim() != 1 or result.dim() != 4:
            for part in parts:
                self.trace.fix(labels_of(part) or (), LOST)
            return result
        row: list[int] = []
        for part in parts:
            labels = labels_of(part)
            if labels is None:
                # Channels without a known maker: they stay, and so do their positions.
                labels = self.trace.new(part.shape[1], self.where.name)
                self.trace.fix(labels, LOST)
            row.extend(labels)
        return label_with(result, tuple(row))

    def _split(
        self, result: Sequence[torch.Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, even: bool
    ) -> Sequence[torch.Tensor]:
        source = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
        labels = labels_of(source) or ()
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        if dim % source.dim() != 1:
            for part in result:
                label_with(part, labels)
            return result
        start, parts = 0, []
        for part in result:
            parts.append(labels[start : start + part.shape[1]])
            label_with(part, parts[-1])
            start += part.shape[1]
        if even and len({len(part) for part in parts}) == 1:
            # chunk works each part's width out from the whole, so all parts must lose the same positions.
            for other in parts[1:]:
                self.trace.join(parts[0], other)
        else:
            self.trace.fix(labels, SPLIT)
        return result

    def _slice(self, result: Any, args: tuple[Any, ...]) -> Any:
        source, index = args
        labels = labels_of(source) or ()
        index = index if isinstance(index, tuple) else (index,)
        untouched = index[0] is Ellipsis or (len(index) > 1 and index[1] == slice(None))
        if isinstance(result, torch.Tensor) and result.dim() == 4 and untouched:
            return label_with(result, labels)
        self.trace.fix(labels, LOST)
        return result


_CONVOLVE = frozenset({F.conv2d, F.conv_transpose2d})
_READING = frozenset(
    {
        *("size", "dim", "ndimension", "numel", "stride", "element_size", "type", "is_floating_point"),
        *("type_as", "new_tensor", "new_zeros", "new_full", "zeros_like", "ones_like", "full_like"),
    }
)
"""Functions that look at a tensor's shape or type only."""
_ADDING = frozenset(
    {"add", "__add__", "__radd__", "__iadd__", "add_", "mul", "__mul__", "__rmul__", "mul_", "sub"}
)
_PASSING = frozenset(
    {
        *(
            "silu",
            "relu",
            "relu_",
            "relu6",
            "hardswish",
            "leaky_relu",
            "mish",
            "gelu",
            "elu",
            "sigmoid",
            "tanh",
        ),
        *(
            "hardtanh",
            "hardsigmoid",
            "dropout",
            "clone",
            "contiguous",
            "detach",
            "to",
            "float",
            "half",
            "double",
        ),
        *(
            "max_pool2d",
            "boolean_dispatch",
            "_max_pool2d",
            "avg_pool2d",
            "adaptive_avg_pool2d",
            "interpolate",
        ),
        *("pad", "upsample", "clamp"),
    }
)
"""Functions whose result has its first argument's channels, each computed from that channel alone."""
_LOSING = frozenset({"view", "reshape", "flatten", "permute", "transpose", "unsqueeze", "squeeze", "expand"})
