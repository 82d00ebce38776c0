"""The pieces of a plot: elements, sizes and the frame with its axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Rectangle = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, y downwards."""

_CHARACTER_EM = 0.6
"""Width of an average character of a sans-serif face, for placing labels without a font at hand."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a plot is drawn.

    Attributes:
        name: class of the drawing; the style sheet shows the wide one or the narrow one.
        width: pixels.
        height: pixels.
        font: text size, pixels.
    """

    name: str
    width: int
    height: int
    font: int


WIDE = Size(name="wide", width=1080, height=460, font=13)
NARROW = Size(name="narrow", width=350, height=400, font=12)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        title: what it measures, with its unit.
        low: value at its start.
        high: value at its end.
        ticks: values that are marked.
        show: the text of a tick.
        warp: makes the scale linear (``math.log`` for a logarithmic one).
    """

    title: str
    low: float
    high: float
    ticks: Sequence[float]
    show: Callable[[float], str]
    warp: Callable[[float], float] = float

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the start of the axis and 1 at its end."""
        low, high = self.warp(self.low), self.warp(self.high)
        return (self.warp(value) - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The area that data is drawn in.

    Attributes:
        area: its rectangle.
        x: horizontal axis.
        y: vertical axis.
    """

    area: Rectangle
    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        left, top, right, bottom = self.area
        return left + self.x.share(x) * (right - left), bottom - self.y.share(y) * (bottom - top)

    def draw(self, font: int) -> list[Markup]:
        """Return grid lines, tick labels and titles."""
        left, top, right, bottom = self.area
        parts = []
        for tick in self.x.ticks:
            x, _ = self.place(tick, self.y.low)
            parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
            parts.append(
                element(
                    "text", self.x.show(tick), x=x, y=bottom + font * 1.4, class_="tick", text_anchor="middle"
                )
            )
        for tick in self.y.ticks:
            _, y = self.place(self.x.low, tick)
            parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(
                element(
                    "text", self.y.show(tick), x=left - 7, y=y + font * 0.35, class_="tick", text_anchor="end"
                )
            )
        parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        parts.append(
            element(
                "text",
                self.x.title,
                x=(left + right) / 2,
                y=bottom + font * 2.9,
                class_="axis-title",
                text_anchor="middle",
            )
        )
        # Above the axis, not beside it and turned: it reads without tilting the head and costs no width.
        parts.append(element("text", self.y.title, x=4, y=font * 1.1, class_="axis-title"))
        return parts


def element(name: str, *content: str, **attributes: object) -> Markup:
    """Return an SVG element; ``class_`` and ``text_anchor`` become ``class`` and ``text-anchor``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _shown(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(part) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def drawing(size: Size, title: str, parts: Iterable[Markup]) -> Markup:
    """Return a whole drawing with a text alternative."""
    return element(
        "svg",
        *parts,
        class_=f"chart {size.name}",
        viewBox=f"0 0 {size.width} {size.height}",
        width=size.width,
        height=size.height,
        font_size=size.font,
        role="img",
        aria_label=title,
    )


def marker(shape: str, x: float, y: float, radius: float, **attributes: object) -> Markup:
    """Return a mark: ``circle``, ``square``, ``diamond``, ``triangle`` or ``arrow`` (off the scale, downwards)."""
    r = radius
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=r, **attributes)
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "diamond": [(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)],
        "triangle": [(0.0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        "arrow": [(0.0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
    }[shape]
    points = " ".join(f"{x + dx * r:.1f},{y + dy * r:.1f}" for dx, dy in corners)
    return element("polygon", points=points, **attributes)


def text_box(text: str, x: float, y: float, anchor: str, font: float) -> Rectangle:
    """Return about where a text is, drawn with its baseline at ``y``."""
    width = len(text) * font * _CHARACTER_EM
    left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
    return left, y - font * 0.85, left + width, y + font * 0.25


def overlap(a: Rectangle, b: Rectangle) -> bool:
    """Return whether two rectangles share area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round values from low to high, evenly spaced."""
    steps = [base * 10.0**power for power in range(-6, 7) for base in (1, 2, 5)]
    step = next(step for step in steps if (high - low) / step <= most - 1)
    first = -(-low // step)
    return [round((first + index) * step, 9) for index in range(int(high / step - first + 1e-9) + 1)]


def _shown(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
