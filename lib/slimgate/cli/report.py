"""``slimgate report``: the report of a run, rendered again from its records."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """\
examples:
  slimgate report runs/codes-20260101-120000          write report.html and report.md again, print the table
  slimgate report runs/codes-20260101-120000 --open   and show the page in the browser

  slimgate report runs/codes-20260101-120000 --into README.md   fill the document's blocks from the records

--into fills what stands between <!-- slimgate:KIND STUDY --> and <!-- /slimgate -->; KIND is headline, table, peers
(INT8 beside other tools) or picture (saved below docs/ beside the document).

Needs no model, no dataset and no GPU: everything is in the run directory. The same run gives the same bytes.

Rendering judges nothing: the exit code is 0 when the report was written, also when its verdict is red.
'slimgate study' is the command that fails when a gate fails.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "report",
        help="render the report of a run again, from its records",
        description="Write report.html and report.md of a run again, and print its table.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run_dir", type=Path, metavar="RUN_DIR", help="a directory that 'slimgate study' wrote"
    )
    parser.add_argument(
        "--into", type=Path, metavar="DOCUMENT", help="also fill this Markdown document's blocks of the study"
    )
    parser.add_argument("--open", action="store_true", help="show the page in the default browser")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write both reports, print the table, and return 0."""
    from slimgate.cli.console import make_console
    from slimgate.report import render_terminal, write_report

    page = write_report(args.run_dir)
    console = make_console()
    render_terminal(args.run_dir, console)
    console.print(f"report: {page}", soft_wrap=True, markup=False)
    if args.into:
        from slimgate.report.showcase import update_document

        kinds = update_document(args.into, args.run_dir)
        console.print(f"{args.into}: filled {', '.join(kinds)}", soft_wrap=True, markup=False)
    if args.open:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            console.print("no browser to be found: open that file yourself", style="yellow")
    return 0
