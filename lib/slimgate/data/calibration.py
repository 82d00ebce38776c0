"""Which images calibrate a quantisation: an ordered list with a fingerprint, never an evaluated image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from slimgate.data.checked import require_no_offenders
from slimgate.data.sample import Dataset
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
    seen = {sample.sha256: sample for sample in evaluated.samples} if evaluated else {}
    overlap = [sample.path.name for sample in samples if sample.sha256 in seen]
    require_no_offenders(
        dataset.name,
        overlap,
        found=f"{len(overlap)} of {count} calibration images are also evaluated",
        expected=f"no image of '{evaluated.name if evaluated else ''}', compared by sha256",
        action="calibrate on training images",
    )
    digest = hashlib.sha256("\n".join(sample.sha256 for sample in samples).encode()).hexdigest()
    return CalibrationList(
        paths=tuple(sample.path for sample in samples), sha256=digest, dataset_sha256=dataset.sha256
    )
