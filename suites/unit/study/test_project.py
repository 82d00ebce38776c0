"""Which golden folder a run belongs to: the project's that it was made in, never another one's of the same id."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.study import load_study
from slimgate.study.pipeline import _Flow
from slimgate.study.project import describe_project, find_golden
from slimgate.study.spec import golden_folder, studies_folder

from fixtures.acceptances import MEASURED
from fixtures.goldens import STUDY_TOML, make_run

BUILT_IN = {"golden": "golden", "study": "fixtures/studies/codes.toml"}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a project of somebody's whose study has the id of a built-in one."""
    folder = tmp_path / "theirs"
    (folder / "golden").mkdir(parents=True)
    (folder / "codes.toml").write_text(STUDY_TOML)
    return folder


def test_a_run_says_its_golden_folder_without_a_path_of_the_machine(copied: Path, tmp_path: Path) -> None:
    study = load_study(copied / "codes.toml")
    project = describe_project(study, golden_folder(study))
    assert project == {"golden": "golden", "study": "codes.toml"}
    assert find_golden(project, "codes", [copied / "runs" / "first"]) == copied / "golden"
    assert find_golden(project, "labels", [copied]) is None
    assert find_golden(project, "codes", [tmp_path]) is None
    assert describe_project(study, tmp_path / "elsewhere" / "golden") is None
    built_in = load_study("codes")
    assert describe_project(built_in, golden_folder(built_in)) == BUILT_IN
    assert find_golden(BUILT_IN, "codes", [tmp_path]) == golden_folder(built_in)


def test_a_copy_of_a_built_in_study_is_accepted_into_its_own_golden(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = golden_folder(load_study("codes"))
    before = {path: path.stat().st_mtime_ns for path in ours.rglob("*")}
    project = {"golden": "golden", "study": "codes.toml"}
    run = make_run(copied / "runs" / "first", MEASURED, project=project)
    # From slimgate's own repository, where a folder named golden is at hand.
    monkeypatch.chdir(ours.parent)
    assert main(["accept", str(run)]) == 0
    record = copied / "golden" / "records" / "codes" / "any" / "int8@onnxruntime.json"
    assert json.loads(record.read_text())["case"] == "codes/int8@onnxruntime"
    assert {path: path.stat().st_mtime_ns for path in ours.rglob("*")} == before


@pytest.mark.parametrize(
    ("project", "found"),
    [
        (
            {"golden": "golden", "study": "codes.toml"},
            "no codes.toml with id 'codes' in its folder, the current",
        ),
        (None, "does not say which golden folder it was judged by"),
    ],
)
def test_a_run_whose_project_is_not_here_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    project: dict[str, str] | None,
    found: str,
) -> None:
    run = make_run(tmp_path / "downloaded", MEASURED, project=project)
    monkeypatch.chdir(golden_folder(load_study("codes")).parent)
    assert main(["accept", str(run)]) == 2
    told = capsys.readouterr().err
    assert f"{run}: {found}" in told
    assert "name its folder of floors and records with --golden" in told


def _git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_run_names_the_commit_of_its_study_and_not_of_the_current_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _git(elsewhere, "init", "-q")
    _git(elsewhere, "commit", "-qm", "of another project", "--allow-empty")
    monkeypatch.chdir(elsewhere)

    def read_commit(path: Path) -> dict[str, object] | None:
        flow = _Flow(load_study(path), project / "golden", lambda *told: None, expression="", timing=False)
        flow.read_machine()
        return flow.facts.environment.get("git")

    study = project / "tiny.toml"
    assert read_commit(study) is None
    _git(project, "init", "-q")
    _git(project, "add", ".")
    _git(project, "commit", "-qm", "of the study")
    commit = _git(project, "rev-parse", "HEAD")
    assert read_commit(study) == {"commit": commit, "dirty": False}
    weights = tmp_path / "models" / "mine.safetensors"
    weights.parent.mkdir()
    study.write_text(study.read_text().replace("weights/tiny.safetensors", str(weights)))
    _git(project, "commit", "-qam", "weights of its own place")
    told = read_commit(study)
    assert told is not None
    outside = [f"mine.{ending} (outside the repository)" for ending in ("json", "safetensors")]
    assert (told["dirty"], told["changes"]) == (True, outside)


def test_a_built_in_study_with_published_weights_can_be_clean() -> None:
    named = load_study("coco128-yolov5n")
    assert named.weights == "fetch:yolov5n.pt"
    assert {path.resolve() for path in named.own_files} == {named.path.resolve()}
    shipped = load_study("codes")
    assert all(path.resolve().is_relative_to(studies_folder().parents[1]) for path in shipped.own_files)
