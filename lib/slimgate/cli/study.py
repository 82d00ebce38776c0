"""``slimgate study``: compress, export, measure, judge and report."""

from __future__ import annotations

import argparse
import datetime
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.errors import UnavailableError
    from slimgate.study import Study

_EPILOG = """\
examples:
  slimgate study                              the built-in study
  slimgate study my-study.toml --out runs/a   your own
  slimgate study -k "int8 and not openvino"   a part of it; a part is never complete evidence
  slimgate study --list                       the case ids

Every run is added to a history, a part or a red one marked as such: 'slimgate history' shows it.

A study that was stopped starts again where it was: finished artifacts are kept in the store
(SLIMGATE_CACHE, else the user's cache folder) under the sha256 of everything that went in.

Weights or images that are neither here nor to be fetched leave every case "not proven". A run in which nothing
could be proven is red: it ends with exit code 1.

Without floors in golden/, every verdict is INVALID and says what to do: look at the report, then
  slimgate accept RUN_DIR                     writes records, prints floors to paste into golden/floors/
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "study",
        help="compress, export, measure, judge and report: the main job",
        description="Run a study: compress a detector, export it, measure every variant, judge it, report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "study",
        nargs="?",
        default="codes",
        metavar="STUDY",
        help="TOML file or built-in name (default: codes)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory to make (default: runs/STUDY-TIME)"
    )
    parser.add_argument(
        "-k", dest="expression", default="", metavar="EXPR", help="cases to run, as in pytest"
    )
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="DIR",
        help="floors and records (default: golden/ of the study's project)",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="DIR",
        help="history that the run is added to (default: SLIMGATE_HISTORY, else .slimgate/history of the project)",
    )
    parser.add_argument("--no-history", action="store_true", help="add the run to no history")
    parser.add_argument(
        "--strict-floors", action="store_true", help="a floor that is too low for what was measured is red"
    )
    parser.add_argument("--list", action="store_true", help="list the case ids and stop")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the study; 0 when every verdict is green, 1 when one is red."""
    from slimgate.cli.console import make_console
    from slimgate.errors import UnavailableError
    from slimgate.study import load_study
    from slimgate.study.select import select_cases
    from slimgate.study.spec import golden_folder, history_folder

    study = load_study(args.study)
    console = make_console()
    if args.list:
        for case in select_cases(study.cases, args.expression):
            console.print(str(case), soft_wrap=True, markup=False)
        return 0
    now = datetime.datetime.now(datetime.UTC)
    out = args.out or Path("runs") / f"{study.id}-{now:%Y%m%d-%H%M%S}"

    from slimgate.report import render_terminal
    from slimgate.study import run_study

    cases = len(select_cases(study.cases, args.expression))
    console.print(f"[bold]{study.title}[/bold]  ({cases} cases)")
    try:
        with _bars(console) as progress:
            finished = run_study(
                study,
                out,
                golden=args.golden or golden_folder(study),
                expression=args.expression,
                strict_floors=args.strict_floors,
                progress=progress,
            )
    except UnavailableError as error:
        return _say_not_proven(study, cases, error)
    render_terminal(finished.directory, console)
    console.print(f"report: {finished.report}", soft_wrap=True, markup=False)
    history = None if args.no_history else history_folder(study, args.history)
    if history is not None:
        add_to_history(finished.directory, history)
        console.print(f"history: {history}", soft_wrap=True, markup=False)
    return 1 if finished.judgement.is_red(strict_floors=args.strict_floors) else 0


def _say_not_proven(study: Study, cases: int, error: UnavailableError) -> int:
    """Say that no case could run, and why; 1, since a night in which nothing ran is red."""
    sys.stderr.write(
        f"slimgate: nothing was judged: {cases} of {cases} cases of '{study.id}' are not proven\n"
        f"{textwrap.indent(str(error), '  ')}\n"
    )
    return 1


def add_to_history(run_dir: Path, folder: Path) -> None:
    """Add a finished run to a history.

    Raises:
        InputError: the folder cannot be written to; the run itself is whole.
    """
    from slimgate.errors import InputError
    from slimgate.gate import load_run
    from slimgate.gate.history import History

    try:
        History(folder).append(load_run(run_dir))
    except InputError as error:
        raise InputError(
            error.subject,
            found=f"{error.found}; the run is whole in {run_dir}, and in no history",
            expected=error.expected,
            action=f"{error.action}; then 'slimgate history --add {run_dir}'",
        ) from None


@contextmanager
def _bars(console: object) -> Iterator[Callable[[str, int, int, str], None]]:
    """Show one progress bar per stage."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    assert isinstance(console, Console)
    columns = (
        TextColumn("{task.description:<19}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def update(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(tasks[stage], completed=done, total=total, note=note)

        yield update
