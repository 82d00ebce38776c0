from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from slimgate.flow import Status
from slimgate.gate import load_run
from slimgate.report import write_report
from slimgate.report.accuracy import totals_table
from slimgate.report.attribution import attribution_table
from slimgate.report.differences import (
    describe_fine_floors,
    describe_resolution,
    differences_table,
    find_interval,
    judge_change,
    list_fine_floors,
)
from slimgate.report.load import load_checked
from slimgate.report.numbers import show_half, show_points
from slimgate.report.rows import Row, list_rows
from slimgate.report.terminal import print_run

from fixtures.case_records import BASELINE
from fixtures.runs import RunDraft
from fixtures.slim_records import draft_slim_run

INT8 = "codes/int8@onnxruntime"


def entry(half: float, value: float = -0.004, **more: object) -> dict:
    return {
        "reference": BASELINE,
        "images": 500,
        "resamples": 1000,
        "seed": 1,
        "confidence": 0.95,
        "metrics": {"map50_95": {"value": value, "interval": [value - half, value + half]}, **more},
    }


def rows_of(draft: RunDraft, folder: Path) -> list[Row]:
    return list_rows(load_checked(draft.write(folder)))


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-0.01, -0.001), "worse"),
        ((0.001, 0.01), "better"),
        ((-0.01, 0.0), "no difference shown"),
        ((0.0, 0.0), "the same in every image"),
        (None, "too few images"),
    ],
)
def test_what_an_interval_shows(interval: tuple[float, float] | None, words: str) -> None:
    assert judge_change(interval) == words


def test_the_sentence_is_the_median_of_the_half_intervals(run_draft: RunDraft, tmp_path: Path) -> None:
    for record in run_draft.cases.values():
        record.pop("differences", None)
    for name, half in (("int8@onnxruntime", 0.004), ("fp16@onnxruntime", 0.0003), ("int8@openvino", 0.021)):
        run_draft.cases[f"codes/{name}"]["differences"] = [entry(half)]
    # Without noise of its own it says nothing about that of others.
    run_draft.cases["codes/fp32@torch"]["differences"] = [entry(0.0, 0.0)]
    rows = rows_of(run_draft, tmp_path / "run")
    assert describe_resolution(rows) == (
        "500 images resolve a difference of mAP50-95 to ±0.40 points (95% interval, ±0.03 to ±2.1 by case)."
    )


def test_a_run_without_differences_says_nothing(run_draft: RunDraft, tmp_path: Path) -> None:
    for record in run_draft.cases.values():
        record.pop("differences", None)
    rows = rows_of(run_draft, tmp_path / "run")
    assert describe_resolution(rows) == ""
    assert differences_table(rows) is None
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "What these images can tell" not in page


def test_a_further_set_has_its_own_sentence_and_table(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.cases[INT8]["also"] = {
        "codes:test": {
            "dataset": {"name": "codes:test", "images": 300, "sha256": "d" * 64},
            "differences": [entry(0.006) | {"images": 300}],
        }
    }
    rows = rows_of(run_draft, tmp_path / "run")
    assert describe_resolution(rows, "codes:test").startswith("300 images of codes:test resolve a difference")
    table = differences_table(rows, "codes:test")
    assert table is not None
    assert [row[0].text for row in table.rows] == ["int8@onnxruntime"]


def test_the_table_names_what_each_case_is_held_against(written_run: Path) -> None:
    rows = list_rows(load_checked(written_run))
    table = differences_table(rows)
    assert table is not None
    by_name = {row[0].text: row for row in table.rows}
    assert by_name["int8@openvino"][0].below == "against fp32@openvino"
    assert by_name["fp32@torch"][0].below == "against fp32@onnxruntime"
    assert "fp32@onnxruntime" not in by_name
    assert by_name["int8@openvino"][3].text == "worse"
    assert "svg" in str(by_name["int8@openvino"][2].drawing)
    plain = differences_table(rows, drawn=False)
    assert plain is not None
    assert len(plain.columns) == len(table.columns) - 1 == len(plain.rows[0])


def test_every_report_says_what_the_images_resolve(run_dir: Path) -> None:
    page = write_report(run_dir).read_text(encoding="utf-8")
    sentence = describe_resolution(list_rows(load_run(run_dir)))
    assert sentence
    assert sentence in page
    assert "What these images can tell" in (run_dir / "report.md").read_text(encoding="utf-8")
    console = Console(file=io.StringIO(), width=200)
    print_run(load_run(run_dir), console)
    assert sentence in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_main_table_has_the_interval_of_the_change_that_it_shows(run_dir: Path) -> None:
    write_report(run_dir)
    text = (run_dir / "report.md").read_text(encoding="utf-8")
    rows = {row.name: row for row in list_rows(load_run(run_dir))}
    interval = find_interval(rows["int8@openvino"], BASELINE, "map50_95")
    assert interval is not None
    assert f"−0.0040 {show_half(interval)}" in text
    assert find_interval(rows["int8@openvino"], "codes/nothing@onnxruntime", "map50_95") is None


def test_floors_that_are_finer_than_the_images_are_listed(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@onnxruntime", Status.PASS)
    run_draft.verdicts[-1] = dataclasses.replace(run_draft.verdicts[-1], note="this floor is finer than 500")
    run_dir = run_draft.write(tmp_path / "run")
    files = load_run(run_dir)
    assert list_fine_floors(files) == [(f"{INT8} map50_95", "this floor is finer than 500")]
    said = "1 floor is finer than these images resolve; the report says which."
    assert describe_fine_floors(files) == said
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert "this floor is finer than 500" in page
    assert said in (run_dir / "report.md").read_text(encoding="utf-8")
    console = Console(file=io.StringIO(), width=200)
    print_run(files, console)
    assert said in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_difference_without_an_interval_is_too_few_images(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.cases[INT8]["differences"] = [
        entry(0.1) | {"metrics": {"map50_95": {"value": -0.01}, "recall": {"value": None}}}
    ]
    table = differences_table(rows_of(run_draft, tmp_path / "run"))
    assert table is not None
    row = next(row for row in table.rows if row[0].text == "int8@onnxruntime")
    assert (row[1].text, row[2].text, row[3].text, row[4].text) == ("−0.0100", "–", "too few images", "–")


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "±0.40"), (0.0421, "±4.2"), (0.00003, "±0.003"), (0.0, "±0.00"), (None, "–")]
)
def test_points(value: float | None, text: str) -> None:
    assert show_points(value) == text


def test_the_score_shift_has_its_interval_below(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.cases[INT8]["score_shift"] = {
        "reference": BASELINE,
        "mean": -0.002,
        "difference": {"metrics": {"score_shift": {"value": -0.002, "interval": [-0.003, -0.001]}}},
    }
    table = totals_table(rows_of(run_draft, tmp_path / "run"))
    assert table is not None
    cells = {row[0].text: row[-1] for row in table.rows}
    assert (cells["int8@onnxruntime"].text, cells["int8@onnxruntime"].below) == (
        "−0.0020",
        "−0.0030 to −0.0010",
    )
    assert (cells["fp32@torch"].text, cells["fp32@torch"].below) == ("–", "")


def test_the_score_shift_has_its_ends_below(run_draft: RunDraft, tmp_path: Path) -> None:
    quantiles = {"0.05": -0.0312, "0.25": -0.004, "0.50": 0.0, "0.75": 0.003, "0.95": 0.0121}
    run_draft.cases[INT8]["score_shift"] = {"reference": BASELINE, "mean": -0.002, "quantiles": quantiles}
    table = totals_table(rows_of(run_draft, tmp_path / "run"))
    assert table is not None
    cells = {row[0].text: row[-1] for row in table.rows}
    assert cells["int8@onnxruntime"].below == "5 % −0.0312, 95 % +0.0121"
    run_draft.cases[INT8]["score_shift"] |= {
        "difference": {"metrics": {"score_shift": {"value": -0.002, "interval": [-0.003, -0.001]}}}
    }
    table = totals_table(rows_of(run_draft, tmp_path / "both"))
    assert table is not None
    cells = {row[0].text: row[-1] for row in table.rows}
    assert cells["int8@onnxruntime"].below == "−0.0030 to −0.0010; 5 % −0.0312, 95 % +0.0121"


def test_a_gain_over_a_control_has_its_interval_below(tmp_path: Path) -> None:
    slim_draft = draft_slim_run()
    rows = rows_of(slim_draft, tmp_path / "run")
    row, name = next((row, row.record["controls"]["dense"]) for row in rows if row.record.get("controls"))
    control = f"{row.case.study}/{name}@{row.case.runtime}"
    slim_draft.cases[str(row.case)]["differences"] = [entry(0.002, 0.01) | {"reference": control}]
    table = attribution_table(slim_draft.run, rows_of(slim_draft, tmp_path / "again"))
    assert table is not None
    gains = {cells[1].text: cells[4].below for cells in table.rows if cells[0].text == row.name}
    assert gains[name] == "+0.0080 to +0.0120"
