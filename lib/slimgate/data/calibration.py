"""Which images a quantisation is decided on: lists with a fingerprint, never an evaluated image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimgate.data.checked import require_no_offenders
from slimgate.data.sample import Dataset, Sample, hash_samples
from slimgate.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CalibrationList:
    """Images that scales are computed from.

    Attributes:
        paths: the image files, in order.
        sha256: over the sha256 of every file, in order.
        dataset_sha256: of the dataset they were taken from.
    """

    paths: tuple[Path, ...]
    sha256: str
    dataset_sha256: str


def calibration_list(dataset: Dataset, *, count: int, evaluated: Dataset | None) -> CalibrationList:
    """Return the first ``count`` images of a dataset as a calibration list.

    Args:
        dataset: where the images come from; training images, or a split made for this.
        count: how many; 500 and more give stable ranges.
        evaluated: the dataset that the quantised model will be judged on.

    Raises:
        InputError: fewer images than asked for, or an image of the list is also evaluated (compared by
            content).
    """
    if not 1 <= count <= len(dataset):
        raise InputError(
            dataset.name,
            found=f"{len(dataset)} images, {count} asked for",
            expected="at least one image, and as many images as are asked for",
            action="ask for fewer calibration images, or use a larger set",
        )
    samples = dataset.samples[:count]
    if evaluated is not None:
        _refuse_evaluated(dataset.name, samples, evaluated, kind="calibration images")
    digest = hashlib.sha256("\n".join(sample.sha256 for sample in samples).encode()).hexdigest()
    return CalibrationList(
        paths=tuple(sample.path for sample in samples), sha256=digest, dataset_sha256=dataset.sha256
    )


def labelled_list(
    dataset: Dataset, *, count: int, calibration: CalibrationList, evaluated: Sequence[Dataset]
) -> Dataset:
    """Return the first ``count`` pictures of a dataset that are not calibrated on: to measure a loss before val does.

    Args:
        dataset: labelled training pictures.
        count: how many.
        calibration: the images that ranges are taken from; they are passed over, compared by content.
        evaluated: the datasets that the quantised model will be judged on.

    Raises:
        InputError: fewer pictures than asked for, none with a label, or one that is also evaluated.
    """
    known = {hashlib.sha256(path.read_bytes()).hexdigest() for path in calibration.paths}
    samples = tuple(sample for sample in dataset.samples if sample.sha256 not in known)[: max(count, 0)]
    if count < 1 or len(samples) < count:
        raise InputError(
            dataset.name,
            found=f"{len(samples)} pictures beside those that are calibrated on, {count} asked for",
            expected="at least one picture, and as many as are asked for",
            action="ask for fewer labelled pictures, or use a larger set",
        )
    if not any(len(sample.classes) for sample in samples):
        raise InputError(
            dataset.name,
            found=f"{count} pictures without a single label",
            expected="labelled training pictures",
            action="name a dataset with ground truth",
        )
    for other in evaluated:
        _refuse_evaluated(dataset.name, samples, other, kind="labelled pictures")
    return replace(dataset, samples=samples, sha256=hash_samples(samples, dataset.class_names))


def _refuse_evaluated(name: str, samples: Sequence[Sample], evaluated: Dataset, *, kind: str) -> None:
    seen = {sample.sha256 for sample in evaluated.samples}
    overlap = [sample.path.name for sample in samples if sample.sha256 in seen]
    require_no_offenders(
        name,
        overlap,
        found=f"{len(overlap)} of {len(samples)} {kind} are also evaluated",
        expected=f"no image of '{evaluated.name}', compared by sha256",
        action="use training images",
    )
