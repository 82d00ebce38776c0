from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from slimgate.flow import Status
from slimgate.report import render_terminal

from fixtures.runs import RunDraft


def show(run_dir: Path, width: int) -> list[str]:
    buffer = io.StringIO()
    render_terminal(run_dir, Console(file=buffer, width=width, highlight=False))
    return buffer.getvalue().splitlines()


def test_every_column_fits_into_120(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("prune50-global@onnxruntime", Status.INCONCLUSIVE)
    lines = show(run_draft.write(tmp_path / "run"), 120)
    assert " ".join(lines[0].split()) == (
        "Variant Runtime mAP50-95 mAP50 Recall @0.5 Size FLOPs Non-0 Latency vs FP32 NMS ms Verdict"
    )
    assert len(lines[1]) <= 120
    assert lines[2].split()[:3] == ["prune50-global", "onnxruntime", "0.5811"]
    assert lines[2].split()[-1] == "INCONCLUSIVE"
    assert not any("not shown" in line for line in lines)


@pytest.mark.parametrize("width", [100, 80, 60])
def test_a_narrow_console_gets_fewer_columns_and_is_told(run_dir: Path, width: int) -> None:
    lines = show(run_dir, width)
    assert all(len(line) <= width for line in lines)
    head = lines[0].split()
    assert (head[0], head[-1]) == ("Variant", "Verdict")
    assert "mAP50-95" in head
    assert f"not shown at {width} columns: FLOPs, Non-zero" in " ".join(lines)
    rows = [line for line in lines if line.split()[:1] == ["prune50-layer"]]
    assert len(rows) == 1
    assert rows[0].split()[-1] == "PASS"


def test_a_very_narrow_console_folds_and_loses_nothing(run_dir: Path) -> None:
    lines = show(run_dir, 34)
    assert all(len(line) <= 34 for line in lines)
    assert "PASS: 37 PASS, 3 not proven" in "\n".join(lines)


def test_red_messages_are_printed_and_the_rest_counted(run_draft: RunDraft, tmp_path: Path) -> None:
    for index in range(10, 60, 10):
        run_draft.change_verdict(f"prune{index}-global@onnxruntime", Status.FAIL)
        run_draft.change_verdict(f"prune{index}-layer@onnxruntime", Status.FAIL)
    text = "\n".join(show(run_draft.write(tmp_path / "run"), 120))
    assert text.count("reproduce  slimgate study codes -k") == 5
    assert "… and 5 more, in the report" in text
    assert "FAIL: 10 FAIL, 27 PASS, 3 not proven" in text


def test_a_stale_floor_is_said_to_fail_where_floors_were_strict(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@onnxruntime", Status.STALE)
    run_draft.run["strict_floors"] = True
    text = "\n".join(show(run_draft.write(tmp_path / "run"), 120))
    assert "FAIL: 1 STALE, 36 PASS, 3 not proven" in text
    assert text.count("reproduce  slimgate study codes -k") == 1


def test_names_are_text_not_markup(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@openvino", Status.FAIL)
    run_draft.run.update(complete=False, filter="[red]int8[/red]")
    assert "(-k '[red]int8[/red]')" in "\n".join(show(run_draft.write(tmp_path / "run"), 120))
