"""The latency stage: every case against its FP32 reference, in interleaved pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slimgate.errors import SlimgateError
from slimgate.flow import Case
from slimgate.study.prepare import Prepared
from slimgate.study.work import CaseWork, find_reference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.gate import Floors
    from slimgate.measure import PairResult

_SMALLEST_EFFECT = 1.05
"""A budget of "not slower" asks for no difference at all; 5 % is the smallest effect worth a verdict."""

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
    """Add the ``latency`` part to every record that can have one."""
    study = prepared.study
    jobs = [(work, batch) for work in works if work.measurable for batch in work.spec.batches]
    images = {batch: _images(prepared, batch) for batch in {batch for _, batch in jobs}}
    controls: dict[tuple[Case, int], PairResult] = {}
    for index, (work, batch) in enumerate(jobs):
        progress(index, len(jobs), f"{work.case} batch {batch}")
        reference = find_reference(study, works, work)
        if reference is not None and not work.failed:
            budget = _budget(floors, work.case, batch)
            try:
                _measure_pair(prepared, work, reference, images[batch], budget, controls)
            except SlimgateError as error:
                work.fail(error)
    progress(len(jobs), len(jobs), "")


def _measure_pair(
    prepared: Prepared,
    work: CaseWork,
    reference: CaseWork,
    images: npt.NDArray[np.float32],
    budget: float | None,
    controls: dict[tuple[Case, int], PairResult],
) -> None:
    from slimgate.measure import control, measure_pairs

    batch = len(images)
    rounds = prepared.study.rounds if batch == 1 else prepared.study.rounds_batch32
    key = (reference.case, batch)
    settle_s = 0.0 if work.runtime == reference.runtime else _SETTLE_S
    with (
        prepared.open(reference.spec, reference.runtime, batch=batch) as runner_a,
        prepared.open(work.spec, work.runtime, batch=batch) as runner_b,
    ):
        if key not in controls:
            controls[key] = control(lambda: runner_a.run(images), rounds=rounds)
        if work is reference:
            result = controls[key]
        else:
            result = measure_pairs(
                lambda: runner_a.run(images),
                lambda: runner_b.run(images),
                rounds=rounds,
                settle_s=settle_s,
                extend_while=lambda interval: budget is not None and interval[0] <= budget <= interval[1],
            )
    entry = {
        "baseline": str(reference.case),
        **result.to_json(),
        "control": {"ratio": controls[key].ratio, "interval": list(controls[key].interval)},
    }
    complaint = control_complaint(controls[key], budget)
    if complaint:
        entry["why_invalid"] = complaint
    work.record.setdefault("latency", {})[f"batch{batch}"] = entry


def control_complaint(control: PairResult, budget: float | None) -> str:
    """Return why the machine cannot judge a latency budget, or nothing.

    The A/A control times the baseline against itself. If it is off by more than half of what the budget asks
    for, the machine itself is the larger effect.

    Args:
        control: the A/A measurement.
        budget: the highest ratio that passes, or None when there is none.
    """
    if budget is None:
        return ""
    asked = max(abs(math.log(budget)), math.log(_SMALLEST_EFFECT))
    off = abs(math.log(control.ratio))
    if off <= asked / 2:
        return ""
    return (
        f"the A/A control is off by {math.expm1(off):.1%}, more than half of the {math.expm1(asked):.1%} that the "
        f"budget {budget:g} asks for: this machine is too busy to judge"
    )


def _budget(floors: Floors, case: Case, batch: int) -> float | None:
    bounds = [floor.max for floor in floors.for_metric(case, f"latency_ratio_b{batch}")]
    return next((bound for bound in bounds if bound is not None), None)


def _images(prepared: Prepared, batch: int) -> npt.NDArray[np.float32]:
    """Return a batch of the dataset's own images: time can depend on what is in them."""
    from slimgate.data import batch_from_images, read_image

    samples = prepared.dataset.samples
    chosen = [samples[index % len(samples)].path for index in range(batch)]
    return batch_from_images([read_image(path) for path in chosen], prepared.protocol.image_size)[0]
