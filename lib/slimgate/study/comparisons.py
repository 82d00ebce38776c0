"""Which times a run compares, and how: in pairs, and again where the machine was in a slower state meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimgate.errors import SlimgateError
from slimgate.flow import Case, Json
from slimgate.study.control import CONTROL_WITHIN, control_complaint
from slimgate.study.multiplicity import count_comparisons, simultaneous_entry
from slimgate.study.prepare import Prepared
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, find_own_int8, find_reference, name_same_in_float, name_same_in_half

if TYPE_CHECKING:
    import numpy.typing as npt

    from slimgate.gate import Floors
    from slimgate.measure import Budget, PairResult

SLOWED = 1.3
"""How many times as long as usual in the run a baseline may take.

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
    def pauses(self) -> bool:
        """Whether each sample is taken after a pause: the two cases run in different runtimes."""
        return self.work.runtime != self.baseline.runtime

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
    """What is a usual time for every file in a run, and how much longer than that a comparison's baseline took.

    A typical time is the median of one comparison; the usual one is the lower quartile of the typical ones, those of
    comparisons that were measured again not counted. Arms of two runtimes are timed after a pause, which makes them
    slower: they are held against their like only.
    """

    def __init__(self) -> None:
        self._medians: dict[tuple[Case, int, bool], list[float]] = {}

    def note(self, one: Comparison, result: PairResult) -> None:
        """Add what both arms of a comparison took."""
        arms = {one.baseline.case: result.seconds_a, one.work.case: result.seconds_b}
        for case, seconds in arms.items():
            self._medians.setdefault((case, one.batch, one.pauses), []).append(float(np.median(seconds)))

    def slowed(self, one: Comparison, result: PairResult) -> float:
        """Return how many times as long as usual the baseline took: what is judged has no part in it."""
        typical = sorted(self._medians[one.baseline.case, one.batch, one.pauses])
        return float(np.median(result.seconds_a)) / typical[len(typical) // 4]


@dataclass(frozen=True)
class Timed:
    """One measurement of a comparison, and the A/A control that was taken before it in the same pass."""

    result: PairResult
    control: PairResult


class Pairs:
    """Measures comparisons, pass by pass, and says of each what the record is to hold.

    Args:
        prepared: the study, and how its files are opened.
        images: a batch of images by batch size.
    """

    def __init__(self, prepared: Prepared, images: Mapping[int, npt.NDArray[np.float32]]) -> None:
        self._prepared = prepared
        self._images = images
        self._timed: dict[tuple[Case, Case, int], list[Timed]] = {}
        self._controls: dict[tuple[Case, Case, int], PairResult] = {}
        self._paces = Paces()
        self._is_first = True
        self._comparisons = count_comparisons(prepared.study)

    def begin_again(self) -> None:
        """Begin another pass: what is measured in it gets controls of its own."""
        self._is_first = False
        self._controls.clear()

    def measure(self, one: Comparison) -> None:
        """Time a comparison, and its A/A control if it is the first of its baseline in this pass.

        What cannot be timed is noted as failed: the baseline where its control breaks, else the case.
        """
        if not one.possible:
            return
        at_fault = one.baseline
        try:
            if one.control not in self._controls:
                self._controls[one.control] = self._time_control(one)
            control = self._controls[one.control]
            at_fault = one.work
            result = control if one.key == one.control else self._time(one, control)
        except SlimgateError as error:
            at_fault.fail(error)
            return
        self._timed.setdefault(one.key, []).append(Timed(result, control))
        if self._is_first:
            self._paces.note(one, result)

    def is_slowed(self, one: Comparison) -> bool:
        """Return whether the machine was in a slower state than usual whenever it was timed."""
        return one.key in self._timed and self._slowed(one, self._chosen(one)) > SLOWED

    def entry(self, one: Comparison) -> dict[str, Json] | None:
        """Return the ``latency`` entry of a comparison, or None where it was not timed.

        Of several measurements it is the one whose baseline was fastest. The others are listed with it.
        """
        if one.key not in self._timed:
            return None
        chosen = self._chosen(one)
        result, control, slowed = chosen.result, chosen.control, self._slowed(one, chosen)
        entry = {
            "baseline": str(one.baseline.case),
            **result.to_json(),
            "simultaneous": simultaneous_entry(result, self._comparisons),
            "control": {"ratio": control.ratio, "interval": list(control.interval)},
            "slowed": slowed,
            "others": [
                {
                    "ratio": timed.result.ratio,
                    "interval": list(timed.result.interval),
                    "slowed": self._slowed(one, timed),
                }
                for timed in self._timed[one.key]
                if timed is not chosen
            ],
        }
        complaint = control_complaint(control, one.budget, result.interval)
        complaint = complaint or slowed_complaint(slowed, one.baseline.case)
        # A time that no floor asks about is no INVALID measurement, but nothing may be claimed by it.
        name = "why_no_claim" if one.budget is None else "why_invalid"
        return {**entry, name: complaint} if complaint else entry

    def _chosen(self, one: Comparison) -> Timed:
        return min(self._timed[one.key], key=lambda timed: self._slowed(one, timed))

    def _slowed(self, one: Comparison, timed: Timed) -> float:
        return self._paces.slowed(one, timed.result)

    def _time_control(self, one: Comparison) -> PairResult:
        from slimgate.measure import control

        images = self._images[one.batch]
        with self._prepared.open(one.baseline.spec, one.baseline.runtime, batch=one.batch) as runner:
            return control(lambda: runner.run(images), rounds=self._rounds(one), within=CONTROL_WITHIN)

    def _time(self, one: Comparison, control: PairResult) -> PairResult:
        from slimgate.measure import measure_pairs

        images, open_runner = self._images[one.batch], self._prepared.open
        with (
            open_runner(one.baseline.spec, one.baseline.runtime, batch=one.batch) as runner_a,
            open_runner(one.work.spec, one.work.runtime, batch=one.batch) as runner_b,
        ):
            return measure_pairs(
                lambda: runner_a.run(images),
                lambda: runner_b.run(images),
                rounds=self._rounds(one),
                settle_s=_SETTLE_S if one.pauses else 0.0,
                budget=self._asked(one, control),
            )

    def _asked(self, one: Comparison, control: PairResult) -> Budget | None:
        """Return what the ratio is held against, all of it: the extension is used while any of it is open.

        Whether a variant pays is asked of every one but the original in another runtime and those that are here for
        another purpose; to be faster it has to be so by more than the control is off (``gate.pays``).
        """
        from slimgate.measure import Budget

        bounds = [] if one.budget is None else [one.budget]
        spec = one.work.spec
        if spec is not self._prepared.study.reference and not spec.no_gain:
            bounds.append(min(1.0, control.interval[0]))
        if not bounds:
            return None
        return Budget(highest=bounds[0], also=tuple(bounds[1:]), comparisons=self._comparisons)

    def _rounds(self, one: Comparison) -> int:
        study = self._prepared.study
        return study.rounds if one.batch == 1 else study.rounds_batch32


def slowed_complaint(slowed: float, baseline: Case) -> str:
    """Return why a comparison says nothing about the machine as it usually is, or nothing.

    Args:
        slowed: how many times as long as usual in the run the baseline took.
        baseline: its case.
    """
    if slowed <= SLOWED:
        return ""
    return (
        f"{baseline} took {slowed:.2f} times as long as usual in this run, whenever this was measured: "
        "the machine was in a slower state, in which ratios are others"
    )
