"""What is waived, and what is untidy about golden files, is said in every format."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from slimgate.gate import Finding
from slimgate.report import render_terminal, write_report
from slimgate.report.load import load_checked
from slimgate.report.overview import standing_cell, summarise_run
from slimgate.report.rows import Standing, list_rows

from fixtures.runs import RunDraft

WAIVER = "until 2026-12-31 by Ada, golden/waivers.toml:4: the head is being trained"
ORPHAN = Finding(kind="orphan record", subjects=("golden/records/a.json",), message="remove the file")
QUIET = Finding(
    kind="record without floor", subjects=("r1.json", "r2.json"), message="no floor", strict=False
)


@pytest.fixture
def waived(run_draft: RunDraft, tmp_path: Path) -> Path:
    run_draft.waive("int8@openvino", WAIVER)
    run_draft.findings += [ORPHAN, QUIET]
    return run_draft.write(tmp_path / "run")


def test_a_waived_case_is_neither_green_nor_red_and_stands_above_the_green_ones(waived: Path) -> None:
    files = load_checked(waived)
    rows = {row.name: row for row in list_rows(files)}
    row = rows["int8@openvino"]
    assert (row.standing, row.standing.tone) == (Standing.WAIVED, "amber")
    assert standing_cell(row).below == "map50_95"
    headline = summarise_run(files, list(rows.values()))
    assert (headline.word, headline.tone) == ("PASS WITH WAIVERS", "amber")
    assert headline.sentence.startswith(
        "Every measurement that was judged holds its floor, but for 1 that is waived."
    )
    assert ("WAIVED", 1) in [(name, count) for name, count, _, _ in headline.counts]


def test_what_is_red_besides_a_waived_verdict_stays_red(run_draft: RunDraft, tmp_path: Path) -> None:
    from slimgate.flow import Status

    run_draft.waive("int8@openvino", WAIVER)
    run_draft.change_verdict("int8@openvino", Status.INCONCLUSIVE, "size_bytes")
    files = load_checked(run_draft.write(tmp_path / "run"))
    (row,) = [row for row in list_rows(files) if row.name == "int8@openvino"]
    assert row.standing is Standing.INCONCLUSIVE
    assert standing_cell(row).below == "size_bytes"
    assert summarise_run(files, [row]).word == "FAIL"


def test_the_terminal_names_waiver_and_findings(waived: Path) -> None:
    buffer = io.StringIO()
    render_terminal(waived, Console(file=buffer, width=160, highlight=False))
    text = buffer.getvalue()
    assert "PASS WITH WAIVERS: 1 WAIVED, 36 PASS, 3 not proven" in text
    assert f"codes/int8@openvino map50_95: WAIVED (FAIL) {WAIVER}" in text
    assert "orphan record: golden/records/a.json: remove the file" in text
    assert "record without floor: 2, listed in the report" in text


def test_markdown_and_html_name_them_in_full(waived: Path) -> None:
    page = write_report(waived)
    summary = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "> [!WARNING]\n> **PASS WITH WAIVERS.**" in summary
    assert "**1** WAIVED · **36** PASS" in summary
    assert "<b>WAIVED (FAIL)</b> codes/int8@openvino map50_95" in summary
    assert "### Golden files\n\n- orphan record: golden/records/a.json: remove the file" in summary
    assert "- record without floor (2): r1.json, r2.json: no floor" in summary
    html = page.read_text(encoding="utf-8")
    assert '<section id="verdict" class="verdict amber"' in html
    assert "<li>orphan record: golden/records/a.json: remove the file</li>" in html
    assert "<li>record without floor (2): r1.json, r2.json: no floor</li>" in html
    assert "~ WAIVED" in html
