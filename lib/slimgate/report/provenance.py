"""Where the numbers come from: machine, versions, data, weights, protocol; and how to get them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.errors import name_offenders
from slimgate.gate import RunFiles
from slimgate.report.numbers import NONE, show_duration
from slimgate.report.rows import Row
from slimgate.report.table import Column, Table, text_cell

_NAMED_APART = ("versions", "git")
_LONG_LIST = 12


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A titled list of names and values."""

    title: str
    entries: Sequence[tuple[str, str]]


def list_facts(files: RunFiles) -> list[Facts]:
    """Return everything a reader must know to trust or refuse the numbers."""
    run = files.run
    environment = run.get("environment", {})
    git = run.get("git", {})
    commit = str(git.get("commit") or NONE)
    groups = [
        Facts(
            title="Run",
            entries=[
                ("study", f"{run['study']['title']} ({run['study']['id']})"),
                ("run id", str(run.get("run_id", NONE))),
                ("started", str(run.get("started", NONE))),
                ("took", show_duration(run.get("seconds"))),
                *(
                    (f"took, {name}", show_duration(value))
                    for name, value in run.get("stage_seconds", {}).items()
                ),
                ("git commit", f"{commit}{_describe_changes(git)}"),
            ],
        ),
        Facts(
            title="Machine",
            entries=list(
                _flatten({key: value for key, value in environment.items() if key not in _NAMED_APART})
            ),
        ),
        Facts(title="Versions", entries=list(_flatten(environment.get("versions", {})))),
        Facts(title="Detector", entries=list(_flatten(run.get("detector", {})))),
        Facts(
            title="Data",
            entries=[
                *_flatten(run.get("dataset", {})),
                ("classes", _some(run["class_names"])),
                *(
                    (key.replace("_", " "), str(value))
                    for key, value in run["study"].items()
                    if key in ("evaluation", "calibration", "calibration_images") and value
                ),
                *_calibration(files),
            ],
        ),
        Facts(title="Evaluation protocol", entries=list(_flatten(run.get("protocol", {})))),
    ]
    return [group for group in groups if group.entries]


def _describe_changes(git: Mapping[str, Any]) -> str:
    if not git.get("dirty"):
        return ""
    named = f": {name_offenders(git['changes'])}" if git.get("changes") else ""
    return f", with uncommitted changes{named}"


def list_commands(files: RunFiles) -> list[str]:
    """Return the commands that give a run's numbers again, each fit to be pasted into a shell."""
    run = files.run
    study = shlex.quote(str(run["study"]["id"]))
    commit = run.get("git", {}).get("commit")
    expression = run.get("filter")
    return [
        *([f"git checkout {shlex.quote(str(commit))}"] if commit else []),
        f"slimgate study {study}" + (f" -k {shlex.quote(str(expression))}" if expression else ""),
        "slimgate report RUN_DIR    # this page alone, from the records",
    ]


def artifacts_table(rows: Sequence[Row]) -> Table | None:
    """Return the sha256 of every judged file, and of its weights, or None."""
    built = [row for row in rows if row.record.get("artifact", {}).get("sha256")]
    if not built:
        return None
    return Table(
        caption="Fingerprints",
        columns=[
            Column(title=title, numeric=False)
            for title in ("Case", "File", "File sha256", "Weights sha256", "Ran by")
        ],
        rows=[
            [
                text_cell(row.name),
                text_cell(str(row.record["artifact"].get("file", ""))),
                text_cell(str(row.record["artifact"]["sha256"])),
                text_cell(str(row.record.get("model", {}).get("weights_sha256", ""))),
                text_cell(str(row.record.get("provider", ""))),
            ]
            for row in built
        ],
    )


def _calibration(files: RunFiles) -> Iterator[tuple[str, str]]:
    found = {
        str(one.provenance["calibration_sha256"]): None
        for one in files.measurements
        if one.provenance.get("calibration_sha256")
    }
    for sha256 in found:
        yield "calibration list sha256", sha256


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values as text, nested ones with their path; long lists (curves) are only counted."""
    for key, inner in value.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{name}, ")
        elif isinstance(inner, list) and (
            len(inner) > _LONG_LIST or any(isinstance(one, dict) for one in inner)
        ):
            yield name, f"{len(inner)} entries, in run.json"
        elif isinstance(inner, list):
            yield name, ", ".join(_plain(one) for one in inner)
        elif inner not in (None, ""):
            yield name, _plain(inner)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LONG_LIST
    return ", ".join(names[:_LONG_LIST]) + (f" and {more} more" if more > 0 else "")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
