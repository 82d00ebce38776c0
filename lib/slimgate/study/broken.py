"""The reference, broken on purpose: what floors of accuracy are held against to see that they mean something."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from slimgate.measure.metrics import name_of_set
from slimgate.study.measuring import accuracy_values

if TYPE_CHECKING:
    from slimgate.data import Dataset
    from slimgate.detect import Protocol
    from slimgate.measure import Evaluation

_NO_SCALE = ("partial", "best_f1")
"""A broken detector need not be bad at these: it has no near misses, and its best F1 is not measured."""


def score_broken(
    sets: Iterable[tuple[str, Dataset, Evaluation]], protocol: Protocol
) -> dict[str, dict[str, float]]:
    """Return what the reference scores when it is broken, by the way it is broken, then by metric.

    Args:
        sets: name (empty for the study's first set), images, and what the intact reference did on them.
        protocol: what they were evaluated with.
    """
    from slimgate.measure.broken import broken_records

    scores: dict[str, dict[str, float]] = {}
    for name, dataset, evaluation in sets:
        ways = broken_records(dataset, evaluation.everything, evaluation.deployed, protocol)
        for how, record in ways.items():
            scores.setdefault(how, {}).update(
                (name_of_set(metric, name) if name else metric, float(value))
                for metric, value in accuracy_values(record)
                if metric not in _NO_SCALE
            )
    return scores
