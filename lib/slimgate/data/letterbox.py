"""Square letterbox: how any image becomes the network's input, and how boxes come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PADDING = 114
"""Grey level of the border; what YOLO detectors are trained with."""


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """Where an image lies on its square canvas.

    Attributes:
        width: of the original image, pixels.
        height: of the original image, pixels.
        size: side of the canvas, pixels.
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


def plan_letterbox(width: int, height: int, size: int) -> tuple[Letterbox, tuple[int, int]]:
    """Return where an image of this size goes on a square canvas, and its resized (width, height) there.

    Scale ``min(size / height, size / width)`` up as well as down, centred; an odd border puts its extra pixel
    right and below (``round(d - 0.1)``), as YOLOv5's ``letterbox(auto=False)`` does.
    """
    scale = min(size / height, size / width)
    resized = max(round(width * scale), 1), max(round(height * scale), 1)
    left = round((size - resized[0]) / 2 - 0.1)
    top = round((size - resized[1]) / 2 - 0.1)
    placement = Letterbox(
        width=width,
        height=height,
        size=size,
        scale_x=resized[0] / width,
        scale_y=resized[1] / height,
        left=left,
        top=top,
    )
    return placement, resized


def letterbox(image: npt.NDArray[np.uint8], size: int) -> tuple[npt.NDArray[np.uint8], Letterbox]:
    """Return the image on a grey square canvas ``(size, size, 3)``, and the way back.

    Args:
        image: ``(h, w, 3)`` uint8.
        size: side of the canvas, pixels.
    """
    import cv2

    height, width = image.shape[:2]
    placement, resized = plan_letterbox(width, height, size)
    if resized != (width, height):
        # Same call, same bytes as upstream: another interpolation moves mAP by whole points.
        image = cv2.resize(image, resized, interpolation=cv2.INTER_LINEAR)
    canvas = np.full((size, size, 3), PADDING, dtype=np.uint8)
    canvas[placement.top : placement.top + resized[1], placement.left : placement.left + resized[0]] = image
    return canvas, placement


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
