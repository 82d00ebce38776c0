"""A stacked bar as a small drawing for a table cell."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from slimgate.report.charts.svg import element

_WIDTH, _HEIGHT = 180, 16


def draw_stack(parts: Sequence[tuple[str, float]], *, whole: float, label: str) -> Markup:
    """Return a stacked bar.

    Args:
        parts: style class and length of every part, in the unit of ``whole``.
        whole: the length of a full bar, the same in every row of a table; a longer one is cut, and marked so.
        label: text alternative, with the numbers.
    """
    drawn, at = [], 0.0
    for name, value in parts:
        width = _WIDTH * value / whole if whole else 0.0
        drawn.append(
            element("rect", x=at, y=0, width=min(width, _WIDTH - at), height=_HEIGHT, class_=f"s-{name}")
        )
        at = min(at + width, float(_WIDTH))
    if sum(value for _, value in parts) > whole * 1.001:
        drawn.append(
            element("path", d=f"M{_WIDTH - 22} {_HEIGHT} l8 -{_HEIGHT} m5 0 l-8 {_HEIGHT}", class_="cut")
        )
    return element(
        "svg",
        element("title", label),
        element("rect", x=0, y=0, width=_WIDTH, height=_HEIGHT, class_="track"),
        *drawn,
        class_="stack",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=_WIDTH,
        height=_HEIGHT,
        role="img",
        aria_label=label,
    )
