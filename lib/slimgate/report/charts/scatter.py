"""Accuracy against latency: points with error bars, labels that do not overlap, and the Pareto front."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimgate.report.charts.svg import (
    Axis,
    Frame,
    Rectangle,
    Size,
    drawing,
    element,
    marker,
    nice_ticks,
    overlap,
    text_box,
)

_RATIO_TICKS = (
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.0,
    1.1,
    1.25,
    1.5,
    2.0,
    3.0,
    4.0,
    6.0,
    8.0,
    12.0,
)
_IN_SCALE = 0.9
"""Points below this share of the best accuracy stand at the lower edge, so that the rest can be told apart."""
_SHAPES = {"fp32": "circle", "fp16": "square", "bf16": "triangle", "int8": "diamond"}
_RADIUS = 6.0
_FEW, _LOW = 4, 0.65
"""So few points need less height."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One case.

    Attributes:
        label: its name in the plot.
        ratio: latency relative to FP32.
        interval: of the ratio.
        accuracy: 0..1.
        precision: decides colour and shape.
        sparse: zeros only: drawn hollow, and never on the front.
        about: a sentence for the tooltip.
    """

    label: str
    ratio: float
    interval: tuple[float, float]
    accuracy: float
    precision: str
    sparse: bool
    about: str


LATENCY_AXIS = (
    "← faster · latency ratio to FP32, batch 1 · slower →",
    "← faster · ratio to FP32 · slower →",
)
"""The title of the horizontal axis, and a short one for narrow plots."""


def draw_scatter(
    points: Sequence[Point], *, size: Size, title: str, axis: tuple[str, str] = LATENCY_AXIS
) -> Markup:
    """Return the plot of accuracy (upwards) against a ratio (to the right, logarithmic).

    Args:
        points: to draw.
        size: of the plot.
        title: for those who do not see it.
        axis: what the ratio is: in full, and short for a narrow plot.
    """
    if len(points) <= _FEW:
        size = dataclasses.replace(size, height=round(size.height * _LOW))
    shown_from = max(point.accuracy for point in points) * _IN_SCALE
    frame = _frame(points, shown_from, size, axis)
    places = {point: _place(point, frame, shown_from) for point in points}
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in places.values()]
    taken += [_bar_rectangle(point, places[point][1], frame) for point in points]
    parts = frame.draw(size.font)
    parts.append(_unit_line(frame))
    front = pareto_front([point for point in points if not point.sparse and point.accuracy >= shown_from])
    if len(front) > 1:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in _steps([places[point] for point in front]))
        parts.append(element("polyline", points=corners, class_="front"))
    for point in sorted(points, key=lambda point: (not point.sparse, point.ratio)):
        parts.append(_draw_point(point, places[point], frame, off_scale=point.accuracy < shown_from))
    # Those on the front and off the scale are what a reader looks for: they choose their place first.
    ordered = sorted(
        points,
        key=lambda point: (point not in front, point.accuracy >= shown_from, point.sparse, point.ratio),
    )
    for point in ordered:
        text = point.label if point.accuracy >= shown_from else f"{point.label} ({point.accuracy:.3f})"
        parts += _label(text, places[point], frame.area, size.font, taken)
    return drawing(size, title, parts)


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point beats in one and equals in the other, fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.ratio, -point.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def _frame(points: Sequence[Point], shown_from: float, size: Size, axis: tuple[str, str]) -> Frame:
    lows, highs = zip(*(point.interval for point in points), strict=True)
    low = min(0.95, *lows, *(point.ratio for point in points)) / 1.06
    high = max(1.05, *highs, *(point.ratio for point in points)) * 1.06
    inside = [point.accuracy for point in points if point.accuracy >= shown_from]
    span = max(max(inside) - min(inside), 0.01)
    bottom = max(0.0, min(inside) - span * (0.25 if len(inside) == len(points) else 0.45))
    top = min(1.0, max(inside) + span * 0.2)
    ticks = _thin([tick for tick in _RATIO_TICKS if low <= tick <= high], low, high, size)
    return Frame(
        area=(size.font * 4.2, size.font * 2.2, size.width - 14.0, size.height - size.font * 3.6),
        x=Axis(
            title=axis[0] if size.width > 500 else axis[1],
            low=low,
            high=high,
            ticks=ticks,
            show=lambda value: f"{value:g}×",
            warp=math.log,
        ),
        y=Axis(
            title="mAP50-95",
            low=bottom,
            high=top,
            ticks=nice_ticks(bottom, top, 6),
            show=lambda value: f"{value:.3f}",
        ),
    )


def _thin(ticks: Sequence[float], low: float, high: float, size: Size) -> list[float]:
    """Return the ticks that leave room for each other's text; 1 stays."""
    pixels = (size.width - 70) / math.log(high / low)
    kept: list[float] = []
    for tick in sorted(ticks, key=lambda tick: (tick != 1.0, abs(math.log(tick)))):
        if all(abs(math.log(tick / other)) * pixels > size.font * 3.2 for other in kept):
            kept.append(tick)
    return sorted(kept)


def _place(point: Point, frame: Frame, shown_from: float) -> tuple[float, float]:
    x, y = frame.place(point.ratio, max(point.accuracy, frame.y.low))
    return (x, y) if point.accuracy >= shown_from else (x, frame.area[3] - _RADIUS - 2)


def _bar_rectangle(point: Point, y: float, frame: Frame) -> Rectangle:
    left, _ = frame.place(point.interval[0], frame.y.low)
    right, _ = frame.place(point.interval[1], frame.y.low)
    return left, y - 2, right, y + 2


def _unit_line(frame: Frame) -> Markup:
    x, _ = frame.place(1.0, frame.y.low)
    return element("line", x1=x, x2=x, y1=frame.area[1], y2=frame.area[3], class_="unit")


def _steps(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the line below which everything is beaten."""
    corners = [places[0]]
    for x, y in places[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _draw_point(point: Point, place: tuple[float, float], frame: Frame, *, off_scale: bool) -> Markup:
    x, y = place
    left, _ = frame.place(point.interval[0], frame.y.low)
    right, _ = frame.place(point.interval[1], frame.y.low)
    shape = "arrow" if off_scale else _SHAPES.get(point.precision, "triangle")
    return element(
        "g",
        element("title", point.about),
        element("line", x1=left, x2=right, y1=y, y2=y, class_="bar"),
        element("line", x1=left, x2=left, y1=y - 3, y2=y + 3, class_="bar"),
        element("line", x1=right, x2=right, y1=y - 3, y2=y + 3, class_="bar"),
        marker(shape, x, y, _RADIUS, class_="hollow" if point.sparse else "solid"),
        class_=f"point p-{point.precision if point.precision in _SHAPES else 'other'}",
    )


def _label(
    text: str, place: tuple[float, float], area: Rectangle, font: float, taken: list[Rectangle]
) -> Iterator[Markup]:
    """Yield a label on the nearest free spot around a point, with a leader where that is far."""
    x, y = place
    for distance, dx, dy in _directions():
        anchor = "start" if dx > 0.3 else "end" if dx < -0.3 else "middle"
        at_x, at_y = x + dx * distance, y + dy * distance + font * 0.35
        box = text_box(text, at_x, at_y, anchor, font)
        inside = area[0] <= box[0] and box[2] <= area[2] + 10 and area[1] <= box[1] and box[3] <= area[3]
        if not inside or any(overlap(box, other) for other in taken):
            continue
        taken.append(box)
        if distance > 20:
            end_x, end_y = x + dx * (distance - 3), y + dy * (distance - 3)
            yield element("line", x1=x + dx * 8, y1=y + dy * 8, x2=end_x, y2=end_y, class_="leader")
        yield element("text", text, x=at_x, y=at_y, class_="label", text_anchor=anchor)
        return


def _directions() -> Iterator[tuple[float, float, float]]:
    for distance in (11.0, 16.0, 26.0, 38.0, 52.0, 68.0, 86.0, 106.0, 130.0, 160.0):
        for degrees in (0, 180, -90, 90, -30, 30, -150, 150, -60, 60, -120, 120):
            angle = math.radians(degrees)
            yield distance, math.cos(angle), math.sin(angle)
