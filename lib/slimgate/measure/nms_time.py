"""Suppression timed on stored candidates: the same boxes on every machine, in every run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from slimgate.detect import Candidates, nms
from slimgate.errors import unknown_name
from slimgate.measure.pairs import refuse_workers

CANDIDATE_SETS = ("few", "typical", "crowded")
"""Stored sets by size, see ``stored_candidates``."""

STEPS_PER_PIXEL = 16
"""Resolution of the stored coordinates."""

Suppress = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class NmsTime:
    """How long suppression took on one stored set.

    Attributes:
        candidates: how many boxes went in.
        kept: how many came out.
        samples_s: seconds of every run, in order.
    """

    candidates: int
    kept: int
    samples_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median of the samples, seconds."""
        return float(np.median(self.samples_s))

    def to_json(self) -> dict[str, Any]:
        """Return one entry of the ``nms`` part of a case record."""
        return {
            "candidates": self.candidates,
            "kept": self.kept,
            "median_s": self.median_s,
            "samples_s": list(self.samples_s),
        }


@cache
def stored_candidates(name: str) -> Candidates:
    """Return a stored candidate set: what the official YOLOv5n (80 classes) emitted for pictures of coco128.

    ``few``: one street at 640 pixels, confidence .25, best class only. ``typical``: the same street at .001,
    every class. ``crowded``: four crowded pictures tiled to 1280 pixels, at .001, every class. Coordinates
    are stored in 1/16 pixel and scores in half precision, so equal scores occur, as they do in FP16
    engines.

    Args:
        name: one of ``CANDIDATE_SETS``.

    Raises:
        UsageError: there is no such set.
    """
    if name not in CANDIDATE_SETS:
        raise unknown_name("candidate set", name, CANDIDATE_SETS)
    source = resources.files("slimgate.measure").joinpath("candidates.npz")
    with source.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        boxes = stored[f"{name}_boxes"].astype(np.float32) / STEPS_PER_PIXEL
        scores = stored[f"{name}_scores"].astype(np.float32)
        classes = stored[f"{name}_classes"].astype(np.int32)
    return Candidates(boxes=boxes, scores=scores, classes=classes)


def measure_nms(
    *,
    rounds: int = 31,
    iou: float = 0.6,
    max_det: int = 300,
    suppress: Suppress = nms,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Mapping[str, NmsTime]:
    """Return the time of suppression on each stored candidate set, by name.

    Args:
        rounds: runs per set, after a warm-up.
        iou: as in ``slimgate.detect.nms``.
        max_det: as in ``slimgate.detect.nms``.
        suppress: the implementation, with the signature of ``slimgate.detect.nms``.
        clock: returns nanoseconds; replaced in tests.

    Raises:
        UsageError: under pytest-xdist.
    """
    refuse_workers()
    times = {}
    for name in CANDIDATE_SETS:
        found = stored_candidates(name)
        samples = []
        kept = suppress(found.boxes, found.scores, found.classes, iou=iou, max_det=max_det)
        for _ in range(rounds):
            began = clock()
            suppress(found.boxes, found.scores, found.classes, iou=iou, max_det=max_det)
            samples.append((clock() - began) / 1e9)
        times[name] = NmsTime(candidates=len(found), kept=len(kept), samples_s=tuple(samples))
    return times
