"""One interval of a ratio or a difference as a small drawing for a table cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

from slimgate.report.charts.svg import element

_WIDTH, _HEIGHT, _EDGE = 180, 22, 4


def draw_interval(
    value: float,
    interval: Sequence[float],
    *,
    span: tuple[float, float],
    control: Sequence[float] | None,
    label: str,
    scale: Literal["ratio", "difference"] = "ratio",
) -> Markup:
    """Return an interval with a line where there is no effect, and what the machine calls equal behind it.

    Args:
        value: the median ratio, or the difference.
        interval: its interval.
        span: values at the left and right edge, the same in every row of a table; an arrow stands for what
            lies beyond.
        control: interval of the A/A control, or None.
        label: text alternative.
        scale: a ratio is drawn on a logarithmic scale with the line at 1, a difference on a linear one around 0.
    """
    none = 1.0 if scale == "ratio" else 0.0

    def measure(number: float) -> float:
        return math.log(number) if scale == "ratio" else number

    low, high = (measure(end) for end in span)

    def place(number: float) -> float:
        share = (measure(number) - low) / (high - low)
        return _EDGE + min(max(share, 0.0), 1.0) * (_WIDTH - 2 * _EDGE)

    middle = _HEIGHT / 2
    parts = []
    if control is not None:
        left, right = place(control[0]), place(control[1])
        parts.append(
            element("rect", x=left, y=1, width=max(right - left, 1.0), height=_HEIGHT - 2, class_="control")
        )
    parts.append(element("line", x1=place(none), x2=place(none), y1=0, y2=_HEIGHT, class_="unit"))
    parts.append(
        element("line", x1=place(interval[0]), x2=place(interval[1]), y1=middle, y2=middle, class_="bar")
    )
    parts += [
        element("line", x1=place(end), x2=place(end), y1=middle - 4, y2=middle + 4, class_="bar")
        for end in interval
    ]
    if span[0] <= value <= span[1]:
        parts.append(element("circle", cx=place(value), cy=middle, r=3, class_="dot"))
    else:
        at, tip = (_WIDTH - 9, 8) if value > span[1] else (9, -8)
        points = f"{at},{middle - 5} {at + tip},{middle} {at},{middle + 5}"
        parts.append(element("polygon", points=points, class_="dot"))
    return element(
        "svg",
        *parts,
        class_="interval",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=_WIDTH,
        height=_HEIGHT,
        role="img",
        aria_label=label,
    )
