from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.flow import Case, Status, Verdict
from slimgate.gate import Finding, NotProven, load_run
from slimgate.report.overview import main_table, summarise_run
from slimgate.report.rows import Row, Standing, judge_speed, list_rows, sort_worst_first

from fixtures.case_records import BASELINE
from fixtures.runs import RunDraft

INT8 = "codes/int8@onnxruntime"


def rows_of(draft: RunDraft, tmp_path: Path) -> dict[str, Row]:
    return {str(row.case): row for row in list_rows(load_run(draft.write(tmp_path / "run")))}


@pytest.mark.parametrize("status", [Status.FAIL, Status.INVALID, Status.INCONCLUSIVE, Status.STALE])
def test_a_case_stands_where_its_worst_verdict_stands(
    run_draft: RunDraft, tmp_path: Path, status: Status
) -> None:
    run_draft.change_verdict("int8@onnxruntime", status)
    assert rows_of(run_draft, tmp_path)[INT8].standing.value == status.value


def test_a_green_case_of_which_nothing_ran_is_not_proven(run_draft: RunDraft, tmp_path: Path) -> None:
    row = rows_of(run_draft, tmp_path)["codes/int8@tensorrt-rtx-sm86"]
    assert [verdict.status for verdict in row.verdicts] == [Status.PASS]
    assert row.standing is Standing.NOT_PROVEN


def test_a_metric_that_was_not_proven_leaves_the_rest_of_the_case_green(
    run_draft: RunDraft, tmp_path: Path
) -> None:
    gap = NotProven(case=Case.parse(INT8), metric="latency_ratio_b1", reason="no floor for this device")
    run_draft.not_proven.append(gap)
    assert rows_of(run_draft, tmp_path)[INT8].standing is Standing.PASS
    files = load_run(tmp_path / "run")
    told = "1 of 20 cases have times that were held against no floor here."
    assert told in summarise_run(files, list_rows(files)).sentence


def test_a_case_that_nobody_judged_is_not_green(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.verdicts = [one for one in run_draft.verdicts if str(one.case) != INT8]
    row = rows_of(run_draft, tmp_path)[INT8]
    assert row.standing is Standing.NOT_JUDGED
    assert row.standing.tone == "amber"


def test_a_case_that_only_a_verdict_knows_has_its_row(run_draft: RunDraft, tmp_path: Path) -> None:
    gone = Case.parse("codes/deleted@onnxruntime")
    run_draft.verdicts.append(
        Verdict(
            case=gone,
            metric="map50_95",
            status=Status.INVALID,
            measured=None,
            floor=0.8,
            unit="fraction",
            message="it vanished",
        )
    )
    rows = rows_of(run_draft, tmp_path)
    assert rows[str(gone)].standing is Standing.INVALID
    assert str(sort_worst_first(list(rows.values()))[0].case) == str(gone)


def test_worst_first_is_by_standing_then_missing_then_lowest_accuracy(
    run_draft: RunDraft, tmp_path: Path
) -> None:
    run_draft.change_verdict("fp16@onnxruntime", Status.STALE)
    run_draft.change_verdict("int8@openvino", Status.INCONCLUSIVE)
    run_draft.change_verdict("fp32@torch", Status.INVALID)
    run_draft.change_verdict("int8@tensorrt-rtx-sm86", Status.FAIL)
    run_draft.change_verdict("prune50-layer@onnxruntime", Status.FAIL)
    run_draft.change_verdict("prune50-global@onnxruntime", Status.FAIL)
    ordered = sort_worst_first(list(rows_of(run_draft, tmp_path).values()))
    assert [row.name for row in ordered[:6]] == [
        "int8@tensorrt-rtx-sm86",
        "prune50-layer@onnxruntime",
        "prune50-global@onnxruntime",
        "fp32@torch",
        "int8@openvino",
        "fp16@onnxruntime",
    ]
    passed = [row.number("accuracy", "coco", "AP") for row in ordered if row.standing is Standing.PASS]
    assert passed == sorted(passed, key=lambda value: value or 0)
    assert [row.standing.rank for row in ordered] == sorted(row.standing.rank for row in ordered)


@pytest.mark.parametrize(
    ("interval", "control", "words"),
    [
        ([0.60, 0.62], [0.99, 1.01], "faster"),
        ([1.10, 1.20], [0.99, 1.01], "slower"),
        ([0.95, 1.02], [0.99, 1.01], "no difference shown"),
        ([0.90, 0.97], [0.85, 1.15], "no difference shown"),
        ([1.05, 1.10], [0.85, 1.15], "no difference shown"),
    ],
)
def test_only_an_interval_wholly_beyond_the_control_shows_a_difference(
    run_draft: RunDraft, tmp_path: Path, interval: list[float], control: list[float], words: str
) -> None:
    entry = run_draft.cases[INT8]["latency"]["batch1"]
    entry.update(interval=interval, ratio=sum(interval) / 2, control={"ratio": 1.0, "interval": control})
    assert judge_speed(rows_of(run_draft, tmp_path)[INT8]) == words


def test_zeros_are_never_called_a_speed_up(run_draft: RunDraft, tmp_path: Path) -> None:
    name = "codes/prune50-layer@onnxruntime"
    run_draft.cases[name]["latency"]["batch1"].update(ratio=0.5, interval=[0.49, 0.51])
    assert judge_speed(rows_of(run_draft, tmp_path)[name]) == "zeros: no speed-up"


@pytest.mark.parametrize("key", ["why_invalid", "why_no_claim"])
def test_a_time_that_says_it_is_invalid_shows_nothing(run_draft: RunDraft, tmp_path: Path, key: str) -> None:
    run_draft.cases[INT8]["latency"]["batch1"][key] = "the control is off"
    assert judge_speed(rows_of(run_draft, tmp_path)[INT8]) == "cannot be judged"


def test_a_ratio_to_another_runtime_says_so(run_draft: RunDraft, tmp_path: Path) -> None:
    table = main_table(list(rows_of(run_draft, tmp_path).values()))
    below = {(row[0].text, row[1].text): row[8].below for row in table.rows}
    assert below["fp32", "openvino"] == "faster, against fp32@onnxruntime"
    assert below["int8", "openvino"] == "faster"
    assert below["fp32", "onnxruntime"] == "A/A control"


def test_the_headline_of_a_green_run(run_dir: Path) -> None:
    files = load_run(run_dir)
    headline = summarise_run(files, list_rows(files))
    assert (headline.word, headline.tone, headline.caveat) == ("PASS", "green", "")
    assert headline.sentence == (
        "Every measurement that was judged holds its floor. "
        "3 of 20 cases could not run here: nothing is claimed about them."
    )
    assert {name: count for name, count, _, _ in headline.counts} == {
        "FAIL": 0,
        "INVALID": 0,
        "INCONCLUSIVE": 0,
        "WAIVED": 0,
        "STALE": 0,
        "PASS": 37,
        "not proven": 3,
    }


def test_the_headline_of_a_red_run_counts_measurements_and_cases(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.change_verdict("int8@onnxruntime", Status.FAIL)
    run_draft.change_verdict("int8@onnxruntime", Status.INCONCLUSIVE, "latency_ratio_b1")
    files = load_run(run_draft.write(tmp_path / "run"))
    headline = summarise_run(files, list_rows(files))
    assert (headline.word, headline.tone) == ("FAIL", "red")
    assert headline.sentence.startswith("Do not ship this: 2 measurements in 1 of 20 cases do not hold")


def test_a_stale_floor_is_red_in_the_report_of_a_run_with_strict_floors(
    run_draft: RunDraft, tmp_path: Path
) -> None:
    run_draft.change_verdict("int8@onnxruntime", Status.STALE)
    lenient = load_run(run_draft.write(tmp_path / "lenient"))
    assert summarise_run(lenient, list_rows(lenient)).word == "PASS"
    assert "1 beat their floor by more than its slack: tighten" in summarise_run(lenient, []).sentence
    finding = Finding(kind="orphan record", subjects=("a.json", "b.json"), message="no case: remove it")
    beaten = "1 beat their floor by more than its slack"
    for findings, told in (([], beaten), ([finding], f"{beaten}; orphan record (2)")):
        run_draft.findings = findings
        run_draft.run["strict_floors"] = True
        files = load_run(run_draft.write(tmp_path / f"strict-{len(run_draft.findings)}"))
        headline = summarise_run(files, list_rows(files))
        assert (headline.word, headline.tone) == ("FAIL", "red")
        assert headline.sentence.startswith(
            f"Every measurement that was judged holds its floor. Floors are strict, so this fails: {told}. 3 of"
        )


def test_a_run_without_verdicts_is_red(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.verdicts = []
    files = load_run(run_draft.write(tmp_path / "run"))
    headline = summarise_run(files, list_rows(files))
    assert (headline.word, headline.tone) == ("NOTHING JUDGED", "red")


@pytest.mark.parametrize(
    ("expression", "caveat"),
    [("int8", "A partial run (-k 'int8')"), ("", "An incomplete run: times were not measured.")],
)
def test_a_partial_run_says_so(run_draft: RunDraft, tmp_path: Path, expression: str, caveat: str) -> None:
    run_draft.run.update(complete=False, filter=expression)
    files = load_run(run_draft.write(tmp_path / "run"))
    assert summarise_run(files, list_rows(files)).caveat.startswith(caveat)


def test_changes_are_against_the_baseline(run_draft: RunDraft, tmp_path: Path) -> None:
    table = main_table(list(rows_of(run_draft, tmp_path).values()))
    below = {(row[0].text, row[1].text): row[2].below for row in table.rows}
    assert below["int8", "onnxruntime"] == "−0.0040 ±0.0028"
    assert below["fp32", "onnxruntime"] == ""
    assert below["fp32", "torch"] == "±0"
    assert BASELINE == "codes/fp32@onnxruntime"
