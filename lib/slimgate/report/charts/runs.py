"""Metrics over runs as a picture: a panel per metric, a line per case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.errors import UsageError
from slimgate.gate.comparison import why_not_comparable
from slimgate.gate.history import Drift, Entry, Point, list_points
from slimgate.measure import metric_for
from slimgate.report.palette import FOUND, MISSED, Rgb, class_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")

_PANEL_HEIGHT, _WIDTH = 2.6, 10.0
_MOST_TICKS = 12
_GREY: Rgb = (107, 114, 128)
_SCALES: Mapping[str, tuple[float, str]] = {
    "bytes": (1e-6, "MB"),
    "seconds": (1e3, "ms"),
    "flops": (1e-9, "GFLOP"),
}


def plot_runs(
    entries: Sequence[Entry],
    cases: Sequence[str],
    metrics: Sequence[str],
    path: Path,
    *,
    baseline: Entry | None = None,
    drifts: Sequence[Drift] = (),
) -> Path:
    """Draw metrics of cases over runs into a file and return its path.

    Runs stand at equal distances in the order in which they were added, so that a clock that jumped moves none. A
    line is broken where two runs cannot be compared. A number that the gate was red about is a red cross.

    Args:
        entries: the runs, of one machine.
        cases: case ids, a line each.
        metrics: a panel each.
        path: PNG, SVG or PDF, by its ending.
        baseline: the pinned run.
        drifts: whose levels are drawn.

    Raises:
        UsageError: the ending is another one, or nothing of this was measured.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            str(path),
            found=f"ends with '{path.suffix}'",
            expected=f"a file that ends with {', '.join(FORMATS)}",
            action="name such a file",
        )
    series = {
        metric: found
        for metric in metrics
        if (found := {case: points for case in cases if (points := list_points(entries, case, metric))})
    }
    if not series:
        raise UsageError(
            str(path),
            found=f"no run measured {', '.join(metrics)} of {', '.join(cases)}",
            expected="a case and a metric of the history",
            action="'slimgate history CASE' lists the metrics that there are",
        )
    # The figure alone, without pyplot: no window system and no state of the process is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _PANEL_HEIGHT * len(series) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0].tolist()
    for panel, (metric, found) in zip(panels, series.items(), strict=True):
        _draw_panel(panel, metric, found, entries, baseline)
        here = [drift for drift in drifts if drift.metric == metric and drift.case in found]
        _draw_drifts(panel, here, entries, baseline)
    _label_runs(panels[-1], entries)
    figure.suptitle(f"{entries[-1].study} on {entries[-1].device}", fontsize=10)
    handles, labels = _legend(panels)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _draw_panel(
    panel: Axes,
    metric: str,
    found: Mapping[str, Sequence[Point]],
    entries: Sequence[Entry],
    baseline: Entry | None,
) -> None:
    places = {entry.run_id: place for place, entry in enumerate(entries)}
    scale, unit = _SCALES.get(metric_for(metric).unit, (1.0, metric_for(metric).unit))
    for index, (case, points) in enumerate(found.items()):
        colour = _hex(class_colour(index))
        for stretch in _comparable_stretches(points):
            panel.plot(
                [places[one.entry.run_id] for one in stretch],
                [one.measurement.value * scale for one in stretch],
                color=colour,
                marker="o",
                markersize=3.5,
                linewidth=1.3,
                label=case.partition("/")[2],
            )
        _draw_intervals(panel, points, places, scale, colour)
        red = [one for one in points if one.red]
        panel.scatter(
            [places[one.entry.run_id] for one in red],
            [one.measurement.value * scale for one in red],
            marker="x",
            s=46,
            color=_hex(MISSED),
            zorder=4,
            label="the gate was red about it" if red else None,
        )
    if baseline is not None and baseline.run_id in places:
        panel.axvline(
            places[baseline.run_id], color=_hex(_GREY), linestyle=":", linewidth=1.2, label="pinned baseline"
        )
    panel.set_ylabel(f"{metric}\n({unit})", fontsize=8)
    better = "higher" if metric_for(metric).higher_is_better else "lower"
    panel.set_title(f"{better} is better", fontsize=7, loc="right", color=_hex(_GREY))
    panel.tick_params(labelsize=8)
    panel.ticklabel_format(axis="y", useOffset=False, style="plain")
    panel.grid(axis="y", linewidth=0.4, alpha=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_intervals(
    panel: Axes, points: Sequence[Point], places: Mapping[str, int], scale: float, colour: str
) -> None:
    known = [
        (places[one.entry.run_id], one.measurement.value, one.measurement.interval)
        for one in points
        if one.measurement.interval is not None
    ]
    if known:
        panel.vlines(
            [place for place, _, _ in known],
            [interval[0] * scale for _, _, interval in known],
            [interval[1] * scale for _, _, interval in known],
            color=colour,
            linewidth=1.0,
            alpha=0.55,
        )


def _draw_drifts(
    panel: Axes, drifts: Sequence[Drift], entries: Sequence[Entry], baseline: Entry | None
) -> None:
    """Draw the level before and after each drift as a thick, pale line."""
    # The view may begin later than the baseline, and later than the drift.
    places = {entry.run_id: float(place) for place, entry in enumerate(entries)}
    first = places.get(baseline.run_id, 0.0) if baseline is not None else 0.0
    for drift in drifts:
        scale, _ = _SCALES.get(metric_for(drift.metric).unit, (1.0, ""))
        at = places.get(drift.since.run_id, 0.0) - 0.5
        for level, start, end in ((drift.start, first, at), (drift.end, at, len(entries) - 1.0)):
            if end > start:
                panel.hlines(
                    level * scale,
                    max(start, 0.0),
                    end,
                    color=_hex(MISSED if drift.worse else FOUND),
                    linewidth=5,
                    alpha=0.28,
                    label="level before and after a drift",
                )


def _comparable_stretches(points: Sequence[Point]) -> list[list[Point]]:
    stretches: list[list[Point]] = []
    for point in points:
        if stretches and not why_not_comparable(stretches[-1][-1].measurement, point.measurement):
            stretches[-1].append(point)
        else:
            stretches.append([point])
    return stretches


def _label_runs(panel: Axes, entries: Sequence[Entry]) -> None:
    step = -(-len(entries) // _MOST_TICKS)
    shown = range(0, len(entries), step)
    panel.set_xticks(list(shown))
    panel.set_xticklabels(
        [f"{entries[place].started[5:10]}\n{(entries[place].commit or '')[:7]}" for place in shown],
        fontsize=7,
    )
    panel.set_xlim(-0.5, len(entries) - 0.5)
    panel.set_xlabel("runs, in the order in which they were added: day and commit", fontsize=8)


def _legend(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
