"""Letterbox: how any image becomes the network's input, and how boxes come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PADDING = 114
"""Grey level of the border; what YOLO detectors are trained with."""


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """Where an image lies on its canvas.

    Attributes:
        width: of the original image, pixels.
        height: of the original image, pixels.
        size: the canvas' longer side, pixels.
        scale_x: canvas pixels per original pixel. The two scales differ where the resized side was rounded
            to a whole pixel: the exact way back needs both.
        scale_y: canvas pixels per original pixel.
        left: canvas pixels between the canvas' and the image's left edge.
        top: canvas pixels between the canvas' and the image's top edge.
    """

    width: int
    height: int
    size: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def to_original(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return boxes ``(n, 4)`` xyxy of the canvas as pixels of the original, clipped to its bounds."""
        moved = boxes - np.array([self.left, self.top] * 2, dtype=np.float32)
        moved /= np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
        limits = np.array([self.width, self.height] * 2, dtype=np.float32)
        clipped: npt.NDArray[np.float32] = np.clip(moved, 0, limits).astype(np.float32, copy=False)
        return clipped

    def to_canvas(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return boxes ``(n, 4)`` xyxy of the original image as pixels of the canvas."""
        scales = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float64)
        return boxes * scales + np.array([self.left, self.top] * 2, dtype=np.float64)


def plan_letterbox(
    width: int, height: int, size: int, *, stride: int = 0
) -> tuple[Letterbox, tuple[int, int], tuple[int, int]]:
    """Return where an image of this size goes, its resized (width, height) there, and the canvas (width, height).

    Scale ``min(size / height, size / width)`` up as well as down, centred; an odd border puts its extra pixel
    right and below (``round(d - 0.1)``), as YOLOv5's ``letterbox`` does. The canvas is square, or with a stride
    the smallest rectangle of multiples of it (YOLOv5's ``auto=True``).
    """
    scale = min(size / height, size / width)
    resized = max(round(width * scale), 1), max(round(height * scale), 1)
    border = tuple((size - side) % stride if stride else size - side for side in resized)
    left, top = (round(edge / 2 - 0.1) for edge in border)
    placement = Letterbox(
        width=width,
        height=height,
        size=size,
        scale_x=resized[0] / width,
        scale_y=resized[1] / height,
        left=left,
        top=top,
    )
    return placement, resized, (resized[0] + border[0], resized[1] + border[1])


def letterbox(
    image: npt.NDArray[np.uint8], size: int, *, stride: int = 0
) -> tuple[npt.NDArray[np.uint8], Letterbox]:
    """Return the image on a grey canvas ``(size, size, 3)``, and the way back.

    Args:
        image: ``(h, w, 3)`` uint8.
        size: longer side of the canvas, pixels.
        stride: 0 for a square; else the shorter side is only as long as a multiple of this needs to be.
    """
    import cv2

    height, width = image.shape[:2]
    placement, resized, canvas_size = plan_letterbox(width, height, size, stride=stride)
    if resized != (width, height):
        # Same call, same bytes as upstream: another interpolation moves mAP by whole points.
        image = cv2.resize(image, resized, interpolation=cv2.INTER_LINEAR)
    canvas = np.full((canvas_size[1], canvas_size[0], 3), PADDING, dtype=np.uint8)
    canvas[placement.top : placement.top + resized[1], placement.left : placement.left + resized[0]] = image
    return canvas, placement


def rectangle_from_image(
    image: npt.NDArray[np.uint8], size: int, *, stride: int
) -> tuple[npt.NDArray[np.float32], list[Letterbox]]:
    """Return one RGB image as the smallest network input ``(1, 3, h, w)`` of whole strides, and its way back.

    What YOLOv5 and ultralytics predict with. Nothing is judged on it: fixed-size files cannot take it.
    """
    canvas, placement = letterbox(image, size, stride=stride)
    network_input = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
    return network_input, [placement]


def batch_from_images(
    images: Sequence[npt.NDArray[np.uint8]], size: int
) -> tuple[npt.NDArray[np.float32], list[Letterbox]]:
    """Return RGB images as network input ``(n, 3, size, size)`` float32 in 0..1, and their ways back."""
    batch = np.empty((len(images), 3, size, size), dtype=np.float32)
    placements = []
    for slot, image in zip(batch, images, strict=True):
        canvas, placement = letterbox(image, size)
        np.divide(canvas.transpose(2, 0, 1), np.float32(255), out=slot)
        placements.append(placement)
    return batch, placements
