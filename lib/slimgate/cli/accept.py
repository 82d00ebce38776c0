"""``slimgate accept``: a run becomes evidence; floors are printed for a person to paste."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.errors import InputError, UsageError, name_offenders

if TYPE_CHECKING:
    from slimgate.flow import Measurement
    from slimgate.gate import RunFiles

_EPILOG = """\
accept writes records (evidence, golden/records) and prints floors (policy): read them, paste the ones you
stand behind into golden/floors, and say why in each reason. No program writes floors.

A run is never judged by what was accepted from it: commit the records, then run the study again.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "accept",
        help="write a run's records and print the floors to paste",
        description="Make a finished run the evidence behind floors, and print the floors to paste.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a finished, complete run")
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="DIR",
        help="the folder of floors and records (default: the study's golden/)",
    )
    parser.add_argument(
        "--reason", default="", help="why numbers that fail a floor are accepted; asked for only then"
    )
    parser.add_argument(
        "--allow-dirty",
        action="store_true",
        help="accept a run of uncommitted code; the records say so for ever",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the records of a run, print the floors to paste, and return 0."""
    from slimgate.flow import Status
    from slimgate.gate import Acceptance, is_timed, load_floors, load_run, write_records

    files = load_run(args.run_dir)
    refuse_partial(files)
    refuse_dirty(files, allowed=args.allow_dirty)
    refuse_unusable(files)
    short = (Status.FAIL, Status.INCONCLUSIVE)
    loosened = [verdict for verdict in files.judgement.verdicts if verdict.status in short]
    if loosened and not args.reason.strip():
        failing = name_offenders(f"{verdict.case} {verdict.metric}" for verdict in loosened)
        raise UsageError(
            str(args.run_dir),
            found=f"does not hold its floors: {failing}",
            expected="a run that holds its floors, or a reason why they may be lower",
            action="mend the model, or say why with --reason",
        )
    golden = args.golden or default_golden(str(files.run["study"]["id"]))
    floors = load_floors(
        golden, files.run["study"]["id"], device={measurement.device for measurement in files.measurements}
    )
    required = files.run["study"].get("required", ())
    timed = [one for one in files.measurements if one.metric.startswith("latency_ratio")]
    wanted = [
        one
        for one in files.measurements
        if one.metric in required and not floors.for_metric(one.case, one.metric)
    ]
    wanted += [one for one in timed if one not in wanted and not floors.for_metric(one.case, one.metric)]
    stale = {(one.case, one.metric) for one in files.judgement.verdicts if one.status is Status.STALE}
    git = files.run.get("git", {})
    accepted = Acceptance(
        run_id=files.run["run_id"],
        started=files.run["started"],
        git_commit=git.get("commit"),
        dirty=bool(git.get("dirty", True)),
        reason=args.reason,
    )
    paths = write_records(files.measurements, accepted, golden)
    print_floors(files, golden, "new floors", wanted)
    tightened = [one for one in files.measurements if (one.case, one.metric) in stale]
    print_floors(files, golden, "tighter floors: these were beaten by more than their slack", tightened)
    lowered = {(verdict.case, verdict.metric) for verdict in loosened}
    looser = [one for one in files.measurements if (one.case, one.metric) in lowered]
    print_floors(files, golden, f"LOOSER floors: {args.reason}", looser)
    devices = sorted({one.device for one in files.measurements if is_timed(one.metric)})
    _say(
        f"# {len(paths)} records written below {golden / 'records'} (times: {', '.join(devices) or 'none'})."
    )
    _say(
        "# Paste the floors you stand behind, commit, then run the study again: this run is never its own judge."
    )
    return 0


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
        found="ran in a tree with uncommitted changes"
        if git.get("commit")
        else "ran outside a git repository",
        expected="a clean commit that the records can name",
        action="commit and run the study again, or accept it as it is with --allow-dirty",
    )


def refuse_unusable(files: RunFiles) -> None:
    """Refuse a run with a measurement that cannot be judged, or with a case that failed.

    Raises:
        InputError: names the cases and why.
    """
    from slimgate.flow import Status
    from slimgate.gate import WHOLE_CASE, find_causes

    causes = [
        f"{one.case} {one.metric} ({cause})" for one in files.measurements for cause in find_causes(one)[:1]
    ]
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


def print_floors(files: RunFiles, golden: Path, title: str, measurements: Sequence[Measurement]) -> None:
    """Print floors to paste, under the name of the file that they belong into."""
    from slimgate.gate import propose_floors
    from slimgate.gate.floors import ANY_DEVICE, floors_file_name
    from slimgate.gate.kinds import is_timed
    from slimgate.gate.propose import propose_header

    study = files.run["study"]["id"]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    devices = sorted({one.device if is_timed(one.metric) else ANY_DEVICE for one in measurements})
    for device in devices:
        here = [one for one in measurements if (one.device if is_timed(one.metric) else ANY_DEVICE) == device]
        path = golden / "floors" / floors_file_name(study, device)
        _say(f"# ---- {path}: {title}")
        if not path.is_file():
            _say(propose_header(study, None if device == ANY_DEVICE else device))
        _say(propose_floors(here, today=today))


def default_golden(study_id: str) -> Path:
    """Return the ``golden`` folder of a study that is known by its id alone: a built-in one's, else the current one."""
    from slimgate.study import load_study
    from slimgate.study.spec import golden_folder

    try:
        return golden_folder(load_study(study_id))
    except InputError:
        return Path("golden")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
