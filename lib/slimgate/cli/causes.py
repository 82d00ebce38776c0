"""``slimgate causes``: why runs are red, each cause once, for an issue tracker."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

_EPILOG = """\
examples:
  slimgate causes runs/nightly                          for people
  slimgate causes runs/a runs/b --format json           for a script that opens issues

A cause keeps its fingerprint from night to night: numbers, hashes and folders do not enter it. What cannot be
judged (INVALID) is one cause per reason, however many cases it hits; what does not hold is one per case and kind of
floor. A RUN_DIR that is not there is a cause as well: the job ended before anything was judged.

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
        "--red-job",
        action="append",
        default=[],
        metavar="NAME",
        help="a job that was red: a cause of its own when no run explains it; may be repeated",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the causes and return 0.

    Raises:
        InputError: a run directory is damaged.
    """
    from slimgate.gate import load_run
    from slimgate.gate.causes import cause_of_missing_run, cause_of_red_job, causes_of_run, causes_to_json

    causes = []
    for directory in args.run_dirs:
        if not directory.exists():
            causes.append(cause_of_missing_run(directory))
        else:
            causes += causes_of_run(load_run(directory), strict_floors=args.strict_floors)
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
