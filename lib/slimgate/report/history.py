"""A history on a terminal: its runs, the metrics of its cases over them, and what drifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slimgate.flow import Measurement
from slimgate.gate.comparison import explain_changes, why_not_comparable
from slimgate.gate.history import Baseline, Drift, DriftReport, Entry, Point, list_points
from slimgate.gate.message import show_number
from slimgate.measure import metric_for
from slimgate.report.numbers import NONE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 24
_MOST_STATUSES = 3
_SHOWN_COMMIT = 10


def print_runs(entries: Sequence[Entry], pinned: Sequence[str], console: Console) -> None:
    """Print one line per run, grouped by study and machine.

    Args:
        entries: the runs.
        pinned: ids of the runs that are baselines.
        console: where to.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.study, entry.device), []).append(entry)
    for (study, device), runs in groups.items():
        console.print(f"{study} on {device}", style="bold", markup=False, highlight=False, soft_wrap=True)
        table = _table(("run", "started", "commit", "cases", "verdict", ""))
        for entry in runs:
            table.add_row(
                entry.run_id,
                _when(entry),
                _commit(entry),
                str(len(entry.case_ids)),
                _verdict(entry),
                ", ".join(_remarks(entry, pinned)),
            )
        console.print(table)


def print_case(
    case: str, metrics: Sequence[str], entries: Sequence[Entry], pinned: Sequence[str], console: Console
) -> None:
    """Print a line per metric of a case: where it started, where it is, and every run between as a small chart.

    Args:
        case: the case id.
        metrics: their names; those that no run measured are left out.
        entries: the runs, of one machine.
        pinned: ids of the runs that are baselines.
        console: where to.
    """
    console.print(case, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = _table(("metric", "runs", "from", "latest", "change", "red", "over the runs"))
    for metric in metrics:
        points = list_points(entries, case, metric)
        if not points:
            continue
        start = next((one for one in points if one.entry.run_id in pinned), points[0])
        end = points[-1]
        why = why_not_comparable(start.measurement, end.measurement)
        table.add_row(
            metric,
            str(len(points)),
            show_value(start.measurement),
            show_value(end.measurement),
            "not comparable" if why else show_change_of(start.measurement, end.measurement),
            str(sum(point.red for point in points) or ""),
            _sparkline(points),
        )
    console.print(table)


def print_metric(case: str, metric: str, entries: Sequence[Entry], console: Console) -> None:
    """Print a line per run of one metric of one case, and what else changed between two of them."""
    points = list_points(entries, case, metric)
    console.print(f"{case} {metric}", style="bold", markup=False, highlight=False, soft_wrap=True)
    table = _table(("run", "started", "commit", "value", "interval", "change", "verdict", "changed"))
    before: Measurement | None = None
    for point in points:
        one = point.measurement
        why = why_not_comparable(before, one) if before else ""
        changed = why or (", ".join(explain_changes(before, one)) if before else "")
        table.add_row(
            point.entry.run_id,
            _when(point.entry),
            _commit(point.entry),
            show_value(one),
            NONE if one.interval is None else " to ".join(show_number(end, one.unit) for end in one.interval),
            NONE if before is None or why else show_change_of(before, one),
            _styled("red", "bold red") if point.red else _verdict(point.entry),
            changed,
        )
        before = one
    console.print(table)


def print_drift(report: DriftReport, baseline: Baseline, console: Console) -> None:
    """Print what drifted since a baseline, one paragraph each, and what was looked at."""
    pinned = report.baseline
    console.print(
        f"{pinned.study} on {pinned.device}: {report.runs} runs since the baseline {pinned.run_id} "
        f"({_when(pinned)}, commit {_commit(pinned)}; {baseline.where}: {baseline.reason})",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for drift in report.drifts:
        console.print(
            describe_drift(drift),
            style="red" if drift.worse else "green",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    worse = sum(drift.worse for drift in report.drifts)
    parts = [f"drift: {worse} for the worse, {len(report.drifts) - worse} for the better"]
    parts.append(f"{report.series} metrics of cases looked at")
    if report.too_short:
        parts.append(f"{report.too_short} of them in too few runs (a finding needs {report.fewest})")
    console.print("; ".join(parts), style="bold red" if worse else "bold", markup=False, highlight=False)
    for why, count in report.left_out.items():
        console.print(
            f"  {count} left out: {why}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )


def describe_drift(drift: Drift) -> str:
    """Return the text of one drift, one fact a line, as verdicts are told."""
    unit = metric_for(drift.metric).unit
    word = "DRIFT" if drift.worse else "BETTER"
    change = _relative(drift.start, drift.end, unit)
    lines = [
        f"{drift.case} {drift.metric}: {word} {show_number(drift.start, unit)} → {show_number(drift.end, unit)}"
        f" ({change})",
        f"  since      run {drift.since.run_id} ({_when(drift.since)}, commit {_commit(drift.since)}), "
        f"{drift.runs} {'run' if drift.runs == 1 else 'runs'}"
        + (f", the gate red about it in {drift.red_runs}" if drift.red_runs else ""),
        f"  before     run {drift.before.run_id} ({_when(drift.before)}, commit {_commit(drift.before)})",
        f"  changed    {', '.join(drift.changed) or 'nothing that the history knows of but the commit'}",
    ]
    return "\n".join(lines)


def describe_entry(entry: Entry) -> str:
    """Return one line about a run: id, study, when, commit, verdict, machine."""
    remarks = "".join(f", {text}" for text in _remarks(entry, ()))
    return (
        f"{entry.run_id}: {entry.study}, {_when(entry)}, commit {_commit(entry)}, {_verdict(entry).plain}{remarks}, "
        f"on {entry.device}"
    )


def show_value(measurement: Measurement) -> str:
    """Return a measured value in its unit; one that cannot be judged is marked."""
    return show_number(measurement.value, measurement.unit) + ("" if measurement.valid else " (invalid)")


def show_change_of(first: Measurement, second: Measurement) -> str:
    """Return a change with its sign: of a fraction as it is, of everything else as a share."""
    return _relative(first.value, second.value, first.unit)


def _relative(start: float, end: float, unit: str) -> str:
    if start == end:
        return "±0"
    if unit == "fraction" or start == 0:
        return f"{end - start:+.4f}" if abs(end - start) >= 5e-5 else f"{end - start:+.1e}"
    return f"{(end - start) / abs(start):+.1%}"


def _sparkline(points: Sequence[Point]) -> Text:
    """Return the last runs as bars from the lowest to the highest value; red where the gate was red about it."""
    from rich.text import Text

    shown = points[-_MOST_BARS:]
    values = [point.measurement.value for point in shown]
    low, high = min(values), max(values)
    text = Text()
    for index, point in enumerate(shown):
        if index and why_not_comparable(shown[index - 1].measurement, point.measurement):
            text.append("|", style="yellow")
        share = (point.measurement.value - low) / (high - low) if high > low else 0.5
        text.append(_BARS[round(share * (len(_BARS) - 1))], style="bold red" if point.red else "")
    return text


def _table(columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        right = name in ("cases", "runs", "value", "from", "latest", "change", "red")
        table.add_column(
            name,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=name in ("run", "started", "over the runs"),
        )
    return table


def _verdict(entry: Entry) -> Text:
    if not entry.red:
        return _styled("green", "green")
    counts = [
        f"{entry.counts[name]} {name}"
        for name in ("FAIL", "INVALID", "INCONCLUSIVE")
        if entry.counts.get(name)
    ]
    return _styled(f"red: {', '.join(counts[:_MOST_STATUSES]) or 'nothing judged'}", "bold red")


def _remarks(entry: Entry, pinned: Sequence[str]) -> list[str]:
    remarks = ["baseline"] if entry.run_id in pinned else []
    if not entry.complete:
        remarks.append(f"partial (-k '{entry.selection}')" if entry.selection else "partial (no times)")
    if entry.waived:
        remarks.append(f"{entry.waived} waived")
    remarks += entry.failed_by
    if entry.strict_red and not entry.red:
        remarks.append("red under --strict-floors")
    return remarks


def _commit(entry: Entry) -> str:
    return (entry.commit or NONE)[:_SHOWN_COMMIT] + ("+" if entry.commit and entry.dirty else "")


def _when(entry: Entry) -> str:
    return entry.started[:16].replace("T", " ")


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
