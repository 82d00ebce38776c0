"""Which times a run compares, and how: in pairs, and again where the machine was in a slower state meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimgate.flow import Case, Json
from slimgate.study.control import CONTROL_WITHIN, control_complaint
from slimgate.study.multiplicity import count_comparisons, simultaneous_entry
from slimgate.study.prepare import Prepared
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, find_own_int8, find_reference, name_same_in_float, name_same_in_half

if TYPE_CHECKING:
    import numpy.typing as npt

    from slimgate.gate import Floors
    from slimgate.measure import PairResult

SLOWED = 1.3
"""How many times as long as elsewhere in the run an arm may take.

Cores that share their power, their cache or their execution units with others have states: docs/latency.md. Typical
times of the same file in one run fell into two groups, and this lies between them.
"""

_SETTLE_S = 0.01
"""Longer than the worker threads of onnxruntime, OpenVINO and OpenMP spin after a call.

Only between two runtimes: inside one runtime both arms are disturbed alike, and a pause would time cold starts.
"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How long one case takes beside another at one batch size.

    Attributes:
        baseline: what the case is compared with; the case itself where this is an A/A control.
        work: the case.
        batch: images per call.
        part: where it goes in the ``latency`` entry of the case: the entry itself where that is nothing, and nowhere
            where there is none.
        budget: the highest ratio that passes, as a floor declares it.
    """

    baseline: CaseWork
    work: CaseWork
    batch: int
    part: str | None
    budget: float | None = None

    @property
    def key(self) -> tuple[Case, Case, int]:
        """What the comparison is known by."""
        return self.baseline.case, self.work.case, self.batch

    @property
    def control(self) -> tuple[Case, Case, int]:
        """What its A/A control is known by."""
        return self.baseline.case, self.baseline.case, self.batch

    @property
    def possible(self) -> bool:
        """Whether nothing broke so far."""
        return not (self.work.failed or self.baseline.failed)

    def __str__(self) -> str:
        against = "" if self.part == "" else f" against {self.baseline.case.variant}"
        return f"{self.work.case}{against} batch {self.batch}"


def plan_comparisons(study: Study, works: Sequence[CaseWork], floors: Floors) -> list[Comparison]:
    """Return what a run times, each baseline's A/A control before its first use.

    Each case is timed against the original in FP32, an FP16, BF16 or INT8 case also against the same network in FP32,
    an INT8 case where FP16 is really computed also against that, and another tool's INT8 also against ours.
    """
    planned: dict[tuple[Case, Case, int], Comparison] = {}
    for work in works:
        if not work.measurable or work.companion:
            continue
        for batch in work.spec.batches:
            for one in _comparisons_of(study, works, work, batch, floors):
                aa = Comparison(baseline=one.baseline, work=one.baseline, batch=batch, part=None)
                planned.setdefault(aa.key, aa)
                planned[one.key] = one
    return list(planned.values())


def _comparisons_of(
    study: Study, works: Sequence[CaseWork], work: CaseWork, batch: int, floors: Floors
) -> Iterator[Comparison]:
    reference = find_reference(study, works, work)
    if reference is None:
        return
    budget = _budget(floors, work.case, f"latency_ratio_b{batch}")
    yield Comparison(baseline=reference, work=work, batch=batch, part="", budget=budget)
    same = _measurable(works, name_same_in_float(study, work))
    if same is not None and same is not reference:
        budget = _budget(floors, work.case, f"latency_ratio_same_b{batch}")
        yield Comparison(baseline=same, work=work, batch=batch, part="same", budget=budget)
    half = _measurable(works, name_same_in_half(study, work, batch))
    if half is not None:
        yield Comparison(baseline=half, work=work, batch=batch, part="fp16")
    ours = find_own_int8(works, work)
    if ours is not None:
        yield Comparison(baseline=ours, work=work, batch=batch, part="ours")


def _measurable(works: Sequence[CaseWork], case: Case | None) -> CaseWork | None:
    return next((one for one in works if one.case == case and one.measurable), None)


def _budget(floors: Floors, case: Case, metric: str) -> float | None:
    bounds = [floor.max for floor in floors.for_metric(case, metric)]
    return next((bound for bound in bounds if bound is not None), None)


class Paces:
    """The shortest typical time of every case in a run, and how much longer than that each comparison's arms took.

    A typical time is the median of one comparison. Arms of two runtimes are timed after a pause, which makes them
    slower: they are held against their like only.
    """

    def __init__(self) -> None:
        self._shortest: dict[tuple[Case, int, bool], float] = {}

    def note(self, one: Comparison, result: PairResult) -> None:
        """Add what a comparison took, also if it is measured again."""
        for key, median in self._medians(one, result):
            self._shortest[key] = min(median, self._shortest.get(key, median))

    def slowed(self, one: Comparison, result: PairResult) -> tuple[float, Case]:
        """Return how many times as long as at its fastest in the run an arm took, the one that was slowed more."""
        return max(
            ((median / self._shortest[key], key[0]) for key, median in self._medians(one, result)),
            key=lambda found: found[0],
        )

    def _medians(self, one: Comparison, result: PairResult) -> Iterator[tuple[tuple[Case, int, bool], float]]:
        pause = one.work.runtime != one.baseline.runtime
        for work, seconds in ((one.baseline, result.seconds_a), (one.work, result.seconds_b)):
            yield (work.case, one.batch, pause), float(np.median(seconds))


class Pairs:
    """Measures comparisons, and says of each what the record is to hold.

    Args:
        prepared: the study, and how its files are opened.
        images: a batch of images by batch size.
    """

    def __init__(self, prepared: Prepared, images: Mapping[int, npt.NDArray[np.float32]]) -> None:
        self._prepared = prepared
        self._images = images
        self._results: dict[tuple[Case, Case, int], PairResult] = {}
        self._times: dict[tuple[Case, Case, int], int] = {}
        self._paces = Paces()
        self._comparisons = count_comparisons(prepared.study)

    def measure(self, one: Comparison) -> None:
        """Time a comparison; where it was timed before, the one in which the machine was faster is kept."""
        result = self._time(one)
        self._paces.note(one, result)
        self._times[one.key] = self._times.get(one.key, 0) + 1
        before = self._results.get(one.key)
        if before is None or self._paces.slowed(one, result)[0] < self._paces.slowed(one, before)[0]:
            self._results[one.key] = result

    def is_slowed(self, one: Comparison) -> bool:
        """Return whether the machine was in a slower state than elsewhere in the run while it was timed."""
        result = self._results.get(one.key)
        return result is not None and self._paces.slowed(one, result)[0] > SLOWED

    def entry(self, one: Comparison) -> dict[str, Json] | None:
        """Return the ``latency`` entry of a comparison, or None where it was not timed."""
        result, control = self._results.get(one.key), self._results.get(one.control)
        if result is None or control is None:
            return None
        slowed, slower = self._paces.slowed(one, result)
        entry = {
            "baseline": str(one.baseline.case),
            **result.to_json(),
            "simultaneous": simultaneous_entry(result, self._comparisons),
            "control": {"ratio": control.ratio, "interval": list(control.interval)},
            "slowed": slowed,
            "measured": self._times[one.key],
        }
        complaint = control_complaint(control, one.budget, result.interval)
        complaint = complaint or slowed_complaint(slowed, slower)
        # A time that no floor asks about is no INVALID measurement, but nothing may be claimed by it.
        name = "why_no_claim" if one.budget is None else "why_invalid"
        return {**entry, name: complaint} if complaint else entry

    def _time(self, one: Comparison) -> PairResult:
        """Return one comparison's rounds.

        The one extension is used while the budget is open, or without one while 1 is: whether a variant pays is asked
        of every one but the original in another runtime and those that are here for another purpose.
        """
        from slimgate.measure import Budget, control, measure_pairs

        study, images = self._prepared.study, self._images[one.batch]
        rounds = study.rounds if one.batch == 1 else study.rounds_batch32
        work, baseline = one.work, one.baseline
        with self._prepared.open(baseline.spec, baseline.runtime, batch=one.batch) as runner_a:
            if one.key == one.control:
                return control(lambda: runner_a.run(images), rounds=rounds, within=CONTROL_WITHIN)
            asked = one.budget
            if asked is None and work.spec is not study.reference and not work.spec.no_gain:
                asked = 1.0
            with self._prepared.open(work.spec, work.runtime, batch=one.batch) as runner_b:
                return measure_pairs(
                    lambda: runner_a.run(images),
                    lambda: runner_b.run(images),
                    rounds=rounds,
                    settle_s=0.0 if work.runtime == baseline.runtime else _SETTLE_S,
                    budget=None if asked is None else Budget(highest=asked, comparisons=self._comparisons),
                )


def slowed_complaint(slowed: float, slower: Case) -> str:
    """Return why a comparison says nothing about the machine as it is otherwise, or nothing.

    Args:
        slowed: how many times as long as at its fastest in the run an arm took.
        slower: the case of that arm.
    """
    if slowed <= SLOWED:
        return ""
    return (
        f"{slower} took {slowed:.2f} times as long as elsewhere in this run, whenever this was measured: "
        "the machine was in a slower state, in which ratios are others"
    )
