from __future__ import annotations

import dataclasses
from pathlib import Path

from slimgate.flow import Status
from slimgate.report import write_report
from slimgate.report.markdown import MOST_BYTES

from fixtures.runs import RunDraft


def summary_of(draft: RunDraft, tmp_path: Path) -> str:
    return (write_report(draft.write(tmp_path / "run")).parent / "report.md").read_text(encoding="utf-8")


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_a_green_run_is_a_tip_with_the_whole_table(run_draft: RunDraft, tmp_path: Path) -> None:
    text = summary_of(run_draft, tmp_path)
    assert text.startswith(
        "## YOLOv5n on codes: Data Matrix, QR and 1-D barcodes\n\n> [!TIP]\n> **PASS.** Every"
    )
    rows = table_rows(text.split("###")[0])
    assert len(rows) == 21
    assert {len(row) for row in rows} == {11}
    assert "**37** PASS · **3** not proven" in text
    assert "needs attention" not in text


def test_a_red_run_is_a_caution_with_its_messages(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@openvino", Status.FAIL)
    text = summary_of(run_draft, tmp_path)
    assert "> [!CAUTION]\n> **FAIL.** Do not ship this: 1 measurements in 1 of 20 cases" in text
    assert table_rows(text)[1][:2] == ["int8", "openvino"]
    message = next(one.message for one in run_draft.verdicts if one.status is Status.FAIL)
    assert f"```text\n{message}\n```" in text
    assert text.count("<details>") == 1


def test_a_partial_run_says_so(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.run.update(complete=False, filter="int8")
    assert "> **Not the whole study.** A partial run (-k 'int8')" in summary_of(run_draft, tmp_path)


def test_the_summary_links_to_the_page(run_draft: RunDraft, tmp_path: Path) -> None:
    assert "[report.html](report.html)" in summary_of(run_draft, tmp_path)


def test_names_cannot_break_out_of_the_table_or_become_markup(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.run["study"]["title"] = "a | b <img src=x> `c` *d*\\"
    title = summary_of(run_draft, tmp_path).splitlines()[0]
    assert title == "## a \\| b &lt;img src=x&gt; \\`c\\` \\*d\\*\\\\"


def test_a_message_with_a_fence_of_its_own_stays_inside(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@openvino", Status.FAIL)
    run_draft.verdicts[-1] = dataclasses.replace(run_draft.verdicts[-1], message="see\n````\n<b>bold</b>")
    text = summary_of(run_draft, tmp_path)
    assert "\n`````text\nsee\n````\n<b>bold</b>\n`````\n" in text


def test_a_thousand_long_messages_fit_a_step_summary_and_the_rest_is_counted(
    run_draft: RunDraft, tmp_path: Path
) -> None:
    run_draft.change_verdict("int8@openvino", Status.FAIL)
    failed = dataclasses.replace(run_draft.verdicts[-1], message="é" * 2_000)
    run_draft.verdicts += [failed] * 999
    text = summary_of(run_draft, tmp_path)
    assert len(text.encode()) <= MOST_BYTES
    shown = text.count("<details>")
    assert 0 < shown < 1000
    assert text.endswith(f"… and {1000 - shown} more, in [report.html](report.html).\n")
