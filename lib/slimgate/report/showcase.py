"""A run shown in somebody's document: blocks between markers, written from the records, never typed."""

from __future__ import annotations

import re
from pathlib import Path

from slimgate.errors import InputError, UsageError, name_offenders, nearest_name
from slimgate.gate import RunFiles
from slimgate.report.load import load_checked
from slimgate.report.markdown import headline_markdown, table_markdown
from slimgate.report.overview import main_table, summarise_run
from slimgate.report.peers import peers_table
from slimgate.report.rows import Row, list_rows
from slimgate.report.write import replace_text

KINDS = ("headline", "table", "picture", "peers")
_BLOCK = re.compile(r"(<!-- slimgate:(\w+) (\S+) -->\n).*?(<!-- /slimgate -->)", flags=re.DOTALL)
_PICTURE_CASES = 5


def update_document(document: Path, run_dir: Path) -> list[str]:
    """Fill a Markdown document's blocks of this run's study and return the kinds of block that were filled.

    A block is ``<!-- slimgate:KIND STUDY -->`` to ``<!-- /slimgate -->``. The picture goes to ``docs/`` beside the
    document. Blocks of other studies stay as they are.

    Raises:
        InputError: the document is missing or holds no block of this study, or the run cannot be used.
        UsageError: a block's kind is unknown.
    """
    files = load_checked(run_dir)
    if not document.is_file():
        raise InputError(
            str(document), found="no such file", expected="a Markdown document", action="check the path"
        )
    text = document.read_text(encoding="utf-8")
    study = str(files.run["study"]["id"])
    kinds = [kind for _, kind, of_study, _ in _BLOCK.findall(text) if of_study == study]
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise UsageError(
            f"{document}: block '{unknown[0]}'",
            found=f"unknown kind of block{nearest_name(unknown[0], KINDS)}",
            expected=f"one of {', '.join(KINDS)}",
            action="correct the marker",
        )
    if not kinds:
        found = (
            name_offenders(sorted({of_study for _, _, of_study, _ in _BLOCK.findall(text)})) or "none at all"
        )
        raise InputError(
            str(document),
            found=f"no block of study '{study}'; there are blocks of: {found}",
            expected=f"<!-- slimgate:table {study} --> and <!-- /slimgate --> on lines of their own",
            action="put the markers where the table belongs",
        )

    def fill(match: re.Match[str]) -> str:
        opening, kind, of_study, closing = match.groups()
        if of_study != study:
            return match.group(0)
        return f"{opening}{_render(kind, files, document)}\n{closing}"

    replace_text(document, _BLOCK.sub(fill, text))
    return kinds


def _render(kind: str, files: RunFiles, document: Path) -> str:
    rows = list_rows(files)
    if kind == "headline":
        return headline_markdown(summarise_run(files, rows))
    if kind == "table":
        return f"{table_markdown(main_table(rows))}\n\n{_origin(files)}"
    if kind == "peers":
        return _peers(files, rows)
    return _picture(files, rows, document)


def _peers(files: RunFiles, rows: list[Row]) -> str:
    table = peers_table(rows)
    if table is None:
        raise InputError(
            str(files.directory),
            found="no other tool's INT8 in this run",
            expected='a study with variants of int8 = { peer = "..." }',
            action="run such a study, or remove the block",
        )
    return f"{table_markdown(table)}\n\n{_origin(files)}"


def _origin(files: RunFiles) -> str:
    run = files.run
    commit = str(run.get("git", {}).get("commit", "unknown"))[:12]
    return (
        f"<sub>Run {run.get('run_id', '')}, commit {commit}, {run.get('dataset', {}).get('images', '?')} images of "
        f"{run.get('dataset', {}).get('name', '?')}, {run.get('device', 'unknown device')}, "
        f"{run.get('seconds', 0):.0f} s. Latency: ratio to FP32 on the same runtime, batch 1, 95 % interval.</sub>"
    )


def _picture(files: RunFiles, rows: list[Row], document: Path) -> str:
    from slimgate.report.pictures import side_by_side

    shown = [row for row in rows if row.record.get("pictures")]
    if not shown or not files.run.get("pictures"):
        raise InputError(
            str(files.directory),
            found="no pictures in this run",
            expected="a run of a study with measure.pictures above 0",
            action="run the study with pictures, or remove the picture block",
        )
    chosen = _choose(shown)
    name = max(files.run["pictures"], key=lambda one: (_disagreement(chosen, one), one))
    study = files.run["study"]["id"]
    path = document.parent / "docs" / f"{study}-side-by-side.jpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(side_by_side(files.directory, [str(row.case) for row in chosen], name))
    names = ", ".join(row.name for row in chosen)
    return f"![Ground truth beside {names}: the same picture, differences marked]({path.relative_to(document.parent)})"


def _choose(rows: list[Row]) -> list[Row]:
    """Return a few rows that differ: the reference, then one per precision, then the strongest pruning."""
    chosen: dict[str, Row] = {}
    for row in rows:
        chosen.setdefault(row.precision, row)
    for row in reversed([row for row in rows if row.is_sparse]):
        if len(chosen) < _PICTURE_CASES:
            chosen[row.name] = row
    return list(chosen.values())


def _disagreement(rows: list[Row], picture: str) -> int:
    counts = [len(row.record["pictures"].get(picture, ())) for row in rows]
    return max(counts) - min(counts)
