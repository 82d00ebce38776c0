"""``slimgate study`` as a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.errors import UnavailableError

from fixtures.goldens import STUDY_TOML


@pytest.mark.usefixtures("no_network")
def test_a_study_that_cannot_be_fetched_is_not_proven_and_red(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY_TOML.replace("weights.safetensors", "fetch:yolov5n.pt"))
    assert main(["study", str(study), "--out", str(tmp_path / "run")]) == 1
    shown = capsys.readouterr().err
    assert (
        "slimgate: nothing was judged: 2 of 2 cases of 'codes' are not proven\n  yolov5n.pt: not on this"
        in shown
    )
    assert "what to do: download https://" in shown
    assert [path.name for path in tmp_path.iterdir() if "run" in path.name] == []


@pytest.mark.parametrize("options", [(), ("--strict-floors",)])
def test_a_run_is_told_whether_floors_are_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    told: list[object] = []

    def run_study(study: object, out: Path, **settings: object) -> None:
        told.append(settings["strict_floors"])
        raise UnavailableError("weights", found="not here", expected="weights", action="fetch them")

    monkeypatch.setattr("slimgate.study.pipeline.run_study", run_study)
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    assert main(["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / "run"), *options]) == 1
    assert told == [bool(options)]
