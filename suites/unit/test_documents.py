"""Sequences that documents describe can be followed, and folders that they name are there."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
