"""Legacy YOLOv5 (v4.0-v7.0) networks, rebuilt on ultralytics' layers plus the anchor head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from slimgate.flow import Json
from slimgate.model.anchor_head import AnchorHead
from slimgate.model.architecture import resolve_word
from slimgate.model.ultralytics_env import Conv, blocks

_BATCHNORM_EPS = 1e-3
_BATCHNORM_MOMENTUM = 0.03
_WIDTH_MULTIPLE = 8


class LegacyBottleneck(nn.Module):
    """YOLOv5's residual pair, a 1x1 then a 3x3 convolution; ultralytics' own starts with a 3x3."""

    def __init__(self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden, c2, 3, 1, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(n, c2, h, w)``."""
        y: torch.Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class LegacyBottleneckCSP(nn.Module):
    """YOLOv5's cross-stage-partial block of v3 and before: one batch norm over both branches."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = nn.Conv2d(c1, hidden, 1, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, 1, bias=False)
        self.cv4 = Conv(2 * hidden, c2, 1, 1)
        self.bn = nn.BatchNorm2d(2 * hidden)
        self.act = Conv.default_act
        self.m = nn.Sequential(*(LegacyBottleneck(hidden, hidden, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(n, c2, h, w)``."""
        deep, shallow = self.cv3(self.m(self.cv1(x))), self.cv2(x)
        y: torch.Tensor = self.cv4(self.act(self.bn(torch.cat((deep, shallow), 1))))
        return y


class LegacyDetector(nn.Module):
    """A YOLOv5 network: layers in order, each reading from earlier ones.

    Args:
        layers: in order; the last is the head.
        sources: per layer, the index or indices it reads from; -1 is the layer before.
    """

    def __init__(self, layers: Sequence[nn.Module], sources: Sequence[int | list[int]]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.sources = tuple(sources)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return predictions ``(n, 4 + classes, candidates)`` for RGB images ``(n, 3, s, s)`` in 0..1."""
        return _run(self.model, self.sources, x)[-1]


def _run(
    layers: Iterable[nn.Module], sources: Sequence[int | list[int]], x: torch.Tensor
) -> list[torch.Tensor]:
    """Return the output of every layer."""
    outputs: list[torch.Tensor] = []
    for layer, source in zip(layers, sources, strict=True):
        if isinstance(source, list):
            outputs.append(layer([outputs[i] for i in source]))
        else:
            outputs.append(layer(outputs[source] if outputs else x))
    return outputs


def legacy_module(layout: dict[str, Json]) -> nn.Module:
    """Return a LegacyDetector for a checked YOLOv5 yaml whose ``anchors`` are pixels per level.

    Widths and depths scale as in YOLOv5 (``models/yolo.py``, ``parse_model``).
    """
    depth, width = layout.get("depth_multiple", 1.0), layout.get("width_multiple", 1.0)
    anchors = [_pairs(level) for level in layout["anchors"]]
    class_count = layout["nc"]
    outputs = len(anchors[0]) * (class_count + 5)
    words = {"nc": class_count, "anchors": None}
    rows = [*layout["backbone"], *layout["head"]]
    widths: list[int] = []
    layers: list[nn.Module] = []
    sources = [_absolute(row[0], index) for index, row in enumerate(rows)]
    for (_, number, name, raw), source in zip(rows[:-1], sources, strict=False):
        arguments = [resolve_word(argument, words) for argument in raw]
        repeats = max(round(number * depth), 1) if number > 1 else number
        incoming = [3 if not widths else widths[i] for i in ([source] if isinstance(source, int) else source)]
        layer, outgoing = _layer(name, arguments, incoming, repeats, width, outputs)
        layers.append(layer)
        widths.append(outgoing)
    taken = [widths[i] for i in sources[-1]]  # type: ignore[union-attr]
    strides = _strides(layers, sources)
    head = AnchorHead(class_count, anchors, taken, strides)
    module = LegacyDetector([*layers, head], sources)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = _BATCHNORM_EPS, _BATCHNORM_MOMENTUM
    return module


def _layer(
    name: str, arguments: list[Json], incoming: list[int], repeats: int, width: float, outputs: int
) -> tuple[nn.Module, int]:
    """Return a layer and its number of output channels."""
    if name == "Concat":
        return blocks.Concat(*arguments), sum(incoming)
    if name not in _SCALED:
        kind = getattr(nn, name.removeprefix("nn."))
        return _repeat(lambda: kind(*arguments), repeats), incoming[0]
    outgoing = arguments[0]
    if outgoing != outputs:
        outgoing = math.ceil(outgoing * width / _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
    sized = [incoming[0], outgoing]
    if name in _INNER_REPEAT:
        return _SCALED[name](*sized, repeats, *arguments[1:]), outgoing
    return _repeat(lambda: _SCALED[name](*sized, *arguments[1:]), repeats), outgoing


def _repeat(make: Callable[[], nn.Module], number: int) -> nn.Module:
    return nn.Sequential(*(make() for _ in range(number))) if number > 1 else make()


def _absolute(source: int | list[int], index: int) -> int | list[int]:
    """Return a row's source with relative indices made absolute; the layer before stays -1."""
    if isinstance(source, int):
        return source if source >= 0 or source == -1 else index + source
    return [i if i >= 0 else index + i for i in source]


def _pairs(level: Sequence[Json]) -> list[list[float]]:
    """Return one level's anchors as pairs, from a flat list or from pairs."""
    if level and isinstance(level[0], (list, tuple)):
        return [[float(w), float(h)] for w, h in level]
    return [[float(w), float(h)] for w, h in zip(level[::2], level[1::2], strict=True)]


def _strides(layers: Sequence[nn.Module], sources: Sequence[int | list[int]]) -> list[int]:
    """Return pixels per cell of the maps that the head reads, by running the layers on a blank image."""
    side = 256
    with torch.no_grad():
        outputs = _run([layer.eval() for layer in layers], sources[:-1], torch.zeros(1, 3, side, side))
    return [side // outputs[i].shape[-1] for i in sources[-1]]  # type: ignore[union-attr]


def _sppf(*arguments: int) -> nn.Module:
    layer: Any = blocks.SPPF(*arguments)
    # ultralytics' block is the newer one, whose first convolution has no activation.
    layer.cv1.act = Conv.default_act
    return layer  # type: ignore[no-any-return]


_SCALED: Mapping[str, Callable[..., nn.Module]] = {
    "Conv": blocks.Conv,
    "DWConv": blocks.DWConv,
    "Focus": blocks.Focus,
    "GhostConv": blocks.GhostConv,
    "Bottleneck": LegacyBottleneck,
    "GhostBottleneck": blocks.GhostBottleneck,
    "BottleneckCSP": LegacyBottleneckCSP,
    "SPP": blocks.SPP,
    "SPPF": _sppf,
    "C3": blocks.C3,
    "C3Ghost": blocks.C3Ghost,
    "nn.ConvTranspose2d": nn.ConvTranspose2d,
}
_INNER_REPEAT = frozenset({"BottleneckCSP", "C3", "C3Ghost"})
