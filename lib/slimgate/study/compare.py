"""What a case is compared with beside the ground truth: its own network in torch, and the FP32 case's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slimgate.flow import Detector, Json
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, find_reference

if TYPE_CHECKING:
    from slimgate.data import Dataset, Sample
    from slimgate.runtime import Runner

PARITY_IMAGES = 4
"""Every image has thousands of positions to differ in; torch is the slowest runtime."""


def compare_with_torch(
    detector: Detector, runner: Runner, dataset: Dataset, *, threads: int | None = None
) -> dict[str, Json]:
    """Return the ``parity`` part of a case record: raw outputs against the same network in torch, float32.

    The reference is the variant's own module, pruned or otherwise compressed, so that the numbers show what
    export, precision and runtime change and nothing else. Both are given the same pixels, one image a call.

    Args:
        detector: the variant before export.
        runner: what the case runs.
        dataset: the evaluated images; a few of them, spread evenly, are used.
        threads: of torch.

    Raises:
        InputError: an image cannot be read, shapes differ, or an output is not finite.
    """
    import numpy as np

    from slimgate.data import batch_from_images, read_image
    from slimgate.measure import compare_predictions
    from slimgate.runtime import get_runtime

    samples = spread_evenly(dataset, PARITY_IMAGES)
    images = [batch_from_images([read_image(sample.path)], detector.image_size)[0] for sample in samples]
    with get_runtime("torch").open(detector, threads=threads) as torch:
        reference = np.concatenate([torch.run(image) for image in images])
    prediction = np.concatenate([runner.run(image) for image in images])
    parity = compare_predictions(reference, prediction)
    return {
        "reference": "torch float32",
        "images": len(samples),
        **parity.to_json(image_size=detector.image_size),
    }


def spread_evenly(dataset: Dataset, count: int) -> list[Sample]:
    """Return up to ``count`` samples of a dataset at equal distances, the first one included."""
    count = min(count, len(dataset))
    return [dataset.samples[index * len(dataset) // count] for index in range(count)]


def add_score_shift(study: Study, works: Sequence[CaseWork], work: CaseWork) -> None:
    """Add how far a case's scores moved from its FP32 reference, evaluated before it, and how well that is known."""
    from slimgate.measure import compare_scores, score_shift

    reference = find_reference(study, works, work)
    if work.everything and reference is not None and reference.everything and reference is not work:
        shift = score_shift(reference.everything, work.everything)
        work.record["score_shift"] = {
            "reference": str(reference.case),
            **shift.to_json(),
            "difference": compare_scores(shift).to_json(),
        }
