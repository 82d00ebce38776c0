"""Two runs beside each other: what differs, and whether that is more than the noise that is known."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slimgate.flow import Case, Json, Measurement
from slimgate.gate.judge import find_causes
from slimgate.gate.kinds import kind_of
from slimgate.gate.provenance import find_changes, find_mismatches
from slimgate.measure import metric_for

_ACCURACY = ("dataset_sha256", "images", "protocol")
_EXPLAINED = ("weights_sha256", "calibration_sha256", "lineage")
_OF_A_BUILD = ("size_bytes", "compressed_bytes", "weight_memory_bytes")
_ENGINES = "tensorrt"
_SMALLEST = {"fraction": 0.002, "ratio": 0.02, "count": 2.0}
_SMALLEST_SHARE = 0.005


class Outcome(enum.StrEnum):
    """What can be said about one metric of one case in two runs."""

    WORSE = "worse"
    """Beyond the noise that is known; of an exact number, at all; else by the smallest change that counts."""
    BETTER = "better"
    WITHIN_NOISE = "within noise"
    DIFFERENT = "differs"
    """By too little to say more, or a number that is no evidence."""
    SAME = "same"
    NOT_COMPARED = "not compared"
    ONLY_FIRST = "only in the first"
    ONLY_SECOND = "only in the second"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of one case in two runs.

    Attributes:
        case: the case.
        metric: the metric.
        first: its measurement in the first run, or None.
        second: its measurement in the second run, or None.
        outcome: what can be said.
        why: why it is not compared, or why not more can be said; else empty.
    """

    case: Case
    metric: str
    first: Measurement | None
    second: Measurement | None
    outcome: Outcome
    why: str = ""

    @property
    def difference(self) -> float | None:
        """The second value minus the first, where the two are comparable."""
        if self.first is None or self.second is None or self.outcome is Outcome.NOT_COMPARED:
            return None
        return self.second.value - self.first.value


def compare_measurements(
    first: Iterable[Measurement], second: Iterable[Measurement]
) -> tuple[Comparison, ...]:
    """Return every metric of every case of two runs, in the order of the first run, then of the second."""
    before = {(one.case, one.metric): one for one in first}
    after = {(one.case, one.metric): one for one in second}
    cases = dict.fromkeys(case for case, _ in (*before, *after))
    return tuple(
        _compare(case, metric, before.get((case, metric)), after.get((case, metric)))
        for case in cases
        for metric in dict.fromkeys(metric for of_case, metric in (*before, *after) if of_case == case)
    )


def why_not_comparable(first: Measurement, second: Measurement) -> str:
    """Return why two measurements of one metric say nothing about each other, or nothing.

    Times need the same device, baseline and image size; accuracies the same images and protocol; sizes the same
    image size. Weights, operations, versions and commits may differ: they are what is compared.
    """
    for one in (first, second):
        causes = find_causes(one)
        if causes:
            return f"invalid: {causes[0]}"
    kind = kind_of(first.metric)
    if kind == "latency" and first.device != second.device:
        return f"other device: {first.device} → {second.device}"
    keys: tuple[str, ...] = _ACCURACY if kind == "accuracy" else ("protocol",)
    keys += ("baseline",) if kind == "latency" else ()
    before, after = (
        {key: one.provenance.get(key) for key in keys}
        if kind == "accuracy"
        else {key: _image_size(one.provenance.get(key)) for key in keys}
        for one in (first, second)
    )
    return "; ".join(find_mismatches(before, after))


def explain_changes(first: Measurement, second: Measurement) -> list[str]:
    """Return what else differs between two comparable measurements: weights, operations, versions."""
    before = {key: value for key, value in first.provenance.items() if key in _EXPLAINED}
    after = {key: value for key, value in second.provenance.items() if key in _EXPLAINED}
    versions = [{"versions": dict(one.provenance.get("versions", {}))} for one in (first, second)]
    return find_mismatches(before, after) + find_changes(versions[0], versions[1])


def count_outcomes(comparisons: Sequence[Comparison]) -> dict[Outcome, int]:
    """Return how many comparisons have each outcome, those that do not occur left out."""
    counts = {outcome: sum(one.outcome is outcome for one in comparisons) for outcome in Outcome}
    return {outcome: count for outcome, count in counts.items() if count}


def smallest_change(metric: str, start: float, given: float | None = None) -> float:
    """Return the smallest change of a metric that counts where its noise is not known, in its unit.

    Without one that is given: 0.002 of a fraction, 0.02 of a ratio, 2 misses or detections, 0.5 % of a size.
    """
    if given is not None:
        return given
    if kind_of(metric) == "size" and metric_for(metric).unit != "fraction":
        return _SMALLEST_SHARE * abs(start)
    return _SMALLEST[metric_for(metric).unit]


def _compare(case: Case, metric: str, first: Measurement | None, second: Measurement | None) -> Comparison:
    outcome, why = _judge(metric, first, second)
    return Comparison(case=case, metric=metric, first=first, second=second, outcome=outcome, why=why)


def _judge(metric: str, first: Measurement | None, second: Measurement | None) -> tuple[Outcome, str]:
    if second is None:
        return Outcome.ONLY_FIRST, ""
    if first is None:
        return Outcome.ONLY_SECOND, ""
    why = why_not_comparable(first, second)
    if why:
        return Outcome.NOT_COMPARED, why
    if first.value == second.value:
        return Outcome.SAME, ""
    better = (second.value > first.value) == metric_for(metric).higher_is_better
    direction = Outcome.BETTER if better else Outcome.WORSE
    if first.interval and second.interval and first.unit != "seconds":
        apart = first.interval[1] < second.interval[0] or second.interval[1] < first.interval[0]
        return (direction, "") if apart else (Outcome.WITHIN_NOISE, "")
    if first.unit == "seconds":
        return Outcome.DIFFERENT, "a time on a shared machine; only ratios are judged"
    if metric in _OF_A_BUILD and first.case.runtime.startswith(_ENGINES):
        return Outcome.DIFFERENT, "engine builds are not reproducible"
    if kind_of(metric) == "size":
        return direction, ""
    least = smallest_change(metric, first.value)
    if abs(second.value - first.value) < least:
        return Outcome.DIFFERENT, f"by less than {least:g}, and no interval is known"
    return direction, f"no interval is known; {least:g} and more counts"


def _image_size(value: Json) -> Json:
    return {"image_size": value.get("image_size")} if isinstance(value, Mapping) else value
