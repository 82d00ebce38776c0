"""What the report says of INT8: decisions, noise, and what went back to float."""

from __future__ import annotations

from typing import Any

import pytest
from slimgate.errors import InputError
from slimgate.report import write_report
from slimgate.report.load import load_checked
from slimgate.report.quantization import quantization_table, sensitivity_tables
from slimgate.report.rows import list_rows

CASE = "codes/int8@onnxruntime"


def _group(name: str, sqnr_db: float | None, macs: int) -> dict[str, Any]:
    return {"name": name, "nodes": [f"/{name}/Conv"], "macs": macs, "sqnr_db": sqnr_db, "drop": None}


@pytest.fixture
def quantised(run_draft):
    record = run_draft.cases[CASE]
    record["lineage"] = [
        {
            "operation": "quantize",
            "settings": {"target": "x86", "observer": "mse", "budget": 0.002},
            "notes": {"calibration_count": 512},
        }
    ]
    record["artifact"]["facts"] = {
        "float_convolutions": {"/a/Conv": "head: no", "/b/Conv": "head: no", "/c/Conv": "stem: few"},
        "sqnr_db": {"/a/Conv": 30.0, "/model.3/conv/Conv": 17.25, "/c/Conv": 40.0, "/d/Conv": 50.0},
        "sensitivity": {
            "groups": [_group("model.1", 21.5, 1_000_000), _group("model.2", None, 2_000_000)],
            "budget": 0.002,
            "score": 0.9,
            "steps": [0.004, 0.001],
            "returned": ["model.1"],
        },
    }
    return run_draft


def _rows(draft, folder):
    return list_rows(load_checked(draft.write(folder)))


def test_a_line_says_how_it_was_decided_and_what_is_float(quantised, tmp_path):
    table = quantization_table(_rows(quantised, tmp_path / "run"))
    texts = next(
        [cell.text for cell in line] for line in table.rows if line[0].text.endswith("int8@onnxruntime")
    )
    assert texts[1:4] == ["x86", "mse, budget 0.002", "512"]
    assert texts[5] == "2 head, 1 stem"
    assert texts[6] == "model.3/conv 17.2, a 30.0, c 40.0"


def test_sensitivity_says_what_went_back_and_why(quantised, tmp_path):
    (table,) = sensitivity_tables(_rows(quantised, tmp_path / "run"))
    assert "fell by 0.0040 in INT8 and by 0.0010 at the end, with a budget of 0.002" in table.caption
    assert "model.1 went back to float" in table.caption
    assert [[cell.text for cell in line] for line in table.rows] == [
        ["model.1", "21.5", "1.00 M", "float"],
        ["model.2", "–", "2.00 M", "INT8"],
    ]


def test_the_page_has_the_section_only_where_something_was_quantised(quantised, tmp_path):
    page = write_report(quantised.write(tmp_path / "run")).read_text()
    assert 'id="quantization"' in page
    assert "How each INT8 file was quantised" in page


def test_a_record_whose_sensitivity_is_damaged_is_refused(quantised, tmp_path):
    quantised.cases[CASE]["artifact"]["facts"]["sensitivity"]["groups"] = [{"name": 3}]
    with pytest.raises(InputError, match="sensitivity"):
        load_checked(quantised.write(tmp_path / "run"))
