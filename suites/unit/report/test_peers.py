"""Our INT8 beside other tools' in a report and in documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.report import write_report
from slimgate.report.load import load_checked
from slimgate.report.peers import peers_table
from slimgate.report.rows import list_rows
from slimgate.report.showcase import update_document
from slimgate.report.sizes import sizes_table
from slimgate.report.times import invalid_times, latency_table

CASE = "codes/int8@openvino"


@pytest.fixture
def compared(run_draft):
    """Make a run whose INT8 on OpenVINO is another tool's."""
    record = run_draft.cases[CASE]
    record["lineage"] = [{"operation": "quantize", "settings": {"peer": "nncf"}, "notes": {}}]
    entry = record["latency"]["batch1"]
    entry["ours"] = {**entry, "baseline": "codes/int8-ours@openvino", "ratio": 1.4, "interval": [1.31, 1.52]}
    return run_draft


def _texts(table: Any) -> dict[str, list[str]]:
    return {line[0].text: [cell.text for cell in line] for line in table.rows}


def test_a_line_for_each_row_of_a_runtime_that_another_tool_is_compared_on(compared, tmp_path):
    table = peers_table(list_rows(load_checked(compared.write(tmp_path / "run"))))
    lines = _texts(table)
    assert list(lines) == ["fp32@openvino", "int8@openvino"]
    assert lines["fp32@openvino"][1:4] == ["–", "0.8911", "–"]
    assert lines["int8@openvino"][1:5] == ["nncf", "0.8871", "−0.0040", "91.8 %"]
    assert "1.40 (1.31–1.52)" in lines["int8@openvino"]
    assert lines["fp32@openvino"][7] == "–"


def test_what_cannot_be_judged_is_not_shown_as_a_ratio(compared, tmp_path):
    why = "the machine was in a slower state, in which ratios are others"
    compared.cases[CASE]["latency"]["batch1"]["ours"]["why_no_claim"] = why
    run = compared.write(tmp_path / "run")
    rows = list_rows(load_checked(run))
    line = _texts(peers_table(rows))["int8@openvino"]
    assert "cannot be judged" in line
    assert not any("1.40" in text for text in line)
    assert why in invalid_times(rows)
    assert why in write_report(run).read_text(encoding="utf-8")


def test_a_time_that_was_measured_again_says_how_often(compared, tmp_path):
    entry = compared.cases[CASE]["latency"]["batch1"]
    entry["others"] = [{"ratio": 0.9, "interval": [0.88, 0.92], "slowed": 1.6}] * 2
    table = latency_table(list_rows(load_checked(compared.write(tmp_path / "run"))))
    below = [cell.below for line in table.rows for cell in line if "measured" in cell.below]
    assert below == ["faster; 3 times measured"]


def test_without_another_tool_there_is_no_table(run_draft, tmp_path):
    assert peers_table(list_rows(load_checked(run_draft.write(tmp_path / "run")))) is None


def test_the_page_and_a_document_hold_it(compared, tmp_path):
    run = compared.write(tmp_path / "run")
    assert "INT8 beside other tools" in write_report(run).read_text(encoding="utf-8")
    study = json.loads((run / "run.json").read_text())["study"]["id"]
    document = tmp_path / "quantization.md"
    document.write_text(f"<!-- slimgate:peers {study} -->\n<!-- /slimgate -->\n", encoding="utf-8")
    assert update_document(document, run) == ["peers"]
    text = document.read_text(encoding="utf-8")
    assert "| int8@openvino | nncf | 0.8871 |" in text
    assert "beside ours" in text


def test_a_document_that_asks_for_it_of_a_run_without(run_draft, tmp_path):
    run = run_draft.write(tmp_path / "run")
    study = json.loads((run / "run.json").read_text())["study"]["id"]
    document = tmp_path / "quantization.md"
    document.write_text(f"<!-- slimgate:peers {study} -->\n<!-- /slimgate -->\n", encoding="utf-8")
    with pytest.raises(InputError, match="no other tool's INT8 in this run") as caught:
        update_document(document, run)
    assert "run such a study, or remove the block" in str(caught.value)


def test_a_file_that_two_runtimes_execute_in_different_precisions_has_a_line_for_each(run_draft, tmp_path):
    run_draft.cases["codes/fp16@openvino"]["artifact"]["shares"] = {"fp32": 1.0}
    sha256 = run_draft.cases["codes/fp16@onnxruntime"]["artifact"]["sha256"]
    run_draft.cases["codes/fp16@openvino"]["artifact"]["sha256"] = sha256
    table = sizes_table(list_rows(load_checked(run_draft.write(tmp_path / "run"))))
    lines = {(line[0].text, line[0].below): line[-1].text for line in table.rows}
    assert lines["fp16", "onnxruntime"] == "100.0 % fp16"
    assert lines["fp16", "openvino"] == "100.0 % fp32"


def test_every_file_has_the_seconds_it_took(run_draft, tmp_path):
    run_draft.cases["codes/int8@onnxruntime"]["artifact"]["build_s"] = 41.26
    del run_draft.cases["codes/fp32@torch"]["artifact"]["build_s"]
    table = sizes_table(list_rows(load_checked(run_draft.write(tmp_path / "run"))))
    column = [one.title for one in table.columns].index("Build")
    seconds = {(line[0].text, line[0].below): line[column].text for line in table.rows}
    assert seconds["int8", "onnxruntime"] == "41.3 s"
    assert seconds["fp32", "torch"] == "–"
    assert "INT8: with its calibration" in table.columns[column].hint
