"""Runs that are no evidence whatever the golden files say: partial, uncommitted, broken, or of another device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Status
from slimgate.gate.floors import ANY_DEVICE, Floors, floors_file_name
from slimgate.gate.judge import find_causes
from slimgate.gate.kinds import WHOLE_CASE, is_timed
from slimgate.gate.serialise import RunFiles


def refuse_partial(files: RunFiles) -> None:
    """Refuse a run that is only a part of its study.

    Raises:
        UsageError: it was run with ``-k``, or without times.
    """
    if files.run.get("complete"):
        return
    filtered = files.run.get("filter")
    raise UsageError(
        str(files.directory),
        found=f"is a partial run (-k '{filtered}')" if filtered else "is an incomplete run",
        expected="a run of every case, times included",
        action="run the whole study, without -k, and accept that",
    )


def refuse_dirty(files: RunFiles, *, allowed: bool) -> None:
    """Refuse a run of code that no commit holds.

    Raises:
        UsageError: the tree had changes, or is in no git repository.
    """
    git = files.run.get("git", {})
    if allowed or (git.get("commit") and git.get("dirty") is False):
        return
    raise UsageError(
        str(files.directory),
        found=f"ran in a tree with uncommitted changes{_name_changes(git)}"
        if git.get("commit")
        else "ran outside a git repository",
        expected="a clean commit that the records can name",
        action="commit and run the study again, or accept it as it is with --allow-dirty",
    )


def _name_changes(git: Mapping[str, Any]) -> str:
    return f": {name_offenders(git['changes'])}" if git.get("changes") else ""


def refuse_unusable(files: RunFiles) -> None:
    """Refuse a run with a measurement that cannot be judged, or with a case that failed.

    Raises:
        InputError: names the cases and why.
    """
    causes = [
        f"{one.case} {one.metric} ({cause})" for one in files.measurements for cause in find_causes(one)[:1]
    ]
    counted = Counter((one.case, one.metric) for one in files.measurements)
    causes += [f"{case} {metric} (measured twice)" for (case, metric), count in counted.items() if count > 1]
    causes += [
        f"{verdict.case} (failed)"
        for verdict in files.judgement.verdicts
        if verdict.metric == WHOLE_CASE and verdict.status is Status.INVALID
    ]
    if causes or not files.measurements:
        raise InputError(
            str(files.directory),
            found=f"cannot be evidence: {name_offenders(causes) or 'nothing was measured'}",
            expected="every case measured, every measurement valid",
            action="mend the cause and run the study again",
        )


def refuse_strange_devices(files: RunFiles, golden: Path, floors: Floors) -> None:
    """Refuse times that are not of the devices of the run's machine, or whose floors file is another device's.

    Raises:
        InputError: names the device and what it would be taken for.
    """
    environment = files.run.get("environment", {})
    gpu = environment.get("gpu")
    own = {str(files.run.get("device")), *([f"gpu:{gpu}"] if gpu else [])}
    strange = sorted({one.device for one in files.measurements if is_timed(one.metric)} - own)
    if strange:
        raise InputError(
            str(files.directory),
            found=f"has times of {name_offenders(strange)}",
            expected=f"times of the machine that it ran on: {name_offenders(sorted(own))}",
            action="run the study on the device that the floors are for, and accept that run",
        )
    study = str(files.run["study"]["id"])
    for device in sorted({one.device for one in files.measurements} - {ANY_DEVICE}):
        path = golden / "floors" / floors_file_name(study, device)
        if path.is_file() and device not in floors.devices:
            raise InputError(
                f"{golden.name}/floors/{path.name}",
                found=f"is of another device than '{device}', and has the name that its file would have",
                expected="one device for one file name",
                action="rename one of the two devices' files by hand, and tell the device apart in its key",
            )
