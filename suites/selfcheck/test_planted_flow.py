"""Faults in a whole project: study, weights and pictures as files, run from compression to verdict and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slimgate.artifact import export_onnx, hash_file
from slimgate.flow import Family, Status, Verdict
from slimgate.model import save_checkpoint
from slimgate.study.store import hash_json

from fixtures.detectors import build_detector
from fixtures.faults import Caught
from fixtures.tiny_project import run_project


def red_of(project: Path, *variants: str) -> Sequence[Verdict]:
    """Return the red verdicts of the next run, and demand that they are of these variants and of no other."""
    red = run_project(project, "next").judgement.red()
    assert {verdict.case.variant for verdict in red} == set(variants), [one.message for one in red]
    return red


def edit(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))


def test_nothing_planted_is_green(project: Path) -> None:
    assert red_of(project) == ()


@pytest.mark.fault("other weights under the same name")
def test_other_weights(project: Path, caught: Caught) -> None:
    save_checkpoint(build_detector(Family.ULTRALYTICS, seed=1), project / "weights" / "tiny.safetensors")
    red = red_of(project, "fp32", "int8", "pruned")
    assert {verdict.status for verdict in red} == {Status.INVALID}
    caught.verdicts(red)


@pytest.mark.fault("another ratio in the study")
def test_another_ratio(project: Path, caught: Caught) -> None:
    edit(project / "tiny.toml", "prune:0.5", "prune:0.4")
    caught.verdicts(red_of(project, "pruned"))


@pytest.mark.fault("fewer calibration images in the study")
def test_fewer_calibration_images(project: Path, caught: Caught) -> None:
    edit(project / "tiny.toml", "calibration_images = 6", "calibration_images = 2")
    caught.verdicts(red_of(project, "int8"))


@pytest.mark.fault("an older file in the store")
def test_an_older_file_in_the_store(project: Path, caught: Caught) -> None:
    """Whole, of the right shape, with an entry that names its hash: only torch beside it can tell."""
    (entry,) = [
        path.parent
        for path in (project / "store").rglob("entry.json")
        if json.loads(path.read_text())["inputs"]["kind"] == "onnx-fp32"
        and not json.loads(path.read_text())["inputs"]["operations"]
    ]
    (file,) = entry.glob("*.onnx")
    export_onnx(build_detector(Family.ULTRALYTICS, seed=2), file)
    record: dict[str, Any] = json.loads((entry / "entry.json").read_text())
    record["artifact"]["sha256"] = record["files"][file.name] = hash_file(file)
    del record["sha256"]
    record["sha256"] = hash_json(record)
    (entry / "entry.json").write_text(json.dumps(record))
    caught.verdicts(red_of(project, "fp32", "int8"))
