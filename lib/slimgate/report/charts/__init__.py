"""Plots as inline SVG: coloured by the page's style sheet, so they follow light, dark and print."""

from slimgate.report.charts.curves import PANEL, Band, Curve, draw_curves
from slimgate.report.charts.intervals import draw_interval
from slimgate.report.charts.lines import Series, draw_lines
from slimgate.report.charts.scatter import Point, draw_scatter
from slimgate.report.charts.stack import draw_stack
from slimgate.report.charts.svg import NARROW, WIDE, Size

__all__ = [
    "NARROW",
    "PANEL",
    "WIDE",
    "Band",
    "Curve",
    "Point",
    "Series",
    "Size",
    "draw_curves",
    "draw_interval",
    "draw_lines",
    "draw_scatter",
    "draw_stack",
]
