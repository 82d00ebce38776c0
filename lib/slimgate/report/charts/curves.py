"""Small plots of dense curves, several side by side: a legend on top, no marks, gaps where there is no value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slimgate.report.charts.svg import Axis, Frame, Size, drawing, element, marker, nice_ticks, text_box

PANEL = Size(name="small", width=350, height=260, font=12)
"""One size for screen, phone and paper: two or three fit side by side, and one fills a phone."""

_COLOURS, _DASHES = 6, 3
_SWATCH = 18.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve.

    Attributes:
        name: in the legend; curves of the same name share a look and one entry.
        points: (x, y), ascending in x; where y is None, the curve has a gap.
    """

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of the horizontal axis with a name, such as one stage of a training."""

    name: str
    low: float
    high: float


def draw_curves(
    curves: Sequence[Curve],
    *,
    x_title: str,
    y_title: str,
    x_range: tuple[float, float],
    title: str,
    y_range: tuple[float, float] | None = None,
    bands: Sequence[Band] = (),
    size: Size = PANEL,
) -> Markup:
    """Return the plot of some curves.

    Args:
        curves: in the order of the legend; colours and dashes go by it.
        x_title: title of the horizontal axis.
        y_title: title of the vertical axis.
        x_range: ends of the horizontal axis.
        title: what the plot shows, for readers that do not see it.
        y_range: ends of the vertical axis; from the values when None.
        bands: named stretches, parted by lines.
        size: how large.
    """
    names = list(dict.fromkeys(curve.name for curve in curves))
    legend, rows = _legend(names, size)
    top = size.font * (1.9 + 1.35 * rows + (1.3 if bands else 0.0))
    low, high = y_range or _range_of(curves)
    y_ticks = nice_ticks(low, high, 6)
    frame = Frame(
        area=(size.font * 3.6, top, size.width - 10.0, size.height - size.font * 3.4),
        x=Axis(
            title=x_title,
            low=x_range[0],
            high=x_range[1],
            ticks=nice_ticks(*x_range, 7),
            show=lambda value: f"{value:g}",
        ),
        y=Axis(title=y_title, low=low, high=high, ticks=y_ticks, show=_show_tick(y_ticks)),
    )
    parts = [*frame.draw(size.font), *legend, *_draw_bands(bands, frame, size)]
    parts += [_draw_curve(curve, names.index(curve.name), frame) for curve in curves]
    return drawing(size, title, parts)


def _range_of(curves: Sequence[Curve]) -> tuple[float, float]:
    values = [y for curve in curves for _, y in curve.points if y is not None] or [0.0, 1.0]
    low, high = min(values), max(values)
    low = 0.0 if 0 <= low < 0.5 * high else low - 0.06 * (high - low)
    return low, high + 0.04 * (high - low) if high > low else low + (abs(low) or 1.0)


def _show_tick(ticks: Sequence[float]) -> Callable[[float], str]:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) if ticks and ticks[0] else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return lambda value: f"{value:.{digits}f}" if digits < 5 else f"{value:.0e}"


def _legend(names: Sequence[str], size: Size) -> tuple[list[Markup], int]:
    """Return the legend's parts and how many rows it takes, below the title of the vertical axis."""
    parts = []
    x, row = 4.0, 0
    for slot, name in enumerate(names):
        left, _, right, _ = text_box(name, 0, 0, "start", size.font)
        width = _SWATCH + 5 + right - left + 12
        if x > 4 and x + width > size.width:
            x, row = 4.0, row + 1
        y = size.font * (2.5 + 1.35 * row)
        line = element("polyline", points=f"{x:.0f},{y - 4:.0f} {x + _SWATCH:.0f},{y - 4:.0f}")
        label = element("text", name, x=x + _SWATCH + 5, y=y, class_="key")
        parts.append(element("g", line, label, class_=f"series {_look(slot)}"))
        x += width
    return parts, row + 1


def _draw_bands(bands: Sequence[Band], frame: Frame, size: Size) -> list[Markup]:
    parts = []
    _, top, _, bottom = frame.area
    free = -math.inf
    for band in bands:
        left, _ = frame.place(band.low, frame.y.low)
        if band is not bands[0]:
            parts.append(element("line", x1=left, x2=left, y1=top - 3, y2=bottom, class_="unit"))
        right, _ = frame.place(band.high, frame.y.low)
        start, _, end, _ = text_box(band.name, left + 3, 0, "start", size.font)
        # A name that does not fit its stretch may reach into the next one, but never over another name.
        if start > free and (end <= right or (band is bands[-1] and end <= size.width)):
            parts.append(element("text", band.name, x=left + 3, y=top - 5, class_="tick"))
            free = end
    return parts


def _draw_curve(curve: Curve, slot: int, frame: Frame) -> Markup:
    parts = [element("title", curve.name)]
    for stretch in _stretches(curve.points):
        places = [frame.place(x, y) for x, y in stretch]
        if len(places) == 1:
            parts.append(marker("circle", *places[0], 2.5, class_="mark"))
        else:
            points = " ".join(f"{x:.0f},{y:.1f}" for x, y in places)
            parts.append(element("polyline", points=points))
    return element("g", *parts, class_=f"series {_look(slot)}")


def _stretches(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Return the points without gaps, split where there is one."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            stretches.append([])
        else:
            stretches[-1].append((x, y))
    return [stretch for stretch in stretches if stretch]


def _look(slot: int) -> str:
    return f"c{slot % _COLOURS} d{slot // _COLOURS % _DASHES if slot >= _COLOURS else slot % _DASHES}"
