"""The head of legacy YOLOv5 (v4.0-v7.0): three anchors per cell, objectness times class score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class AnchorHead(nn.Module):
    """Turns feature maps into predictions ``(n, 4 + classes, candidates)``.

    Tensor names and units are those of YOLOv5 v6 and later, so its state dict fits unchanged: ``m.<level>``
    are the output convolutions, ``anchors`` ``(levels, anchors, 2)`` is width and height in units of the
    level's stride.

    Decode (YOLOv5, ``models/yolo.py``, ``Detect.forward``): ``xy = (2σ - 0.5 + grid) · stride``,
    ``wh = (2σ)² · anchor``, score = σ(objectness) · σ(class).

    Args:
        class_count: number of classes.
        anchors: ``(levels, anchors, 2)``, width and height in pixels.
        widths: channels of each incoming feature map.
        strides: pixels per cell of each incoming feature map.
    """

    anchors: torch.Tensor

    def __init__(
        self,
        class_count: int,
        anchors: Sequence[Sequence[Sequence[float]]],
        widths: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        pixels = torch.tensor(anchors, dtype=torch.float32)
        self.class_count = class_count
        self.anchor_count = pixels.shape[1]
        self.strides = tuple(strides)
        per_level = torch.tensor(strides, dtype=torch.float32).view(-1, 1, 1)
        self.register_buffer("anchors", pixels / per_level)
        outputs = self.anchor_count * (5 + class_count)
        self.m = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in widths)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return ``(n, 4 + classes, candidates)``: cx, cy, w, h in input pixels, then scores in 0..1.

        Args:
            features: one map ``(n, c, h, w)`` per level, finest first.
        """
        levels = zip(self.m, features, self.anchors, self.strides, strict=True)
        return torch.cat([self._decode(conv(x), anchors, stride) for conv, x, anchors, stride in levels], 2)

    def _decode(self, raw: torch.Tensor, anchors: torch.Tensor, stride: int) -> torch.Tensor:
        # Plain ints: the exported graph is for one input size, so the grid is a constant of it.
        height, width = int(raw.shape[2]), int(raw.shape[3])
        cells = raw.view(-1, self.anchor_count, 5 + self.class_count, height * width).sigmoid()
        xy = (cells[:, :, 0:2] * 2 - 0.5 + self._grid(height, width, raw)) * stride
        wh = (cells[:, :, 2:4] * 2) ** 2 * (anchors * stride).view(1, self.anchor_count, 2, 1)
        scores = cells[:, :, 4:5] * cells[:, :, 5:]
        return torch.cat((xy, wh, scores), 2).transpose(1, 2).flatten(2)

    def _grid(self, height: int, width: int, like: torch.Tensor) -> torch.Tensor:
        """Return the cell corners ``(1, 1, 2, height * width)``: x, then y, row by row."""
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack((x.flatten(), y.flatten())).to(like)[None, None]
