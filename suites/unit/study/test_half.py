"""FP16 files of a study: looked at for overflow on calibration images, and the record says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from slimgate.compress.quantize import observe_maxima
from slimgate.flow import Artifact
from slimgate.study import load_study
from slimgate.study.prepare import Prepared, expand_cases, prepare_study
from slimgate.study.store import Store

from fixtures.tiny_project import STUDY

HALF = '[[variant]]\nname = "fp16"\nprecision = "fp16"\nruntimes = ["onnxruntime"]\n'


def _prepare(project: Path, *, calibration: bool = True) -> Prepared:
    (project / "half.toml").write_text(f"{STUDY}\n{HALF}")
    study = load_study(project / "half.toml")
    if not calibration:
        study = dataclasses.replace(study, calibration="")
    cases = [case for case, spec, _ in expand_cases(study) if spec.name == "fp16"]
    return prepare_study(study, cases, store=Store(project / "store"))


def _fp16(prepared: Prepared) -> Artifact:
    spec = next(one for one in prepared.study.variants if one.name == "fp16")
    return prepared.builder.artifact(spec, "onnxruntime")


def test_activations_are_looked_at_and_the_file_is_the_same(project: Path) -> None:
    prepared = _prepare(project)
    assert prepared.builder.pictures is None, "nothing is quantised"
    looked = _fp16(prepared)
    assert prepared.builder.ranges is not None
    count = len(prepared.builder.ranges.paths)
    assert looked.facts["range_checked"] == f"constants, and activations on {count} calibration images"
    assert 0 < looked.facts["largest_activation"] < 65504
    blind = _fp16(_prepare(project, calibration=False))
    assert blind.facts["range_checked"] == "constants alone"
    assert "largest_activation" not in blind.facts
    # Nothing comes near the largest half here: what was looked at changes no byte, only what is known of it.
    assert blind.sha256 == looked.sha256
    assert blind.path.parent != looked.path.parent, "each is kept under what it was made from"


def test_what_overflows_on_calibration_images_stays_in_float32(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def louder(path: Path, inputs: object) -> dict[str, float]:
        return {name: value * 1e6 for name, value in observe_maxima(path, inputs).items()}  # type: ignore[arg-type]

    monkeypatch.setattr("slimgate.compress.quantize.observe_maxima", louder)
    made = _fp16(_prepare(project))
    assert made.lineage[-1].notes["float32_for_range"]
    assert made.shares["fp32"] > 0.5
