"""The architecture search in a report."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from slimgate.compress.candidates import FORMAT, is_search
from slimgate.errors import InputError
from slimgate.report import write_report
from slimgate.report.searched import read_searched
from slimgate.study import load_study

from fixtures.runs import RunDraft

SEARCH: dict[str, Any] = {
    "format": FORMAT,
    "detector": "codes",
    "cost": "flops",
    "epochs": 1,
    "images": 640,
    "score_images": 256,
    "space": {"budget": 0.5},
    "front": [2, 0],
    "candidates": [
        {
            "number": 0,
            "operations": ["slim:flops=0.5,importance=taylor,favour=2:0.5/head:2", "finetune:1"],
            "flops": 0.5,
            "cost": 0.5,
            "score": 0.8,
            "reason": "",
        },
        {"number": 1, "operations": [], "flops": 0.5, "cost": 0.5, "score": 0.7, "reason": ""},
        {
            "number": 2,
            "operations": ["drop-levels:1", "slim:flops=0.25,importance=taylor"],
            "flops": 0.2,
            "cost": 0.2,
            "score": 0.6,
            "reason": "",
        },
        {"number": 3, "operations": [], "flops": None, "cost": None, "score": None, "reason": "floors"},
    ],
}


def test_the_front_stands_in_a_table_cheapest_first() -> None:
    found = read_searched({"search": SEARCH})
    assert found is not None
    assert (found.tried, found.failed, found.training) == (3, 1, "1 epochs of 640 pictures")
    assert [row[0].text for row in found.front.rows] == ["2", "0"]
    assert found.front.rows[0][4].text == "drop-levels:1 → slim:flops=0.25"
    assert found.front.rows[1][4].text == "slim:flops=0.5,favour=2:0.5/head:2"
    assert "share of the FLOPs" in found.plots[0]
    assert read_searched({}) is None


def test_the_report_has_a_section_for_it(run_draft: RunDraft, tmp_path: Path) -> None:
    run_draft.run["search"] = copy.deepcopy(SEARCH)
    folder = run_draft.write(tmp_path / "run")
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert '<section id="search">' in page
    assert "3 candidates under 50 % of the FLOPs of codes" in page
    assert "1 more could not be made" in page


@pytest.mark.parametrize("key", [key for key in SEARCH if key != "format"])
def test_a_search_that_lacks_something_is_none(key: str) -> None:
    assert is_search(SEARCH)
    assert not is_search({name: value for name, value in SEARCH.items() if name != key})
    assert not is_search({**SEARCH, key: None})


def test_a_study_refuses_a_file_that_is_no_search(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'format = "slimgate-study/1"\nid = "s"\ntitle = "s"\n[detector]\nweights = "a.safetensors"\n'
        '[data]\nevaluation = "codes:val"\ncalibration = "codes:calib"\n[search]\nfile = "search.json"\n'
        '[[variant]]\nname = "fp32"\nruntimes = ["torch"]\n'
    )
    with pytest.raises(InputError, match=r"search\.file: .*search\.json cannot be read"):
        load_study(path)
    (tmp_path / "search.json").write_text('{"format": "slimgate-search/1"}')
    with pytest.raises(InputError, match=r"search\.json is no search"):
        load_study(path)


def test_a_budget_of_latency_is_named(run_draft: RunDraft, tmp_path: Path) -> None:
    timed = SEARCH | {"budget_of": "latency in INT8 on openvino"}
    run_draft.run["search"] = timed
    text = write_report(run_draft.write(tmp_path / "run")).read_text(encoding="utf-8")
    assert "3 candidates under 50 % of the latency in INT8 on openvino of codes" in text
    assert is_search(timed)
    assert not is_search(SEARCH | {"budget_of": 3})
