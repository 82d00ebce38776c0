"""A release of a dependency must not turn a fresh clone red: what records and floors are keyed by is bounded."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LISTED = [
    *PROJECT["dependencies"],
    *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
]
REQUIRED = {one.name: one.specifier for one in map(Requirement, LISTED)}


@pytest.fixture(scope="module")
def provenances() -> list[dict[str, object]]:
    files = sorted((ROOT / "golden" / "records").rglob("*.json"))
    return [json.loads(file.read_text())["provenance"] for file in files]


def test_the_evaluator_is_the_one_of_every_record(provenances):
    (evaluator,) = {one["protocol"]["evaluator"] for one in provenances}
    name, _, version = evaluator.partition(" ")
    assert str(REQUIRED[name]) == f"=={version}"


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt-rtx", "tensorrt"])
def test_the_next_major_version_of_a_runtime_is_not_installed(name, provenances):
    recorded = {one["versions"].get(name) for one in provenances} - {None} or {
        re.search(r"[\d.]+", str(REQUIRED[name]))[0]
    }
    for version in recorded:
        major = int(version.split(".")[0])
        # TensorRT 10 and 11 are both supported, and have no floors yet.
        following = 12 if name == "tensorrt" else major + 1
        assert not REQUIRED[name].contains(f"{following}.0")
        assert not REQUIRED[name].contains(f"{following}.1.2")


@pytest.mark.parametrize("name", ["numpy", "opencv-python-headless", "zint-bindings"])
def test_what_draws_the_built_in_pictures_cannot_change_by_itself(name):
    from importlib.metadata import version

    installed = version(name)
    assert REQUIRED[name].contains(installed)
    first, second = installed.split(".")[:2]
    assert not REQUIRED[name].contains(f"{first}.{int(second) + 1}.0")
