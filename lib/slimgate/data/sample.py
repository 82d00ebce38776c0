"""What a dataset is once it has been read: frozen, validated, and with a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image and its ground truth.

    Attributes:
        image_id: the image's id in the COCO sense, unique in its dataset.
        path: the image file.
        width: of the decoded image, pixels.
        height: of the decoded image, pixels.
        sha256: of the image file.
        boxes: ``(n, 4)`` float64 xyxy, pixels of the original image. Ground truth keeps double precision so
            that an evaluator sees the annotation file's own numbers.
        classes: ``(n,)`` class indices.
        crowd: ``(n,)`` true where the box covers a group that COCO neither rewards nor punishes finding.
        areas: ``(n,)`` square pixels, by which COCO sorts objects into small, medium and large: the mask's
            area where the source knows it, else the box's.
    """

    image_id: int
    path: Path
    width: int
    height: int
    sha256: str
    boxes: FloatArray
    classes: IntArray
    crowd: BoolArray
    areas: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images with ground truth that can be trusted: every file was opened and every label checked.

    Attributes:
        name: short name for people, such as ``codes:val``.
        class_names: one per class index.
        category_ids: the COCO category id of each class index.
        samples: the images, in the source's order.
        sha256: over every image file's sha256 and its annotations, in an order that does not depend on paths.
        notes: what a reader of the numbers must know about this copy of the data; empty when nothing.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    sha256: str
    notes: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def from_samples(
        cls,
        samples: tuple[Sample, ...],
        *,
        name: str,
        class_names: tuple[str, ...],
        category_ids: tuple[int, ...] | None = None,
        notes: str = "",
    ) -> Dataset:
        """Return the dataset of these samples with its fingerprint computed."""
        return cls(
            name=name,
            class_names=class_names,
            category_ids=category_ids or tuple(range(1, len(class_names) + 1)),
            samples=samples,
            sha256=hash_samples(samples, class_names),
            notes=notes,
        )

    def head(self, count: int) -> Dataset:
        """Return the first ``count`` images as a dataset with its own fingerprint."""
        if count >= len(self.samples):
            return self
        samples = self.samples[:count]
        return replace(self, samples=samples, sha256=hash_samples(samples, self.class_names))

    def to_coco(self) -> dict[str, Any]:
        """Return the ground truth as a COCO ``instances`` mapping (boxes xywh in pixels, ids from 1)."""
        annotations: list[dict[str, Any]] = []
        for sample in self.samples:
            for box, label, crowd, area in zip(
                sample.boxes.tolist(),
                sample.classes.tolist(),
                sample.crowd.tolist(),
                sample.areas.tolist(),
                strict=True,
            ):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": sample.image_id,
                        "category_id": self.category_ids[label],
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": area,
                        "iscrowd": int(crowd),
                    }
                )
        return {
            "info": {"description": self.name},
            "images": [
                {"id": s.image_id, "file_name": s.path.name, "width": s.width, "height": s.height}
                for s in self.samples
            ],
            "categories": [
                {"id": number, "name": name}
                for number, name in zip(self.category_ids, self.class_names, strict=True)
            ],
            "annotations": annotations,
        }


def hash_samples(samples: tuple[Sample, ...], class_names: tuple[str, ...]) -> str:
    """Return the sha256 over class names and, per image sorted by content, file sha256 and annotations.

    Coordinates enter rounded to 1/1000 pixel, so that the last bit of a text format's arithmetic does not
    change the identity of the data; the order of the annotations within an image does not matter either.
    """
    digest = hashlib.sha256("\n".join(class_names).encode())
    lines = []
    for sample in samples:
        rows = sorted(
            ",".join(f"{value:.3f}" for value in box) + f";{label};{int(crowd)};{area:.3f}"
            for box, label, crowd, area in zip(
                sample.boxes.tolist(),
                sample.classes.tolist(),
                sample.crowd.tolist(),
                sample.areas.tolist(),
                strict=True,
            )
        )
        lines.append(f"\n{sample.sha256} {' '.join(rows)}")
    for line in sorted(lines):
        digest.update(line.encode())
    return digest.hexdigest()
