"""Lines of a few series over one variable, each named at its right end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimgate.report.charts.svg import Axis, Frame, Size, drawing, element, marker, nice_ticks

_SHAPES = ("circle", "square", "diamond", "triangle")
_COLOURS = 6


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line.

    Attributes:
        name: at its right end.
        points: (x, y), ascending in x.
        quiet: drawn thin and grey behind the others, and not named at its end.
    """

    name: str
    points: Sequence[tuple[float, float]]
    quiet: bool = False


def draw_lines(
    series: Sequence[Series],
    *,
    x_title: str,
    y_title: str,
    x_ticks: Sequence[float],
    percent: bool,
    size: Size,
    title: str,
) -> Markup:
    """Return the plot of some series.

    Args:
        series: in the order of importance: colours, shapes and dashes go by it.
        x_title: title of the horizontal axis.
        y_title: title of the vertical axis.
        x_ticks: values marked on the horizontal axis; it reaches from the first to the last.
        percent: whether those are written as percentages.
        size: how large.
        title: what the plot shows, for readers that do not see it.
    """
    values = [y for one in series for _, y in one.points]
    low = min(values)
    low = 0.0 if low < 0.5 * max(values) else max(0.0, low - 0.1 * (max(values) - low) - 0.01)
    high = max(values) + 0.04 * (max(values) - low) + 1e-6
    names = max((len(one.name) for one in series if not one.quiet), default=0)
    frame = Frame(
        area=(
            size.font * 3.6,
            size.font * 2.2,
            size.width - 16 - min(names * size.font * 0.6, size.width * 0.38),
            size.height - size.font * 3.6,
        ),
        x=Axis(
            title=x_title,
            low=x_ticks[0],
            high=x_ticks[-1],
            ticks=x_ticks if size.width > 500 else x_ticks[:: 1 + len(x_ticks) // 7],
            show=lambda value: f"{value * 100:.0f} %" if percent else f"{value:.2f}",
        ),
        y=Axis(
            title=y_title,
            low=low,
            high=high,
            ticks=nice_ticks(low, high, 7),
            show=lambda value: f"{value:.2f}",
        ),
    )
    parts = frame.draw(size.font)
    order = sorted(range(len(series)), key=lambda index: not series[index].quiet)
    loud = [index for index in range(len(series)) if not series[index].quiet]
    for index in order:
        parts.append(_draw_series(series[index], loud.index(index) if index in loud else 0, frame))
    parts += _end_labels(series, loud, frame, size)
    return drawing(size, title, parts)


def _draw_series(one: Series, slot: int, frame: Frame) -> Markup:
    places = [frame.place(x, y) for x, y in one.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    look = "quiet" if one.quiet else f"c{slot % _COLOURS} d{slot // _COLOURS % 2}"
    marks = (
        []
        if one.quiet
        else [marker(_SHAPES[slot % len(_SHAPES)], x, y, 4.0, class_="mark") for x, y in places]
    )
    tip = element("title", f"{one.name}: " + ", ".join(f"{y:.4f}" for _, y in one.points))
    return element("g", tip, element("polyline", points=line), *marks, class_=f"series {look}")


def _end_labels(series: Sequence[Series], loud: Sequence[int], frame: Frame, size: Size) -> list[Markup]:
    """Return the names, pushed apart where lines end close to each other, each with a leader to its line."""
    _, top, right, bottom = frame.area
    step = size.font * 1.15
    ends = sorted(
        (
            (frame.place(*one.points[-1]), index)
            for index, one in enumerate(series)
            if one.points and not one.quiet
        ),
        key=lambda end: end[0][1],
    )
    heights: list[float] = []
    for (_, y), _index in ends:
        heights.append(max(y, heights[-1] + step) if heights else max(y, top))
    lowest = bottom - size.font * 0.3
    for back in range(len(heights) - 1, -1, -1):
        lowest = heights[back] = min(heights[back], lowest)
        lowest -= step
    parts = []
    for ((x, y), index), height in zip(ends, heights, strict=True):
        look = f"c{loud.index(index) % _COLOURS}"
        parts.append(element("line", x1=x + 5, y1=y, x2=right + 12, y2=height, class_="leader"))
        parts.append(
            element(
                "text",
                series[index].name,
                x=right + 15,
                y=height + size.font * 0.35,
                class_=f"label end {look}",
            )
        )
    return parts
