"""``report.md``: the headline, the main table and what is red, small enough for a GitHub step summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from slimgate.flow import Verdict
from slimgate.gate import RunFiles
from slimgate.report.attribution import attribution_table
from slimgate.report.differences import describe_fine_floors, describe_resolution, differences_table
from slimgate.report.overview import Headline, main_table, summarise_run
from slimgate.report.rows import Row, is_loud, list_rows
from slimgate.report.sets import list_sets
from slimgate.report.slim import slim_table
from slimgate.report.table import Cell, Table

MOST_BYTES = 900_000
"""GitHub drops a step summary above 1 MiB whole."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render_markdown(files: RunFiles) -> str:
    """Return the summary of a run, at most ``MOST_BYTES`` long."""
    rows = list_rows(files)
    headline = summarise_run(files, rows)
    blocks = [
        f"## {_escape(files.run['study']['title'])}",
        headline_markdown(headline),
        " · ".join(f"**{count}** {name}" for name, count, _, _ in headline.counts if count) or "no verdicts",
        table_markdown(main_table(rows)),
        _notes(files),
        *_noise(files, rows),
        *_slimming(files, rows),
    ]
    blocks += _findings(files)
    loud = [one for one in files.judgement.worst_first if is_loud(one)]
    return "\n\n".join([*blocks, *_messages(loud, MOST_BYTES - _size(blocks))]) + "\n"


def headline_markdown(headline: Headline) -> str:
    """Return the headline as a GitHub alert."""
    kind = {"red": "CAUTION", "amber": "WARNING"}.get(headline.tone, "TIP")
    lines = [f"[!{kind}]", f"**{headline.word}.** {_escape(headline.sentence)}"]
    if headline.caveat:
        lines += ["", f"**Not the whole study.** {_escape(headline.caveat)}"]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def table_markdown(table: Table) -> str:
    """Return a table as Markdown."""
    head = "| " + " | ".join(_escape(column.title) for column in table.columns) + " |"
    rule = "|" + "|".join("---:" if column.numeric else ":---" for column in table.columns) + "|"
    lines = [
        "| " + " | ".join(_cell(cell, first=index == 0) for index, cell in enumerate(row)) + " |"
        for row in table.rows
    ]
    return "\n".join([head, rule, *lines])


def _cell(cell: Cell, *, first: bool) -> str:
    # The first column's second line is a sentence: too wide for a summary.
    below = "" if first or not cell.below else f"<br><sub>{_escape(cell.below)}</sub>"
    return f"{_escape(cell.text)}{below}"


def _notes(files: RunFiles) -> str:
    baseline = files.run.get("baseline")
    against = f"Changes are against `{baseline}`, ± half their interval. " if baseline else ""
    return (
        f"{against}Latency is relative to FP32 on the same runtime in the same run, with its interval; "
        "below 1 is faster. "
        "Everything else (classes, sizes, engines, pictures side by side, provenance) is in "
        "[report.html](report.html), beside this file in the run directory."
    )


def _noise(files: RunFiles, rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the images resolve, set by set, and the table of differences of the first one."""
    sentences = [describe_resolution(rows, name) for name in list_sets(rows)]
    said = " ".join(one for one in [*sentences, describe_fine_floors(files)] if one)
    table = differences_table(rows, drawn=False)
    if table is not None:
        yield "### What these images can tell"
        if said:
            yield _escape(said)
        yield table_markdown(table)


def _slimming(files: RunFiles, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table against the original and the gains over controls, where anything was slimmed."""
    smaller = slim_table(rows)
    if smaller is not None:
        yield "### Smaller and faster"
        yield table_markdown(smaller)
        yield "÷ is how many times smaller or faster than the FP32 original in the same runtime."
    gains = attribution_table(files.run, rows)
    if gains is not None:
        yield "### What the gain is owed to"
        yield table_markdown(gains)


def _findings(files: RunFiles) -> Iterator[str]:
    if files.judgement.findings:
        yield "### Golden files"
        yield "\n".join(f"- {_escape(str(finding))}" for finding in files.judgement.findings)


def _messages(verdicts: Iterable[Verdict], room: int) -> Iterator[str]:
    listed = list(verdicts)
    if not listed:
        return
    yield "### What needs attention"
    # The last line must always fit: a list that stops without saying so would hide what is red.
    room -= 300
    for index, verdict in enumerate(listed):
        block = _message(verdict)
        room -= _size([block])
        if room < 0:
            yield f"… and {len(listed) - index} more, in [report.html](report.html)."
            return
        yield block


def _message(verdict: Verdict) -> str:
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", verdict.message)), default=0))
    summary = f"<b>{verdict.label}</b> {_escape_html(f'{verdict.case} {verdict.metric}')}"
    return f"<details><summary>{summary}</summary>\n\n{ticks}text\n{verdict.message}\n{ticks}\n\n</details>"


def _size(blocks: Iterable[str]) -> int:
    return sum(len(block.encode()) + 2 for block in blocks)


def _escape(text: str) -> str:
    """Return text that Markdown and its HTML show as it is."""
    return _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;")).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _escape_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
