"""The report of a run: a page, a Markdown summary and a terminal table, computed from the run directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_terminal", "write_report"]


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` and ``report.md`` into a run directory and return the path of the page.

    Both are rendered before either is written, and each appears whole or not at all. The same run gives the
    same bytes.

    Raises:
        InputError: the directory holds no usable run; nothing is written.
        OSError: the directory cannot be written.
    """
    from slimgate.report.html import render_html
    from slimgate.report.load import load_checked
    from slimgate.report.markdown import render_markdown
    from slimgate.report.write import replace_text

    files = load_checked(run_dir)
    page, summary = render_html(files), render_markdown(files)
    replace_text(run_dir / "report.md", summary)
    return replace_text(run_dir / "report.html", page)


def render_terminal(run_dir: Path, console: Console) -> None:
    """Print the main table and what is red; a narrow console gets fewer columns and is told so.

    Raises:
        InputError: the directory holds no usable run.
    """
    from slimgate.report.load import load_checked
    from slimgate.report.terminal import print_run

    print_run(load_checked(run_dir), console)
