"""``slimgate accept``: a run becomes evidence; floors are printed for a person to paste."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slimgate.flow import Case
    from slimgate.gate import Examined, RunFiles

_EPILOG = """\
accept writes records (evidence, golden/records) and prints floors (policy): read them, paste the ones you
stand behind into golden/floors, and say why in each reason. No program writes floors.

examples:
  slimgate accept runs/codes-20260101-120000                 a first run, or one that holds its floors
  slimgate accept RUN_DIR --reason "new weights: 12 epochs"  one of other weights, or below a floor
  slimgate accept RUN_DIR > floors.txt                       floors into a file, everything else on the terminal

Looser, tighter and new floors are printed apart, each with the line that it takes the place of, both values
and the difference. What still holds is not printed. A run is refused, and nothing is written, when it is
partial, of uncommitted code, of another device than the records it would replace, when a verdict is INVALID
for another reason than missing or differing evidence, and when --reason is needed and missing.

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
        help="the folder of floors and records (default: that of the project that the run was made in)",
    )
    parser.add_argument(
        "--reason",
        default="",
        help="why numbers below a floor, or other weights, data or settings, are accepted; asked for only then",
    )
    parser.add_argument(
        "--allow-dirty",
        action="store_true",
        help="accept a run of uncommitted code; the records say so for ever",
    )
    parser.add_argument(
        "--another-device",
        action="store_true",
        help="replace records of accuracy and size that another machine made",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the records of a run, print the floors to paste, and return 0."""
    from slimgate.gate import Acceptance, examine_run, find_untidy, load_run, write_records
    from slimgate.gate.proposal import list_proposals
    from slimgate.gate.weigh import Way, weigh
    from slimgate.study.project import require_golden

    files = load_run(args.run_dir)
    study = str(files.run["study"]["id"])
    golden = (args.golden or require_golden(files.run, args.run_dir)).resolve()
    examined = examine_run(
        files,
        golden,
        today=datetime.datetime.now(datetime.UTC).date(),
        reason=args.reason,
        dirty=args.allow_dirty,
        moved=args.another_device,
    )
    weighed = weigh(files.measurements, examined.scale)
    # Made before anything is written: a floors file that cannot be read stops all of it.
    proposals = list_proposals(weighed, examined.scale, golden, study)
    git = files.run.get("git", {})
    accepted = Acceptance(
        run_id=files.run["run_id"],
        started=files.run["started"],
        git_commit=git.get("commit"),
        dirty=bool(git.get("dirty", True)),
        reason=args.reason,
    )
    paths = write_records(examined.measurements, accepted, golden)
    for text in proposals:
        sys.stdout.write(f"{text}\n")
    counts = Counter(one.way for one in weighed)
    counted = ", ".join(f"{counts[way]} {way}" for way in Way if counts[way] and way is not Way.STANDS)
    _tell(f"floors: {counted or 'none to change'}; {counts[Way.STANDS]} stand as they are")
    _tell_records(paths, golden, examined)
    untidy = find_untidy(golden, study, examined.judgement, cases=_cases_of(files), studies=())
    for finding in (*examined.judgement.findings, *untidy):
        _tell(str(finding))
    _tell(
        f"next: paste the floors that you stand behind, commit them with {golden.name}/records, and run the "
        "study again: this run is never its own judge"
    )
    return 0


def _tell_records(paths: Sequence[Path], golden: Path, examined: Examined) -> None:
    for text, count in examined.differences.items():
        _tell(f"accepted as another thing than its records: {text} ({count} cases)")
    folders = Counter(path.parent.relative_to(golden.parent).as_posix() for path in paths)
    written = ", ".join(f"{count} in {folder}" for folder, count in sorted(folders.items()))
    _tell(f"records: {len(paths)} written: {written or 'none'}")
    if examined.kept:
        _tell(
            f"records: {len(examined.kept)} of accuracy and size kept as another machine measured them; "
            "--another-device replaces them"
        )
    for verdict in examined.judgement.waived:
        _tell(f"waived, so its floor stands: {verdict.case} {verdict.metric} {verdict.waived}")


def _cases_of(files: RunFiles) -> list[Case] | None:
    from slimgate.flow import Case

    return [Case.parse(case) for case in files.run["cases"]] if "cases" in files.run else None


def _tell(text: str) -> None:
    """Say something that is not to be pasted."""
    sys.stderr.write(f"{text}\n")
