"""``slimgate causes``: why runs are red, each cause once, for an issue tracker."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.gate.causes import Cause

_EPILOG = """\
examples:
  slimgate causes runs/nightly                          for people
  slimgate causes runs/a runs/b --format json           for a script that opens issues
  slimgate causes runs/nightly --junit runs/junit.xml --red-job accuracy
                                                        everything that made the job 'accuracy' red
  slimgate causes --drift --study codes                 what drifted since the pinned baseline

A cause keeps its fingerprint from night to night: numbers, hashes and folders do not enter it. What cannot be
judged (INVALID) is one cause per reason, however many cases it hits; what does not hold is one per case and kind of
floor. A RUN_DIR that is not there is a cause as well: the job ended before anything was judged.

So are, beside the verdicts: a session in which too few cases ran or that judged nothing; with --junit each failed test
that no verdict speaks for, and each reason for which --require turned a gap red; with --drift each lasting change for
the worse since the baseline in golden/baseline.toml (none is pinned: nothing to compare with, and no cause).

JSON: {"format": "slimgate-causes/1", "causes": [{"fingerprint", "title", "cases", "body"}]}. The body is Markdown
and holds the line <!-- slimgate-cause: FINGERPRINT -->, by which a script finds the issue again.

Listing judges nothing: the exit code is 0, also when there are causes.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "causes",
        help="why runs are red, each cause once: for an issue tracker",
        description="List why runs are red, with fingerprints that last.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dirs", nargs="*", type=Path, metavar="RUN_DIR", help="run directories")
    parser.add_argument(
        "--format", choices=("markdown", "json"), default="markdown", help="default: %(default)s"
    )
    parser.add_argument("--strict-floors", action="store_true", help="a STALE verdict is red as well")
    parser.add_argument(
        "--junit",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="JUnit XML of the session that judged the runs; one that is not there is a cause; may be repeated",
    )
    parser.add_argument(
        "--red-job",
        action="append",
        default=[],
        metavar="NAME",
        help="a job that was red: a cause of its own when nothing else explains it; may be repeated",
    )
    drift = parser.add_argument_group("drift")
    drift.add_argument(
        "--drift", action="store_true", help="lasting changes for the worse in the history are causes"
    )
    drift.add_argument(
        "--history", type=Path, metavar="DIR", help="its folder (default: as of 'slimgate history')"
    )
    drift.add_argument("--study", default="", metavar="ID", help="only runs of this study")
    drift.add_argument(
        "--golden", type=Path, metavar="DIR", help="folder with baseline.toml (default: the study's golden/)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the causes and return 0.

    Raises:
        InputError: a run directory, a JUnit XML, the history or the baseline is damaged.
    """
    from slimgate.gate.causes import cause_of_red_job, causes_to_json

    causes = [*_causes_of_sessions(args), *(_causes_of_drift(args) if args.drift else ())]
    if not causes:
        causes = [cause_of_red_job(name) for name in args.red_job]
    if args.format == "json":
        sys.stdout.write(json.dumps(causes_to_json(causes), indent=1) + "\n")
        return 0
    by_fingerprint = {cause.fingerprint: cause for cause in causes}
    for cause in by_fingerprint.values():
        sys.stdout.write(f"## {cause.title}\n\n{cause.to_markdown()}\n")
    if not causes:
        sys.stdout.write("Nothing is red.\n")
    return 0


def _causes_of_sessions(args: argparse.Namespace) -> list[Cause]:
    """Return the causes in run directories and in what their sessions left."""
    from slimgate.gate import load_run
    from slimgate.gate.causes import (
        cause_of_complaint,
        cause_of_missing_file,
        cause_of_missing_run,
        causes_of_run,
    )
    from slimgate.gate.junit import causes_of_tests, read_failed_tests
    from slimgate.gate.session import read_complaints

    causes, heads = [], set()
    for directory in args.run_dirs:
        if not directory.exists():
            causes.append(cause_of_missing_run(directory))
            continue
        files = load_run(directory)
        causes += causes_of_run(files, strict_floors=args.strict_floors)
        causes += [cause_of_complaint(directory.name, text) for text in read_complaints(directory)]
        heads |= {verdict.message.partition("\n")[0] for verdict in files.judgement.verdicts}
    for path in args.junit:
        if path.exists():
            causes += causes_of_tests(
                read_failed_tests(path), lane=path.stem.removeprefix("junit-"), heads=heads
            )
        else:
            causes.append(cause_of_missing_file(path))
    return causes


def _causes_of_drift(args: argparse.Namespace) -> list[Cause]:
    """Return a cause for each lasting change for the worse, on every machine that has a baseline."""
    from slimgate.gate.causes import cause_of_drift
    from slimgate.gate.history import History, find_drifts, load_baselines, resolve_baseline
    from slimgate.report.history import describe_drift
    from slimgate.study.project import find_golden
    from slimgate.study.spec import history_folder

    folder = history_folder(given=args.history)
    # A first night that broke has left no history: nothing is in it that could have drifted.
    entries = History(folder).load().entries if folder and folder.is_dir() else ()
    causes = []
    newest = {entry.study: entry for entry in entries if args.study in ("", entry.study)}
    for study, last in newest.items():
        golden = args.golden or find_golden(last.raw.get("project"), study, (folder or Path(), Path()))
        for pinned in load_baselines(golden or Path("golden")):
            group = [one for one in entries if (one.study, one.device) == (study, pinned.device)]
            if pinned.study != study or not group:
                continue
            report = find_drifts(group, resolve_baseline(pinned, group), smallest=pinned.smallest)
            causes += [
                cause_of_drift(drift.case, drift.metric, describe_drift(drift))
                for drift in report.drifts
                if drift.worse
            ]
    return causes
