"""The main table on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slimgate.gate import RunFiles
from slimgate.report.attribution import UNATTRIBUTED, attribution_table
from slimgate.report.differences import describe_fine_floors, describe_resolution
from slimgate.report.overview import Headline, main_table, summarise_run
from slimgate.report.rows import Row, list_rows
from slimgate.report.sets import list_sets
from slimgate.report.slim import slim_table
from slimgate.report.table import Cell

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"red": "bold red", "amber": "yellow", "grey": "dim", "green": "green"}
_SHORT_TITLES = {"Latency ratio": "Latency vs FP32", "Non-zero": "Non-0"}
# From the least to the most needed; variant, runtime, accuracy and verdict always stay.
_EXPENDABLE = ("FLOPs", "Non-zero", "mAP50", "NMS ms", "Size", "Recall", "Latency ratio")
_MOST_MESSAGES = 5


def print_run(files: RunFiles, console: Console) -> None:
    """Print headline, table and the first messages of what is red."""
    rows = list_rows(files)
    headline = summarise_run(files, rows)
    _print_table(rows, console)
    _print_slimming(files, rows, console)
    for name in list_sets(rows):
        sentence = describe_resolution(rows, name)
        if sentence:
            console.print(sentence, markup=False, highlight=False)
    _print_headline(headline, console)
    red = files.red
    for verdict in red[:_MOST_MESSAGES]:
        console.print(verdict.message, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(red) > _MOST_MESSAGES:
        console.print(f"… and {len(red) - _MOST_MESSAGES} more, in the report", style="red", highlight=False)
    for verdict in files.judgement.waived:
        text = f"{verdict.case} {verdict.metric}: {verdict.label} {verdict.waived}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for finding in files.judgement.findings:
        console.print(finding.brief, style="yellow", markup=False, highlight=False, soft_wrap=True)
    fine = describe_fine_floors(files)
    if fine:
        console.print(fine, style="yellow", markup=False, highlight=False)


def _print_table(rows: Sequence[Row], console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = main_table(rows)
    texts = [
        [_cell_text(cell, index == len(row) - 1) for index, cell in enumerate(row)] for row in table.rows
    ]
    titles = [_SHORT_TITLES.get(column.title, column.title) for column in table.columns]
    widths = [max([len(title), *(len(row[index]) for row in texts)]) for index, title in enumerate(titles)]
    names = [column.title for column in table.columns]
    kept, hidden = _fit(names, widths, console.width)
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, header_style="bold")
    for index in kept:
        column = table.columns[index]
        shown.add_column(titles[index], justify="right" if column.numeric else "left", overflow="fold")
    for row, cells in zip(texts, table.rows, strict=True):
        tone = cells[-1].tone
        shown.add_row(
            *(
                Text(row[index], style=_STYLES.get(tone, "") if index == len(row) - 1 else "")
                for index in kept
            )
        )
    console.print(shown)
    if hidden:
        console.print(
            f"not shown at {console.width} columns: {', '.join(hidden)} (all fit in {_width(widths)})",
            style="dim",
            highlight=False,
        )


def _print_slimming(files: RunFiles, rows: Sequence[Row], console: Console) -> None:
    """Print a line for each case that is smaller than the original, and one for each gain that is asked about."""
    smaller = slim_table(rows)
    if smaller is not None:
        console.print("against the FP32 original in the same runtime:", style="bold", highlight=False)
        for cells in smaller.rows:
            named = zip(smaller.columns, cells, strict=True)
            factors = [f"{column.title} {cell.below}" for column, cell in named if cell.below.startswith("÷")]
            if factors:
                name = f"{cells[0].text}@{cells[1].text}"
                console.print(
                    f"  {name}: {', '.join(factors)}", markup=False, highlight=False, soft_wrap=True
                )
    gains = attribution_table(files.run, rows)
    for cells in gains.rows if gains is not None else ():
        # Name, control, epochs, accuracy, gain of the first set; the reason is last.
        name, control, gain, why = cells[0].text, cells[1].text, cells[4].text, cells[-1].text
        found = gain if gain == UNATTRIBUTED else f"gain {gain}"
        console.print(
            f"  {name} against {control}: {found} ({why})", markup=False, highlight=False, soft_wrap=True
        )


def _fit(names: Sequence[str], widths: Sequence[int], room: int) -> tuple[list[int], list[str]]:
    """Return which columns fit side by side, and the names of those that do not."""
    kept = list(range(len(names)))
    hidden = []
    for name in _EXPENDABLE:
        if _width([widths[index] for index in kept]) <= room:
            break
        for index in [index for index in kept if names[index].split(" @")[0] == name]:
            kept.remove(index)
            hidden.append(names[index])
    return kept, hidden


def _width(widths: Sequence[int]) -> int:
    """Return the width of a table: its columns, with a space between them."""
    return sum(widths) + len(widths) - 1


def _cell_text(cell: Cell, is_verdict: bool) -> str:
    return cell.text.split(" ", 1)[1] if is_verdict else cell.text


def _print_headline(headline: Headline, console: Console) -> None:
    counts = ", ".join(f"{count} {name}" for name, count, _, _ in headline.counts if count)
    style = _STYLES[headline.tone]
    console.print(f"{headline.word}: {counts or 'no verdicts'}", style=style, markup=False, highlight=False)
    console.print(headline.sentence, markup=False, highlight=False)
    if headline.caveat:
        console.print(
            f"Not the whole study. {headline.caveat}", style="yellow", markup=False, highlight=False
        )
