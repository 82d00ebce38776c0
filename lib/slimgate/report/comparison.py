"""Two runs beside each other on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from slimgate.gate.comparison import Comparison, Outcome, count_outcomes, explain_changes
from slimgate.gate.history import Entry
from slimgate.gate.message import show_number
from slimgate.report.history import describe_entry, show_change_of, show_value
from slimgate.report.numbers import NONE

if TYPE_CHECKING:
    from rich.console import Console

    from slimgate.flow import Measurement

_STYLES = {
    Outcome.WORSE: "bold red",
    Outcome.BETTER: "green",
    Outcome.NOT_COMPARED: "yellow",
    Outcome.ONLY_FIRST: "yellow",
    Outcome.ONLY_SECOND: "yellow",
}
_QUIET = (Outcome.SAME, Outcome.WITHIN_NOISE)


def print_comparison(
    first: Entry, second: Entry, compared: Sequence[Comparison], console: Console, *, changed: bool
) -> None:
    """Print every comparison, case by case, and how many there are of each outcome.

    Args:
        first: the first run.
        second: the second run.
        compared: their metrics.
        console: where to.
        changed: leave out what is the same or within noise, and times, which always differ.
    """
    for name, entry in (("first ", first), ("second", second)):
        console.print(f"{name} {describe_entry(entry)}", markup=False, soft_wrap=True)
    for case, group in groupby(compared, key=lambda one: one.case):
        rows = [one for one in group if not (changed and _is_quiet(one))]
        if rows:
            _print_case(str(case), rows, console)
    _print_reasons(compared, console)
    counts = count_outcomes(compared)
    worse = Outcome.WORSE in counts
    console.print(
        ", ".join(f"{count} {outcome}" for outcome, count in counts.items()),
        style="bold red" if worse else "bold green",
        markup=False,
        soft_wrap=True,
    )


def _is_quiet(one: Comparison) -> bool:
    measurement = one.first or one.second
    is_time = measurement is not None and measurement.unit == "seconds"
    return one.outcome in _QUIET or (is_time and one.outcome is Outcome.DIFFERENT)


def _print_case(case: str, rows: Sequence[Comparison], console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(case, style="bold", markup=False, soft_wrap=True)
    both = next((one for one in rows if one.first is not None and one.second is not None), None)
    changes = explain_changes(both.first, both.second) if both and both.first and both.second else []
    if changes:
        console.print(f"  {', '.join(changes)}", style="dim", markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in ("metric", "first", "second", "difference", ""):
        right = name not in ("metric", "")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for one in rows:
        table.add_row(
            one.metric,
            _value(one.first),
            _value(one.second),
            NONE
            if one.difference is None or one.first is None or one.second is None
            else show_change_of(one.first, one.second),
            Text(one.outcome.value, style=_STYLES.get(one.outcome, "dim")),
        )
    console.print(table)


def _print_reasons(compared: Sequence[Comparison], console: Console) -> None:
    """Print once why numbers were not compared, or not judged."""
    reasons: dict[tuple[Outcome, str], int] = {}
    for one in compared:
        if one.why:
            key = (one.outcome, one.why)
            reasons[key] = reasons.get(key, 0) + 1
    for (outcome, why), count in reasons.items():
        style = _STYLES[Outcome.NOT_COMPARED] if outcome is Outcome.NOT_COMPARED else "dim"
        console.print(f"{count} {outcome}: {why}", style=style, markup=False, soft_wrap=True)


def _value(measurement: Measurement | None) -> str:
    if measurement is None:
        return NONE
    text = show_value(measurement)
    if measurement.interval is None:
        return text
    low, high = (show_number(end, measurement.unit) for end in measurement.interval)
    return f"{text} ({low} to {high})"
