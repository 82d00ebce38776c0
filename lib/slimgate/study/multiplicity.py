"""How many comparisons of times a study makes, and what each must show so that all may be relied on at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slimgate.flow import Json
from slimgate.study.prepare import expand_cases
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, name_same_in_float, name_same_in_half

if TYPE_CHECKING:
    from slimgate.measure import PairResult


def count_comparisons(study: Study) -> int:
    """Return how many comparisons of times a whole run of a study makes.

    One for every batch size of every case: against the original in FP32, or of the original with itself. One more for
    every batch size of an FP16, BF16 or INT8 case whose network the study also has in FP32, where that is not the
    original, and of an INT8 case that is held against FP16. What another tool's INT8 takes beside ours is not judged,
    and not counted.

    The study's file alone says it, before anything is measured: a case is judged alike with ``-k`` and without, and
    whether this machine has what its other cases need changes no verdict.
    """
    return sum(
        _comparisons_of(study, CaseWork(case=case, spec=spec, runtime=runtime))
        for case, spec, runtime in expand_cases(study)
    )


def _comparisons_of(study: Study, work: CaseWork) -> int:
    same = name_same_in_float(study, work)
    in_float = same is not None and same.variant != study.reference.name
    batches = work.spec.batches
    in_half = sum(name_same_in_half(study, work, batch) is not None for batch in batches)
    return len(batches) * (1 + in_float) + in_half


def simultaneous_entry(result: PairResult, comparisons: int) -> dict[str, Json]:
    """Return the ``simultaneous`` part of a ``latency`` entry: no interval where the rounds are too few for one."""
    low, high = result.simultaneous_interval(comparisons)
    return {"comparisons": comparisons, "interval": [low, high] if math.isfinite(high) else None}


def read_simultaneous(entry: Mapping[str, Any]) -> tuple[tuple[float, float] | None, int]:
    """Return what a ``latency`` entry says of all comparisons at once: the interval, and how many there are.

    None in records of before there was one.
    """
    part = entry.get("simultaneous")
    if part is None:
        return None, 1
    low, high = part["interval"] or (0.0, math.inf)
    return (float(low), float(high)), int(part["comparisons"])
