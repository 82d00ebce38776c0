"""Plots as inline SVG: coloured by the page's style sheet, so they follow light, dark and print."""

from slimgate.report.charts.intervals import draw_interval
from slimgate.report.charts.lines import Series, draw_lines
from slimgate.report.charts.scatter import Point, draw_scatter
from slimgate.report.charts.stack import draw_stack
from slimgate.report.charts.svg import NARROW, WIDE, Size

__all__ = [
    "NARROW",
    "WIDE",
    "Point",
    "Series",
    "Size",
    "draw_interval",
    "draw_lines",
    "draw_scatter",
    "draw_stack",
]
