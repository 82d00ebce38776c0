"""Slow drift: changes that no single run shows, found by ruptures in the runs since a pinned baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimgate.flow import Measurement
from slimgate.gate.comparison import explain_changes, smallest_change, why_not_comparable
from slimgate.gate.history.entry import Entry
from slimgate.measure import metric_for

_PENALTY = 4.0
"""Times log n, per change. On white noise, looked at after each of 120 runs, it raises a false alarm in 2.7 % of the
series; 3 does so in 13 %, and 5 needs half again as many runs to find a change of two standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One metric of one case in one run.

    Attributes:
        entry: the run.
        measurement: what was measured.
        red: whether the gate was red about it in that run.
    """

    entry: Entry
    measurement: Measurement
    red: bool


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A lasting change of one metric of one case against the baseline.

    Attributes:
        case: the case id.
        metric: the metric.
        start: median of the runs at the baseline's level.
        end: median of the runs since the change.
        worse: whether the change is for the worse.
        since: the first run at the new level.
        before: the run before that.
        runs: how many runs are at the new level.
        red_runs: in how many of them the gate was red about this very metric.
        changed: what differs between ``before`` and ``since``: weights, operations, versions.
    """

    case: str
    metric: str
    start: float
    end: float
    worse: bool
    since: Entry
    before: Entry
    runs: int
    red_runs: int
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What was looked at, and what was found.

    Attributes:
        baseline: the pinned run.
        runs: how many runs there are since, the baseline included.
        series: how many metrics of cases were looked at.
        too_short: how many of them have too few runs for any finding.
        fewest: how many runs a finding needs.
        drifts: those for the worse first.
        left_out: why measurements were not compared with the baseline, and how many each.
    """

    baseline: Entry
    runs: int
    series: int
    too_short: int
    fewest: int
    drifts: tuple[Drift, ...]
    left_out: Mapping[str, int]


def find_drifts(
    entries: Sequence[Entry], baseline: Entry, *, smallest: Mapping[str, float] | None = None
) -> DriftReport:
    """Return every lasting change since a baseline.

    Looked at are the baseline and the runs added after it on the same machine, red and partial ones included: their
    numbers are evidence, only never a baseline. Times in seconds are left out: on a shared machine they are none.

    Args:
        entries: the history, in its order.
        baseline: one of them.
        smallest: by metric, the smallest change that counts, in the metric's unit.
    """
    smallest = smallest or {}
    same = [one for one in entries if (one.study, one.device) == (baseline.study, baseline.device)]
    runs = same[[one.run_id for one in same].index(baseline.run_id) :]
    drifts: list[Drift] = []
    left_out: dict[str, int] = {}
    series = short = 0
    for anchor in baseline.measurements:
        case, metric = str(anchor.case), anchor.metric
        if anchor.unit == "seconds":
            continue
        points = []
        for point in list_points(runs, case, metric):
            why = why_not_comparable(anchor, point.measurement)
            if why:
                left_out[why] = left_out.get(why, 0) + 1
            else:
                points.append(point)
        series += 1
        short += len(points) < fewest_runs()
        found = find_drift(points, smallest.get(metric))
        if found is not None:
            drifts.append(found)
    return DriftReport(
        baseline=baseline,
        runs=len(runs),
        series=series,
        too_short=short,
        fewest=fewest_runs(),
        drifts=tuple(sorted(drifts, key=lambda one: not one.worse)),
        left_out=left_out,
    )


def list_points(entries: Sequence[Entry], case: str, metric: str) -> list[Point]:
    """Return one metric of one case in every run that measured it."""
    found = ((entry, entry.find(case, metric)) for entry in entries)
    return [
        Point(entry=entry, measurement=one, red=entry.is_red_for(case, metric))
        for entry, one in found
        if one is not None
    ]


def find_drift(points: Sequence[Point], smallest: float | None = None) -> Drift | None:
    """Return the lasting change in the runs of one metric of one case, or None.

    The first point is the baseline. Its level is the stretch of runs up to the first change; the new level is the last
    stretch, and those right before it that are off to the same side. The two levels must differ by themselves as well,
    so that a series that came back is no drift.

    Args:
        points: comparable ones, in the order of the runs.
        smallest: the smallest change that counts, in the metric's unit; a default by unit otherwise.
    """
    values = [point.measurement.value for point in points]
    starts = find_changes_in(values)
    if not starts:
        return None
    stretches = [values[start:end] for start, end in zip([0, *starts], [*starts, len(values)], strict=True)]
    start = statistics.median(stretches[0])
    side = statistics.median(stretches[-1]) - start
    index = len(stretches) - 1
    while index > 1 and (statistics.median(stretches[index - 1]) - start) * side > 0:
        index -= 1
    first = starts[index - 1]
    end = statistics.median(values[first:])
    metric = points[0].measurement.metric
    if abs(end - start) < smallest_change(metric, start, smallest):
        return None
    if not find_changes_in([*stretches[0], *values[first:]]):
        return None
    since, before = points[first], points[first - 1]
    return Drift(
        case=str(points[0].measurement.case),
        metric=metric,
        start=start,
        end=end,
        worse=(end < start) == metric_for(metric).higher_is_better,
        since=since.entry,
        before=before.entry,
        runs=len(values) - first,
        red_runs=sum(point.red for point in points[first:]),
        changed=tuple(explain_changes(before.measurement, since.measurement)),
    )


def find_changes_in(values: Sequence[float]) -> list[int]:
    """Return where the level of a series changes: the index of the first value of each new level.

    The penalised least-squares segmentation of ruptures (Killick et al. 2012, "Optimal detection of changepoints with a
    linear computational cost"; Truong et al. 2020), on the ranks of the values scaled to a variance of 1: the rank
    cost of Lung-Yut-Fong et al. (2015), which an outlier cannot move and which needs no estimate of the noise.
    """
    if len(values) < fewest_runs() or min(values) == max(values):
        return []
    import ruptures
    from scipy.stats import rankdata, zscore

    signal = zscore(rankdata(values)).reshape(-1, 1)
    search = ruptures.KernelCPD(kernel="linear", min_size=1).fit(signal)
    return [int(end) for end in search.predict(pen=_PENALTY * math.log(len(values)))[:-1]]


def fewest_runs() -> int:
    """Return how many runs a series needs for any finding: the scaled ranks vary by n in all, less than the penalty."""
    return next(count for count in range(2, 1000) if count > _PENALTY * math.log(count))
