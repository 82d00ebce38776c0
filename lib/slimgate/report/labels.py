"""Text labels on pictures: the font, and where a label goes so that labels do not cover each other."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

    from slimgate.report.palette import Rgb

Rectangle = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


@functools.cache
def load_font(size_px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which covers Latin, Greek, Cyrillic and more, at a size in pixels."""
    from PIL import ImageFont

    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    # matplotlib carries the font as a file; finding it does not import matplotlib.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name, size_px)


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text beside a box.

    Attributes:
        box: the box it belongs to.
        text: what it says.
        background: fill behind the text.
        foreground: colour of the text.
    """

    box: Rectangle
    text: str
    background: Rgb
    foreground: Rgb


def place_label(
    box: Rectangle, size: tuple[float, float], canvas: tuple[float, float], taken: Iterable[Rectangle]
) -> Rectangle:
    """Return where a label of ``size`` goes: inside the canvas, and on no other label where that is possible.

    Args:
        box: the box that the label belongs to, xyxy pixels.
        size: width and height of the label.
        canvas: width and height of the picture.
        taken: rectangles of the labels placed before.
    """
    width, height = size
    x1, y1, x2, y2 = box
    corners = [
        (x1, y1 - height),
        (x1, y2),
        (x2 - width, y1 - height),
        (x2 - width, y2),
        (x1, y1),
        (x1, y2 - height),
        (x2, y1),
        (x1 - width, y1),
    ]
    places = [_inside(corner, size, canvas) for corner in corners]
    taken = list(taken)
    # min() keeps the first of equals, so the order of the corners is the order of preference.
    return min(places, key=lambda place: sum(_shared_area(place, other) for other in taken))


def draw_labels(
    pen: ImageDraw.ImageDraw, labels: Iterable[Label], canvas: tuple[int, int], font: ImageFont.FreeTypeFont
) -> None:
    """Draw labels in order; later ones make room for earlier ones."""
    taken: list[Rectangle] = []
    ascent, descent = font.getmetrics()
    padding = max(2, font.size // 5)
    for label in labels:
        size = (font.getlength(label.text) + 2 * padding, ascent + descent + padding // 2)
        place = place_label(label.box, size, canvas, taken)
        pen.rectangle(place, fill=label.background)
        pen.text((place[0] + padding, place[1] + padding // 4), label.text, fill=label.foreground, font=font)
        taken.append(place)


def _inside(corner: tuple[float, float], size: tuple[float, float], canvas: tuple[float, float]) -> Rectangle:
    left = max(0.0, min(corner[0], canvas[0] - size[0]))
    top = max(0.0, min(corner[1], canvas[1] - size[1]))
    return left, top, left + size[0], top + size[1]


def _shared_area(a: Rectangle, b: Rectangle) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
