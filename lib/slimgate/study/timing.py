"""The timed stages: every case against its FP32 reference, in interleaved pairs; and NMS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from slimgate.errors import SlimgateError
from slimgate.flow import Case, Json
from slimgate.study.multiplicity import count_comparisons, simultaneous_entry
from slimgate.study.prepare import Prepared
from slimgate.study.work import CaseWork, find_own_int8, find_reference, name_same_in_float, name_same_in_half

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.gate import Floors
    from slimgate.measure import PairResult

_SMALLEST_EFFECT = 1.05
"""A budget of "not slower" asks for no difference at all; 5 % is the smallest effect worth a verdict."""

CONTROL_WITHIN = math.sqrt(_SMALLEST_EFFECT)
"""Half of the smallest effect: no budget complains of a control that is nearer to 1 than this."""

_SETTLE_S = 0.01
"""Longer than the worker threads of onnxruntime, OpenVINO and OpenMP spin after a call.

Only between two runtimes: inside one runtime both arms are disturbed alike, and a pause would time cold starts.
"""


def measure_latency(
    prepared: Prepared,
    works: Sequence[CaseWork],
    floors: Floors,
    progress: Callable[[int, int, str], object],
) -> None:
    """Add the ``latency`` part to every record that can have one.

    Each case is timed against the original in FP32, an FP16, BF16 or INT8 case also against the same network in
    FP32, an INT8 case where FP16 is really computed also against that, and another tool's INT8 also against ours.
    """
    study = prepared.study
    jobs = [
        (work, batch)
        for work in works
        if work.measurable and not work.companion
        for batch in work.spec.batches
    ]
    images = {batch: _images(prepared, batch) for batch in {batch for _, batch in jobs}}
    pairs = _Pairs(prepared, images)
    for index, (work, batch) in enumerate(jobs):
        progress(index, len(jobs), f"{work.case} batch {batch}")
        reference = find_reference(study, works, work)
        if reference is None or work.failed:
            continue
        same = name_same_in_float(study, work)
        rival = next((one for one in works if one.case == same and one.measurable), None)
        try:
            entry = pairs.measure(
                work, reference, batch, _budget(floors, work.case, f"latency_ratio_b{batch}")
            )
            if rival is not None and rival is not reference:
                budget = _budget(floors, work.case, f"latency_ratio_same_b{batch}")
                entry["same"] = pairs.measure(work, rival, batch, budget)
            half = name_same_in_half(study, work, batch)
            rival = next((one for one in works if one.case == half and one.measurable), None)
            if rival is not None:
                entry["fp16"] = pairs.measure(work, rival, batch, None)
            ours = find_own_int8(works, work)
            if ours is not None:
                entry["ours"] = pairs.measure(work, ours, batch, None)
        except SlimgateError as error:
            work.fail(error)
        else:
            work.record.setdefault("latency", {})[f"batch{batch}"] = entry
    progress(len(jobs), len(jobs), "")


def measure_suppression(
    prepared: Prepared, works: Sequence[CaseWork], progress: Callable[[int, int, str], object]
) -> None:
    """Time NMS once, on the reference's record: it is the same code for every case, on stored candidates."""
    from slimgate.measure import measure_nms

    progress(0, 1, "stored candidate sets")
    reference = next((one for one in works if one.spec is prepared.study.reference and one.measurable), None)
    if reference is not None and not reference.companion:
        protocol = prepared.protocol
        timings = measure_nms(iou=protocol.iou, max_det=protocol.max_det)
        reference.record["nms"] = {name: timing.to_json() for name, timing in timings.items()}
    progress(1, 1, "")


class _Pairs:
    """Measures one case against another; every baseline has one A/A control per batch size."""

    def __init__(self, prepared: Prepared, images: Mapping[int, npt.NDArray[np.float32]]) -> None:
        self._prepared = prepared
        self._images = images
        self._controls: dict[tuple[Case, int], PairResult] = {}
        self._comparisons = count_comparisons(prepared.study)

    def measure(
        self, work: CaseWork, reference: CaseWork, batch: int, budget: float | None
    ) -> dict[str, Json]:
        """Return a ``latency`` entry.

        The one extension is used while the budget is open, or without one while 1 is: whether a variant pays is asked
        of every one but the original in another runtime and those that are here for another purpose.
        """
        from slimgate.measure import Budget, control, measure_pairs

        study, images = self._prepared.study, self._images[batch]
        rounds = study.rounds if batch == 1 else study.rounds_batch32
        key = (reference.case, batch)
        asked = budget
        if asked is None and work.spec is not study.reference and not work.spec.no_gain:
            asked = 1.0
        with (
            self._prepared.open(reference.spec, reference.runtime, batch=batch) as runner_a,
            self._prepared.open(work.spec, work.runtime, batch=batch) as runner_b,
        ):
            if key not in self._controls:
                self._controls[key] = control(
                    lambda: runner_a.run(images), rounds=rounds, within=CONTROL_WITHIN
                )
            if work is reference:
                result = self._controls[key]
            else:
                result = measure_pairs(
                    lambda: runner_a.run(images),
                    lambda: runner_b.run(images),
                    rounds=rounds,
                    settle_s=0.0 if work.runtime == reference.runtime else _SETTLE_S,
                    budget=None if asked is None else Budget(highest=asked, comparisons=self._comparisons),
                )
        against = self._controls[key]
        entry = {
            "baseline": str(reference.case),
            **result.to_json(),
            "simultaneous": simultaneous_entry(result, self._comparisons),
            "control": {"ratio": against.ratio, "interval": list(against.interval)},
        }
        complaint = control_complaint(against, budget, result.interval)
        # A time that no floor asks about is no INVALID measurement, but nothing may be claimed by it.
        name = "why_no_claim" if budget is None else "why_invalid"
        return {**entry, name: complaint} if complaint else entry


def control_complaint(
    control: PairResult, budget: float | None, measured: tuple[float, float] | None = None
) -> str:
    """Return why the machine cannot judge a latency, or nothing.

    The A/A control times the baseline against itself. If it is off by more than half of what the budget asks
    for, the machine itself is the larger effect. If it is not even known to be within all of it, nobody can tell.
    Without a budget, what was measured has to be that much larger than the control is off: a control that is known to
    a twentieth says nothing about a gain of the same size, and does not hide a gain of a half.

    Args:
        control: the A/A measurement.
        budget: the highest ratio that passes; None when there is none.
        measured: interval of the ratio, looked at where there is no budget; at least the smallest effect is asked for.
    """
    asked = max(_size_of(budget, measured), math.log(_SMALLEST_EFFECT))
    share = f"{math.expm1(asked):.1%}"
    if budget is not None:
        effect = f"the {share} that the budget {budget:g} asks for"
    elif asked > math.log(_SMALLEST_EFFECT):
        effect = f"the {share} that were measured"
    else:
        effect = f"the smallest effect, {share}"
    if control.off() > asked / 2:
        return (
            f"the A/A control is off by {math.expm1(control.off()):.1%}, more than half of {effect}: "
            "this machine is too busy to judge"
        )
    if control.most_off() > asked:
        low, high = control.interval
        return (
            f"the A/A control is known to lie between {low:.3f} and {high:.3f} only, off by more than {effect}: "
            "this machine is too busy to judge"
        )
    return ""


def _size_of(budget: float | None, measured: tuple[float, float] | None) -> float:
    """Return what a control is compared with: the budget, or how far all of an interval lies from 1, as a logarithm."""
    if budget is not None:
        return abs(math.log(budget))
    if measured is None or measured[0] <= 1.0 <= measured[1]:
        return 0.0
    return min(abs(math.log(end)) for end in measured)


def _budget(floors: Floors, case: Case, metric: str) -> float | None:
    bounds = [floor.max for floor in floors.for_metric(case, metric)]
    return next((bound for bound in bounds if bound is not None), None)


def _images(prepared: Prepared, batch: int) -> npt.NDArray[np.float32]:
    """Return a batch of the dataset's own images: time can depend on what is in them."""
    from slimgate.data import batch_from_images, read_image

    samples = prepared.dataset.samples
    chosen = [samples[index % len(samples)].path for index in range(batch)]
    return batch_from_images([read_image(path) for path in chosen], prepared.protocol.image_size)[0]
