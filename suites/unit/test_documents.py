"""Sequences that documents describe can be followed, and folders that they name are there."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINES = {
    "family 25": "cpu-amd-epyc-family-25-model-17-2-cores",
    "family 26": "cpu-amd-epyc-family-26-model-2-2-cores",
}
"""Whose latencies the documents show."""


def test_the_folders_of_golden_are_there():
    text = (ROOT / "golden" / "README.md").read_text()
    folders = re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE)
    assert folders == ["engines/floors"]
    assert all((ROOT / "golden" / folder).is_dir() for folder in folders)
    named = set(re.findall(r"^\| `(\w+)/", text, re.MULTILINE))
    assert named == {path.name for path in (ROOT / "golden").iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("document", "start", "order"),
    [
        (
            "golden/README.md",
            "## From a run to a floor",
            ["Commit the code", "`slimgate study` runs", "`slimgate accept"],
        ),
        (
            "docs/engines.md",
            "## The record of a GPU",
            ["git status", "run -e gpu", "run -e study", "slimgate accept"],
        ),
    ],
)
def test_code_is_committed_before_the_run_that_is_accepted(document, start, order):
    text = (ROOT / document).read_text().split(start, 1)[1]
    places = [text.index(step) for step in order]
    assert places == sorted(places)


def test_the_environments_of_the_gpu_section_install_the_tests():
    text = (ROOT / "docs" / "engines.md").read_text().split("## The record of a GPU", 1)[1]
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    assert {f"testenv:{name}" for name in re.findall(r"tox run -e (\w+)", text)} <= set(tox.sections())
    assert "SLIMGATE_EXTRAS" in tox["testenv:install"]["extras"]
    assert "test" in tox["testenv:install"]["dependency_groups"].split()
    assert not re.search(r"^ +pytest ", text, re.MULTILINE)


@pytest.fixture(scope="module")
def value():
    return read_records(MACHINES["family 25"])


def read_records(machine):
    """Return what the records of codes-slim say, times on one machine, by variant and runtime, and metric."""
    found = {}
    for folder in ("any", machine):
        for path in (ROOT / "golden" / "records" / "codes-slim" / folder).glob("*.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            for entry in record["measurements"]:
                found[record["case"].removeprefix("codes-slim/"), entry["metric"]] = entry["value"]
    return found


@pytest.mark.parametrize(
    ("better", "worse", "sentence"),
    [
        ("dense", "nas", "nas was trained for as many more epochs as its control and is six points below it"),
        ("nas", "half", "times the weights of nas, is eight points below nas"),
        ("nas", "scratch", "its architecture is twelve points below it"),
        ("slim18-gamma", "slim18-gentle", "is seven points worse than with 0.5"),
    ],
)
def test_points_between_detectors_are_those_of_the_records(value, better, worse, sentence):
    words = {6: "six", 7: "seven", 8: "eight", 12: "twelve"}
    points = 100 * (value[f"{better}@onnxruntime", "map50_95"] - value[f"{worse}@onnxruntime", "map50_95"])
    assert f" {words[round(points)]} points " in f" {sentence} "
    text = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
    assert sentence in " ".join(text.split())


def test_what_was_reached_is_what_the_records_of_codes_slim_say(value):
    def times(metric: str, *cases: str, said=value) -> str:
        smaller = metric in ("size_bytes", "flops")
        return ", ".join(
            f"÷ {(said['fp32@onnxruntime', metric] if smaller else 1) / said[case, metric]:.1f}"
            for case in cases
        )

    text = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| | asked | nas | slim18 | half | fast |\n")
    rows = [line.replace("*", "").strip("| ").split("|") for line in table.splitlines()[1:11]]
    other = read_records(MACHINES["family 26"])
    assert [row[0].rpartition(", ")[2].strip() for row in rows[3:9]] == list(MACHINES) * 3
    for column, name in enumerate(("nas", "slim18", "half", "fast")):
        fp32 = [f"{name}@{runtime}" for runtime in ("onnxruntime", "openvino")]
        int8 = [f"{name}-int8@{runtime}" for runtime in ("onnxruntime", "openvino")]
        difference = value[fp32[0], "map50_95"] - value["dense@onnxruntime", "map50_95"]
        assert [row[-4:][column].strip() for row in rows] == [
            times("size_bytes", fp32[0]),
            times("size_bytes", *int8),
            times("flops", fp32[0]),
            times("latency_ratio_b1", *fp32),
            times("latency_ratio_b1", *fp32, said=other),
            times("latency_ratio_b1", *int8),
            times("latency_ratio_b1", *int8, said=other),
            times("latency_ratio_b32", *int8),
            times("latency_ratio_b32", *int8, said=other),
            f"{difference:+.3f}".replace("0.", ".").replace("-", "−"),
        ]


CONTROLS = {
    "slim50": "dense-short",
    "slim30": "dense-middle",
    "slim24": "dense",
    "slim18": "dense",
    "nas": "dense",
}


def curve_row(value, name):
    """Return the row that docs/compression.md shows of one strength, from what the records say."""

    def points(case, control):
        return f"{100 * (value[case, 'map50_95'] - value[control, 'map50_95']):+.1f}".replace("-", "−")

    case, control = f"{name}@onnxruntime", f"{CONTROLS[name]}@onnxruntime"
    smaller = [
        f"÷ {value['fp32@onnxruntime', metric] / value[case, metric]:.1f}"
        for metric in ("flops", "nonzero_parameters")
    ]
    int8 = ", ".join(points(f"{name}-int8@{runtime}", case) for runtime in ("onnxruntime", "openvino"))
    cells = [name, *smaller, f"{value[case, 'map50_95']:.4f}", points(case, control), CONTROLS[name], int8]
    return f"| {' | '.join(cells)} |"


def test_where_the_loss_begins_is_what_the_records_say(value):
    text = (ROOT / "docs" / "compression.md").read_text(encoding="utf-8")
    section = text.partition("### Where the loss begins\n")[2].partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert rows == [curve_row(value, name) for name in CONTROLS]


def test_what_an_activation_gives_is_what_the_records_say(value):
    text = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
    _, _, section = text.partition("### What an activation gives\n")
    assert "AMD EPYC (family 25 model 17)" in section
    for batch in (1, 32):
        for runtime in ("onnxruntime", "openvino"):
            ratios = [
                value[f"int8@{runtime}", f"latency_ratio_b{batch}"],
                value[f"relu-int8@{runtime}", f"latency_ratio_same_b{batch}"],
                value[f"relu-int8@{runtime}", f"latency_ratio_b{batch}"],
            ]
            cells = " | ".join(f"÷ {1 / ratio:.2f}" for ratio in ratios)
            assert f"| {runtime}, batch {batch} | {cells} |" in section
    cost = value["relu@onnxruntime", "map50_95"] - value["dense-short@onnxruntime", "map50_95"]
    assert f"is {cost:+.4f} against the control".replace("-", "−") in section
