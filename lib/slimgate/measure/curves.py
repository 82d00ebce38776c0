"""Precision, recall and F1 against confidence: what another deployed confidence would have given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.data import Dataset
from slimgate.detect import Detections, Protocol
from slimgate.measure.accuracy import require_aligned
from slimgate.measure.confusion import ClassCounts, sort_detections

CONFIDENCES = tuple(round(step / 100, 2) for step in range(1, 100))
"""Where the curves are known: 0.01, 0.02, ..., 0.99."""

_DIGITS = 5
_RATES = ("precision", "recall", "f1")


@dataclass(frozen=True, kw_only=True)
class ConfidenceCurves:
    """Hits and false detections at every one of ``CONFIDENCES``.

    Attributes:
        iou: overlap from which a detection has found an object.
        instances: objects by class name, crowd regions not counted.
        hits: by class name, ``(99,)`` detections matched with an object.
        false: by class name, ``(99,)`` detections that match no object and lie in no crowd region.
    """

    iou: float
    instances: Mapping[str, int]
    hits: Mapping[str, npt.NDArray[np.int64]]
    false: Mapping[str, npt.NDArray[np.int64]]

    def at(self, index: int, name: str | None = None) -> ClassCounts:
        """Return the counts at ``CONFIDENCES[index]``, of one class or of all; misses are not counted here."""
        names = self.instances if name is None else (name,)
        instances = sum(self.instances[one] for one in names)
        tp = sum(int(self.hits[one][index]) for one in names)
        fp = sum(int(self.false[one][index]) for one in names)
        return ClassCounts(instances=instances, tp=tp, fp=fp, fn=instances - tp)

    def best_f1(self) -> tuple[float, float] | None:
        """Return the highest F1 over all classes together and the lowest confidence it is reached at.

        None when there are neither objects nor detections.
        """
        values = [
            (f1, conf) for index, conf in enumerate(CONFIDENCES) if (f1 := self.at(index).f1) is not None
        ]
        return max(values, key=lambda pair: (pair[0], -pair[1]), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the ``curves`` part of a case record: rates by confidence; null where a rate does not exist."""
        best = self.best_f1()
        return {
            "iou": self.iou,
            "conf": list(CONFIDENCES),
            **({} if best is None else {"best_f1": {"value": best[0], "conf": best[1]}}),
            "per_class": {name: self._rates(name) for name in self.instances if self._occurs(name)},
            "all": self._rates(None),
        }

    def _occurs(self, name: str) -> bool:
        return bool(self.instances[name] or self.hits[name][0] or self.false[name][0])

    def _rates(self, name: str | None) -> dict[str, list[float | None]]:
        counts = [self.at(index, name) for index in range(len(CONFIDENCES))]
        return {rate: [_rounded(getattr(one, rate)) for one in counts] for rate in _RATES}


def curves_protocol(protocol: Protocol) -> Protocol:
    """Return the protocol whose detections ``confidence_curves`` needs: deployed, at its lowest confidence."""
    return dataclasses.replace(protocol.deployed(), conf=CONFIDENCES[0])


def confidence_curves(dataset: Dataset, detections: Sequence[Detections], *, iou: float) -> ConfidenceCurves:
    """Return hits and false detections per class at every confidence.

    Matching is that of ``confusion_at``. It goes by descending score, so what a detection is does not depend on
    those below it: the counts at a confidence equal those of ``confusion_at`` there.

    Args:
        dataset: the ground truth.
        detections: one entry per image of the dataset, in its order, best first, pixels of the original images;
            of ``curves_protocol``.
        iou: overlap from which a detection has found an object.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    require_aligned(dataset, detections)
    grid = np.asarray(CONFIDENCES, dtype=np.float32)
    count = len(dataset.class_names)
    instances = np.zeros(count, dtype=np.int64)
    hits = np.zeros((count, len(grid)), dtype=np.int64)
    false = np.zeros_like(hits)
    for sample, found in zip(dataset.samples, detections, strict=True):
        instances += np.bincount(sample.classes[~sample.crowd], minlength=count)
        for label in np.unique(found.classes).tolist():
            sorted_out = sort_detections(sample, found, label, iou)
            scores = found.scores[found.classes == label].astype(np.float32)
            above = scores[:, None] > grid
            hits[label] += above[sorted_out.hits].sum(axis=0)
            false[label] += above[sorted_out.false].sum(axis=0)
    names = dataset.class_names
    return ConfidenceCurves(
        iou=iou,
        instances=dict(zip(names, instances.tolist(), strict=True)),
        hits=dict(zip(names, hits, strict=True)),
        false=dict(zip(names, false, strict=True)),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
