"""Which golden folder a run was judged by: said without a machine's paths, and found again on any machine."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slimgate.errors import UsageError
from slimgate.flow import Json
from slimgate.study.spec import Study, studies_folder


def describe_project(study: Study, golden: Path) -> dict[str, Json] | None:
    """Return the golden folder and the study file, both relative to the folder that holds the golden folder.

    None where the study file is not below it: nothing that is true on another machine can be said then.
    """
    golden, path = golden.resolve(), study.path.resolve()
    if not path.is_relative_to(golden.parent):
        return None
    return {"golden": golden.name, "study": path.relative_to(golden.parent).as_posix()}


def find_golden(project: Mapping[str, Any] | None, study_id: str, places: Iterable[Path]) -> Path | None:
    """Return the golden folder of the project that a run was of, or None.

    The project is the nearest folder, at or above one of the places, that has the study's file with the study's id;
    last comes that of the built-in studies. The id alone says nothing: a copy of a study elsewhere has it too.

    Args:
        project: what ``describe_project`` said.
        study_id: id of the study.
        places: where to look, such as the run directory and the current folder.
    """
    if not project:
        return None
    above = [root for place in places for root in (place.resolve(), *place.resolve().parents)]
    for root in (*above, studies_folder().parents[1]):
        if _id_of(root / str(project["study"])) == study_id:
            return root / str(project["golden"])
    return None


def require_golden(run: Mapping[str, Any], directory: Path) -> Path:
    """Return the golden folder that a run was judged by.

    Args:
        run: what ``run.json`` says.
        directory: the run directory.

    Raises:
        UsageError: it cannot be told, so somebody has to name it.
    """
    study, project = str(run["study"]["id"]), run.get("project")
    golden = find_golden(project, study, (directory, Path()))
    if golden is None:
        raise UsageError(
            str(directory),
            found=f"no {project['study']} with id '{study}' in its folder, the current one, or above them"
            if project
            else "does not say which golden folder it was judged by",
            expected="a run inside the project that it was made in",
            action="change into that project, or name its folder of floors and records with --golden",
        )
    return golden


def _id_of(path: Path) -> str | None:
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    return value["id"] if isinstance(value.get("id"), str) else None
