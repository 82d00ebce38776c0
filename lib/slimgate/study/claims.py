"""What each case of a run claims to gain, from its record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slimgate.flow import Artifact, Case, Precision
from slimgate.gate import Claim
from slimgate.study.multiplicity import read_simultaneous
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, name_same_in_float, name_same_in_half

_SPARSE_BELOW = 0.98
"""Share of non-zero parameters under which zeros were made: trained weights have a few of their own."""

_REPLACING = (Precision.INT8.value, Precision.BF16.value)
"""Precisions that are there to be faster than the same network in FP32."""


def add_same_network(study: Study, works: Sequence[CaseWork]) -> None:
    """Note in every FP16, BF16 and INT8 record the FP32 case that it replaces, and the bytes against it."""
    by_case = {work.case: work for work in works}
    for work in works:
        name = name_same_in_float(study, work)
        if name is None:
            continue
        entry: dict[str, Any] = {"case": str(name)}
        same = by_case.get(name)
        if same is not None and same.artifact is not None and work.artifact is not None:
            entry["size_ratio"] = _weighed_bytes(work.artifact) / _weighed_bytes(same.artifact)
        work.record["same_network"] = entry


def _weighed_bytes(artifact: Artifact) -> int:
    """Return the bytes of a file, and of an engine those of its weights: a small network's kernels outweigh them."""
    weights = artifact.facts.get("weight_memory_bytes")
    return artifact.size_bytes if weights is None else int(weights)


def list_claims(
    study: Study, works: Sequence[CaseWork], *, original_parameters: int, timed: bool
) -> list[Claim]:
    """Return the claims of every selected case that was measured.

    INT8 and BF16 are there to be faster than the same network in FP32 (without one in the study, than the original),
    INT8 than FP16 as well where a runtime computes in it, FP16 to be smaller; fewer channels, and zeros, to be faster
    than the original. A variant whose study says why it gains nothing claims nothing. A claim whose other side broke
    is there all the same, and says why it cannot be judged: under ``-k`` the other side has no verdict of its own.

    Args:
        study: what the cases are of.
        works: the cases, companions included.
        original_parameters: of the study's detector.
        timed: whether times were measured; where not, nothing is claimed of them.
    """
    return [
        claim
        for work in works
        if not (work.failed or work.companion or work.spec.no_gain)
        for claim in (
            *_sizes(works, work),
            *(_times(study, works, work, original_parameters) if timed else ()),
        )
    ]


def _sizes(works: Sequence[CaseWork], work: CaseWork) -> Iterator[Claim]:
    same = work.record.get("same_network", {})
    if work.spec.precision is not Precision.FP16 or not same or work.artifact is None:
        return
    against = Case.parse(same["case"])
    ratio = same.get("size_ratio")
    yield Claim(
        case=work.case,
        what="fp16",
        gain="smaller",
        against=against,
        batch=0,
        ratio=math.nan if ratio is None else ratio,
        why_invalid=_why_missing(works, against, "built") if ratio is None else "",
    )


def _times(
    study: Study, works: Sequence[CaseWork], work: CaseWork, original_parameters: int
) -> Iterator[Claim]:
    what = _what_is_faster(work, original_parameters)
    if not what or not work.measurable:
        return
    for batch in work.spec.batches:
        entry = work.record.get("latency", {}).get(f"batch{batch}", {})
        against, chosen = _held_against(study, work, what, entry)
        if against != work.case:
            yield _faster(works, work.case, what, batch, against, chosen)
        half = name_same_in_half(study, work, batch)
        if half is not None:
            yield _faster(works, work.case, "int8_fp16", batch, half, entry.get("fp16"))


def _held_against(
    study: Study, work: CaseWork, what: str, entry: Mapping[str, Any]
) -> tuple[Case, Mapping[str, Any] | None]:
    """Return the case that the claim is held against, and the comparison with it; None where it was not timed."""
    same = work.record.get("same_network", {})
    if what in _REPLACING and same and same["case"] != entry.get("baseline"):
        # Another baseline would answer another question.
        return Case.parse(same["case"]), entry.get("same")
    if entry:
        return Case.parse(entry["baseline"]), entry
    runtime = study.reference.runtimes[0]
    label = study.reference.runtime_label(runtime)
    return Case(study=study.id, variant=study.reference.name, runtime=label), None


def _what_is_faster(work: CaseWork, original_parameters: int) -> str:
    if work.spec.precision.value in _REPLACING:
        return work.spec.precision.value
    if _count(work, "nonzero_parameters") < _SPARSE_BELOW * _count(work, "parameters"):
        return "sparse"
    return "slim" if _count(work, "parameters") < original_parameters else ""


def _faster(
    works: Sequence[CaseWork],
    case: Case,
    what: str,
    batch: int,
    against: Case,
    entry: Mapping[str, Any] | None,
) -> Claim:
    claim = Claim(case=case, what=what, gain="faster", against=against, batch=batch, ratio=math.nan)
    if entry is None:
        return dataclasses.replace(claim, why_invalid=_why_missing(works, against, "timed"))
    return dataclasses.replace(
        claim,
        ratio=entry["ratio"],
        interval=(entry["interval"][0], entry["interval"][1]),
        simultaneous=read_simultaneous(entry)[0],
        control=(entry["control"]["interval"][0], entry["control"]["interval"][1]),
        why_invalid=entry.get("why_invalid") or entry.get("why_no_claim", ""),
    )


def _why_missing(works: Sequence[CaseWork], against: Case, done: str) -> str:
    why = next(
        (one.failed or one.not_proven for one in works if one.case == against), "it is not in this run"
    )
    return f"{against} was not {done}" + (f": {why}" if why else "")


def _count(work: CaseWork, name: str) -> int:
    return int(work.record.get("model", {}).get(name, 0))
