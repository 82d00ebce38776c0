"""Runs over time: JSON lines in a folder, on a git branch or as CI artifacts; and what drifted in them."""

from slimgate.gate.history.branch import Synced, sync_branch
from slimgate.gate.history.entry import HISTORY_FORMAT, Entry, entry_from_json, entry_from_run, machine_of
from slimgate.gate.history.merge import Merged, merge_history
from slimgate.gate.history.store import BENCHMARKS, History, Loaded

__all__ = [
    "BENCHMARKS",
    "HISTORY_FORMAT",
    "Entry",
    "History",
    "Loaded",
    "Merged",
    "Synced",
    "entry_from_json",
    "entry_from_run",
    "machine_of",
    "merge_history",
    "sync_branch",
]
