"""From an FP32 file and pictures to a quantization plan and a file, as studies and ``slimgate export`` make them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.flow import Artifact, Json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.compress.quantize import QuantizationPlan, QuantizationSettings
    from slimgate.data import CalibrationList, Dataset

PROBES = 16
"""Calibration images on which the noise of a file is measured."""

SCORED_IN: Mapping[str, str] = {"x86": "onnxruntime", "openvino": "openvino", "tensorrt": "onnxruntime"}
"""The runtime in which a target's INT8 is scored; onnxruntime computes the Q/DQ of an engine as it stands."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What INT8 is decided on; nothing among it is evaluated.

    Attributes:
        calibration: ranges are taken from these.
        labelled: pictures that mAP is measured on; None when nothing asks for it.
        threads: inference threads.
    """

    calibration: CalibrationList
    labelled: Dataset | None = None
    threads: int = 2

    def to_json(self) -> dict[str, Json]:
        """Return the fingerprints of both."""
        labelled = self.labelled.sha256 if self.labelled is not None else None
        return {"calibration_sha256": self.calibration.sha256, **({"labelled": labelled} if labelled else {})}


def calibration_inputs(
    paths: tuple[Path, ...], fp32: Artifact, progress: Callable[[int], object] = lambda done: None
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield images as a file's network input, one after the other, repeated to its batch size where that is fixed."""
    import numpy as np

    from slimgate.data import batch_from_images, read_image

    for index, path in enumerate(paths):
        images = batch_from_images([read_image(path)], fp32.image_size)[0]
        yield np.repeat(images, fp32.batch or 1, axis=0)
        progress(index + 1)


def calibrate(
    fp32: Artifact,
    pictures: Pictures,
    settings: QuantizationSettings,
    progress: Callable[[int], object] = lambda done: None,
) -> QuantizationPlan:
    """Return the plan that is the same for every target, with the seconds it took: ranges, and the head in float.

    Raises:
        InputError: the file or the images cannot be used.
    """
    from slimgate.artifact import float_head_nodes
    from slimgate.compress.quantize import plan_quantization

    started = time.perf_counter()
    plan = plan_quantization(
        fp32.path,
        calibration_inputs(pictures.calibration.paths, fp32, progress),
        float_nodes=float_head_nodes(fp32),
        calibration_sha256=pictures.calibration.sha256,
        observer=settings.observer,
    )
    return dataclasses.replace(plan, seconds=time.perf_counter() - started)


def write_int8(
    fp32: Artifact,
    plan: QuantizationPlan,
    path: Path,
    *,
    target: str,
    pictures: Pictures,
    settings: QuantizationSettings,
) -> tuple[Artifact, QuantizationPlan]:
    """Write an INT8 file for a target, its sensitivity measured and its budget kept where that was asked for.

    Returns:
        The file, and the plan as it was written. The file's build time is all that INT8 took: calibration, the search
        for a budget, and writing.

    Raises:
        InputError: the file or the images cannot be used, or nothing in INT8 keeps to the budget.
    """
    from slimgate.artifact import write_qdq
    from slimgate.artifact.sensitivity import analyse_sensitivity

    started = time.perf_counter()
    probes = list(islice(calibration_inputs(pictures.calibration.paths, fp32), PROBES))
    if settings.sensitivity or settings.needs_labels:
        plan = analyse_sensitivity(
            fp32,
            plan,
            probes,
            target=target,
            budget=settings.budget,
            score=score_on(pictures, target) if settings.needs_labels else None,
            score_groups=settings.score_groups,
        )
    artifact = write_qdq(fp32, plan, path, target=target, probes=probes)
    build_s = plan.seconds + time.perf_counter() - started
    return dataclasses.replace(artifact, build_s=build_s), plan


def write_peer(fp32: Artifact, path: Path, *, pictures: Pictures, peer: str) -> Artifact:
    """Write the INT8 file of another tool, from the same images; one file for every runtime.

    Raises:
        UnavailableError: it is not installed.
        InputError: the file or the images cannot be used.
    """
    from slimgate.artifact.peer import quantize_with_peer

    return quantize_with_peer(
        fp32,
        calibration_inputs(pictures.calibration.paths, fp32),
        path,
        peer=peer,
        calibration_sha256=pictures.calibration.sha256,
    )


def score_on(pictures: Pictures, target: str) -> Callable[[Artifact], float] | None:
    """Return what scores a file: mAP50-95 on the labelled pictures; None when there are none."""
    labelled = pictures.labelled
    if labelled is None:
        return None

    def score(artifact: Artifact) -> float:
        from slimgate.detect import Protocol
        from slimgate.measure import evaluate_coco, predict_dataset
        from slimgate.runtime import get_runtime

        runtime = get_runtime(SCORED_IN[target])
        protocol = Protocol(image_size=artifact.image_size)
        with runtime.open(artifact, batch=artifact.batch, threads=pictures.threads) as runner:
            detections = predict_dataset(runner, labelled, protocol, batch=artifact.batch or 1)
        found = evaluate_coco(labelled, detections).numbers["AP"]
        assert found is not None, "labelled pictures have labels"
        return found

    return score
