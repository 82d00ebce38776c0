"""``slimgate compare``: two runs beside each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from slimgate.gate.comparison import Comparison
    from slimgate.gate.history import Entry

_EPILOG = """\
examples:
  slimgate compare runs/codes-before runs/codes-after             every case and metric
  slimgate compare 20260101T120000Z 20260102 --changed            runs of the history, by id; only what differs
  slimgate compare runs/a runs/b -k int8 --metric map50_95        a part
  slimgate compare runs/a runs/b --fail-on-worse                  exit code 1 when something is worse

A latency ratio is better or worse when the two intervals do not touch; sizes are exact; an accuracy without an
interval counts from 0.002 on. Times in milliseconds are shown and never judged. Numbers of another device, dataset or
protocol are not compared.

Comparing judges nothing: the exit code is 0, unless --fail-on-worse asks for 1.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="two runs beside each other, and what is more than noise",
        description="Compare every metric of every case of two runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, which in (("run_a", "the first run"), ("run_b", "the second run")):
        parser.add_argument(
            name, metavar=name.upper(), help=f"{which}: a run directory, or the id of a run of the history"
        )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="DIR",
        help="folder that ids are looked up in (default: SLIMGATE_HISTORY, else .slimgate/history here or above)",
    )
    parser.add_argument(
        "-k", dest="expression", default="", metavar="EXPR", help="only these cases, as in pytest"
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--changed", action="store_true", help="leave out what is the same or within noise, and times"
    )
    parser.add_argument("--fail-on-worse", action="store_true", help="exit code 1 when something is worse")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the comparison and return 0; 1 when something is worse and ``--fail-on-worse`` is given."""
    from slimgate.cli.console import make_console
    from slimgate.gate.comparison import Outcome, compare_measurements
    from slimgate.measure import metric_for
    from slimgate.report.comparison import print_comparison
    from slimgate.study.select import select_cases

    for metric in args.metric:
        metric_for(metric)
    console = make_console()
    first, second = (_find_run(name, args.history, console) for name in (args.run_a, args.run_b))
    compared: Sequence[Comparison] = compare_measurements(first.measurements, second.measurements)
    cases = (
        set(select_cases(dict.fromkeys(one.case for one in compared), args.expression)) if compared else set()
    )
    compared = [
        one for one in compared if one.case in cases and (not args.metric or one.metric in args.metric)
    ]
    if not any(one.first is not None and one.second is not None for one in compared):
        raise InputError(
            f"{args.run_a} and {args.run_b}",
            found=f"have no case and metric in common (studies '{first.study}' and '{second.study}')",
            expected="two runs that measured the same case",
            action="compare runs of one study, and check -k and --metric",
        )
    print_comparison(first, second, compared, console, changed=args.changed)
    worse = any(one.outcome is Outcome.WORSE for one in compared)
    return 1 if worse and args.fail_on_worse else 0


def _find_run(name: str, folder: Path | None, console: Console) -> Entry:
    from slimgate.gate import load_run
    from slimgate.gate.history import History, Loaded, entry_from_run
    from slimgate.study.spec import history_folder

    if Path(name).is_dir():
        return entry_from_run(load_run(Path(name)))
    place = history_folder(given=folder)
    there = place is not None and (folder is not None or place.is_dir())
    loaded = History(place).load() if place is not None and there else Loaded(entries=(), complaints=())
    for text in loaded.complaints:
        console.print(text, style="yellow", markup=False, soft_wrap=True)
    return loaded.find(name)
