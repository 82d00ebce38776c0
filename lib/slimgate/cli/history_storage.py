"""Where ``slimgate history`` keeps runs: adding, merging, a git branch, and damaged lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from slimgate.gate.history import History, Merged


def add_runs(directories: Sequence[Path], history: History, console: Console) -> int:
    """Add finished runs to a history and return 0."""
    from slimgate.gate import load_run

    runs = [load_run(directory) for directory in directories]
    for files in runs:
        added = history.append(files)
        word = "added" if added else "was there already"
        console.print(f"{files.run['run_id']}: {word}", soft_wrap=True, markup=False)
    return 0


def merge_folders(folders: Sequence[Path], history: History, console: Console) -> int:
    """Add every run of other histories and return 0."""
    from slimgate.gate.history import History, merge_history

    for folder in folders:
        _say_merged(str(folder), merge_history(history, History(folder)), console)
    return 0


def sync_with_branch(history: History, branch: str, remote: str, console: Console) -> int:
    """Unite a history with a git branch, both ways, and return 0."""
    from slimgate.gate.history import sync_branch

    synced = sync_branch(history, branch, repository=Path(), remote=remote)
    place = f"{remote}/{branch}" if remote else branch
    _say_merged(place, synced.fetched, console)
    done = f"moved to {synced.commit[:10]}" if synced.commit else "has everything already"
    console.print(f"{place}: {done}", soft_wrap=True, markup=False)
    return 0


def repair(history: History, console: Console) -> int:
    """Set the lines aside that cannot be read and return 0."""
    moved = history.set_aside()
    for path, count in moved.items():
        console.print(f"{path}: {count} lines set aside in {path.name}.damaged", soft_wrap=True, markup=False)
    if not moved:
        console.print(f"{history.folder}: every line can be read", soft_wrap=True, markup=False)
    return 0


def _say_merged(place: str, merged: Merged, console: Console) -> None:
    warn(merged.complaints, console)
    files = f", {merged.benchmarks} benchmark files" if merged.benchmarks else ""
    console.print(
        f"{place}: {merged.added} runs added, {merged.known} were there already{files}",
        soft_wrap=True,
        markup=False,
    )


def warn(complaints: Sequence[str], console: Console) -> None:
    """Print what could not be read."""
    for text in complaints:
        console.print(text, style="yellow", markup=False, soft_wrap=True)
