"""Runs over time: JSON lines in a folder, on a git branch or as CI artifacts; and what drifted in them."""

from slimgate.gate.history.baseline import (
    BASELINE_FILE,
    BASELINE_FORMAT,
    Baseline,
    load_baselines,
    propose_baseline,
    resolve_baseline,
    why_no_baseline,
)
from slimgate.gate.history.branch import Synced, sync_branch
from slimgate.gate.history.drift import Drift, DriftReport, Point, find_drift, find_drifts, list_points
from slimgate.gate.history.entry import HISTORY_FORMAT, Entry, entry_from_json, entry_from_run, machine_of
from slimgate.gate.history.merge import Merged, merge_history
from slimgate.gate.history.store import BENCHMARKS, History, Loaded

__all__ = [
    "BASELINE_FILE",
    "BASELINE_FORMAT",
    "BENCHMARKS",
    "HISTORY_FORMAT",
    "Baseline",
    "Drift",
    "DriftReport",
    "Entry",
    "History",
    "Loaded",
    "Merged",
    "Point",
    "Synced",
    "entry_from_json",
    "entry_from_run",
    "find_drift",
    "find_drifts",
    "list_points",
    "load_baselines",
    "machine_of",
    "merge_history",
    "propose_baseline",
    "resolve_baseline",
    "sync_branch",
    "why_no_baseline",
]
