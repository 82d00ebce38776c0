"""``slimgate history``: runs over time, what drifted in them, and where they are kept."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.cli.history_storage import add_runs, merge_folders, repair, sync_with_branch, warn
from slimgate.errors import InputError, UsageError, name_offenders

if TYPE_CHECKING:
    from rich.console import Console

    from slimgate.gate.history import Baseline, Entry, History

_EPILOG = """\
examples:
  slimgate history                                    the runs, newest last
  slimgate history codes/int8@onnxruntime             every metric of a case over the runs
  slimgate history int8 --metric map50_95             one metric, run by run, and what changed between runs
  slimgate history int8 --plot int8.png               as a picture (PNG, SVG or PDF)
  slimgate history --drift                            what changed slowly since the baseline in golden/baseline.toml

keeping it:
  slimgate history --add runs/codes-20260101-120000   add a run (again: it is kept once)
  slimgate history --merge downloaded/history         unite with another folder, such as a CI artifact
  slimgate history --sync slimgate-history --remote origin
                                                      unite with an orphan branch, both ways
  slimgate history --repair                           set lines aside that cannot be read

A red run is in the history and marked; it never becomes a baseline. docs/history.md says more.

exit codes: 0 shown, 1 --drift found a drift for the worse, 2 bad use or bad input
"""
_CHOSEN = ("map50_95", "recall", "latency_ratio_b1", "latency_ratio_b32", "size_bytes")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "history",
        help="runs over time: list, plot, find slow drift, merge",
        description="Show what earlier runs measured, and find what drifted since a pinned baseline.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "case",
        nargs="?",
        default="",
        metavar="CASE",
        help="a case id, or an expression as of -k; without: the runs",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="DIR",
        help="folder of the history (default: SLIMGATE_HISTORY, else .slimgate/history here or above)",
    )
    parser.add_argument("--study", default="", metavar="ID", help="only runs of this study")
    parser.add_argument(
        "--device", default="", metavar="TEXT", help="only machines whose name holds this text"
    )
    parser.add_argument(
        "--last", type=int, metavar="N", help="only the last N runs of each study and machine"
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="this metric, run by run; may be repeated",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the metrics of CASE into a PNG, SVG or PDF"
    )
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="DIR",
        help="folder with baseline.toml (default: golden/ of the project that the runs were made in)",
    )
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument(
        "--drift",
        action="store_true",
        help="find lasting changes since the pinned baseline; red when for the worse",
    )
    jobs.add_argument("--add", type=Path, nargs="+", metavar="RUN_DIR", help="add finished runs")
    jobs.add_argument("--merge", type=Path, nargs="+", metavar="DIR", help="add every run of other histories")
    jobs.add_argument("--sync", metavar="BRANCH", help="unite with a git branch of its own, both ways")
    jobs.add_argument("--repair", action="store_true", help="set aside the lines that cannot be read")
    parser.add_argument("--remote", default="", metavar="NAME", help="with --sync: fetch from and push to it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one of the jobs and return 0; 1 when a drift for the worse was found."""
    from slimgate.cli.console import make_console
    from slimgate.gate.history import History
    from slimgate.study.spec import history_folder

    _check_options(args)
    folder = history_folder(given=args.history)
    if folder is None:
        raise UsageError(
            "SLIMGATE_HISTORY",
            found="is 'off': no history is kept",
            expected="the folder of a history",
            action="name one with --history, or unset the variable",
        )
    history, console = History(folder), make_console()
    if args.add:
        return add_runs(args.add, history, console)
    if args.merge:
        return merge_folders(args.merge, history, console)
    if args.sync:
        return sync_with_branch(history, args.sync, args.remote, console)
    if args.repair:
        return repair(history, console)
    entries = _load(args, history, console)
    return _find_drift(args, entries, console) if args.drift else _show(args, entries, console)


def _check_options(args: argparse.Namespace) -> None:
    if args.remote and not args.sync:
        raise UsageError(
            "--remote", found="without --sync", expected="both", action="name the branch with --sync BRANCH"
        )
    if args.last is not None and args.last < 1:
        raise UsageError(
            "--last", found=f"is {args.last}", expected="a number of runs, 1 or more", action="correct it"
        )
    if (args.plot or args.metric) and not args.case:
        raise UsageError(
            "--plot" if args.plot else "--metric",
            found="without a case",
            expected="the case, or cases, to show",
            action="name it: slimgate history CASE",
        )
    from slimgate.measure import metric_for

    for metric in args.metric:
        metric_for(metric)


def _load(args: argparse.Namespace, history: History, console: Console) -> list[Entry]:
    loaded = history.load()
    warn(loaded.complaints, console)
    entries = [
        entry
        for entry in loaded.entries
        if args.study in ("", entry.study) and args.device.lower() in entry.device.lower()
    ]
    if entries:
        return entries
    known = sorted({f"{entry.study} on {entry.device}" for entry in loaded.entries})
    asked = [f"study '{args.study}'"] * bool(args.study) + [f"device '{args.device}'"] * bool(args.device)
    raise InputError(
        str(history.folder),
        found=f"holds no run{' of ' + ' on '.join(asked) if asked else ''}",
        expected=f"one of {name_offenders(known)}" if known else "runs that 'slimgate study' added",
        action="correct --study or --device"
        if known
        else "run 'slimgate study', or add one with --add RUN_DIR",
    )


def _show(args: argparse.Namespace, entries: Sequence[Entry], console: Console) -> int:
    from slimgate.report.history import print_case, print_metric, print_runs

    pinned = [one.run for group in _groups(entries) for one in _baselines(args, group[-1])]
    shown = [entry for group in _groups(entries) for entry in group[-(args.last or len(group)) :]]
    if not args.case:
        print_runs(shown, pinned, console)
        return 0
    cases, whole = _select(args, entries)
    group = whole[-(args.last or len(whole)) :]
    every = dict.fromkeys(one.metric for entry in group for one in entry.measurements)
    few = [metric for metric in _CHOSEN if metric in every]
    for case in cases:
        for metric in args.metric:
            print_metric(case, metric, group, console)
        if not args.metric:
            print_case(case, list(every) if len(cases) == 1 else few, group, pinned, console)
    if args.plot:
        path = _plot(args, cases, args.metric or few, whole)
        console.print(f"plot: {path}", soft_wrap=True, markup=False)
    return 0


def _select(args: argparse.Namespace, entries: Sequence[Entry]) -> tuple[list[str], list[Entry]]:
    """Return the cases that were asked for, and the runs of the machine that ran one of them last."""
    from slimgate.flow import Case
    from slimgate.study.select import select_cases

    known = dict.fromkeys(case for entry in entries for case in entry.case_ids)
    chosen = [str(case) for case in select_cases([Case.parse(case) for case in known], args.case)]
    if args.case in known:
        chosen = [args.case]
    newest = next(entry for entry in reversed(entries) if set(chosen) & set(entry.case_ids))
    group = next(group for group in _groups(entries) if newest in group)
    return [case for case in chosen if any(case in entry.case_ids for entry in group)], group


def _plot(
    args: argparse.Namespace, cases: Sequence[str], metrics: Sequence[str], group: Sequence[Entry]
) -> Path:
    """Draw the last runs; what drifted goes by all of them."""
    from slimgate.gate.history import find_drifts, resolve_baseline
    from slimgate.report.charts.runs import plot_runs

    here = (group[0].study, group[0].device)
    pinned = [one for one in _baselines(args, group[-1]) if (one.study, one.device) == here]
    baseline = resolve_baseline(pinned[0], group) if pinned and _has(group, pinned[0].run) else None
    drifts = find_drifts(group, baseline, smallest=pinned[0].smallest).drifts if baseline else ()
    shown = group[-(args.last or len(group)) :]
    return plot_runs(shown, cases, metrics, args.plot, baseline=baseline, drifts=drifts)


def _find_drift(args: argparse.Namespace, entries: Sequence[Entry], console: Console) -> int:
    from slimgate.gate.history import find_drifts, propose_baseline, resolve_baseline
    from slimgate.report.history import print_drift

    unpinned, worse, judged = [], False, False
    for group in _groups(entries):
        study, device = group[0].study, group[0].device
        pinned = next(
            (one for one in _baselines(args, group[-1]) if (one.study, one.device) == (study, device)), None
        )
        if pinned is None:
            unpinned.append((study, device))
            continue
        report = find_drifts(group, resolve_baseline(pinned, group), smallest=pinned.smallest)
        print_drift(report, pinned, console)
        judged = True
        worse = worse or any(drift.worse for drift in report.drifts)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    proposals = [propose_baseline(entries, study, device, today=today) for study, device in unpinned]
    named = name_offenders(f"{study} on {device}" for study, device in unpinned)
    if not judged:
        text = next((text for text in proposals if text), "")
        raise InputError(
            str(_golden(args, entries[-1]) / "baseline.toml"),
            found=f"pins no baseline for {named}",
            expected="a run that somebody stands behind, with a reason and a date",
            action=f'choose one, and write:\nformat = "slimgate-baseline/1"\n{text}'
            if text
            else "run the whole study from a clean commit until it is green, then pin that run",
        )
    if unpinned:
        console.print(
            f"not judged, no baseline is pinned: {named}", style="yellow", markup=False, soft_wrap=True
        )
    return 1 if worse else 0


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.study, entry.device), []).append(entry)
    return list(groups.values())


def _has(entries: Sequence[Entry], run_id: str) -> bool:
    return any(entry.run_id == run_id for entry in entries)


def _baselines(args: argparse.Namespace, entry: Entry) -> tuple[Baseline, ...]:
    from slimgate.gate.history import load_baselines

    return load_baselines(_golden(args, entry))


def _golden(args: argparse.Namespace, entry: Entry) -> Path:
    """Return the folder of ``baseline.toml``: that of the project that the run was made in, as far as it is here."""
    from slimgate.study.project import find_golden
    from slimgate.study.spec import history_folder

    if args.golden is not None:
        return Path(args.golden)
    folder = history_folder(given=args.history) or Path()
    return find_golden(entry.raw.get("project"), entry.study, (folder, Path())) or Path("golden")
