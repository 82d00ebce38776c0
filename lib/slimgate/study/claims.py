"""What each case of a run claims to gain, from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slimgate.flow import Artifact, Case, Precision
from slimgate.gate import Claim
from slimgate.study.multiplicity import read_simultaneous
from slimgate.study.spec import Study
from slimgate.study.work import CaseWork, name_same_in_float

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


def list_claims(works: Sequence[CaseWork], *, original_parameters: int) -> list[Claim]:
    """Return the claims of every selected case that was measured.

    INT8 and BF16 are there to be faster than the same network in FP32 (without one in the study, than the original),
    INT8 than FP16 as well where a runtime computes in it, FP16 to be smaller; fewer channels, and zeros, to be faster
    than the original. A variant whose study says why it gains nothing claims nothing.
    """
    return [
        claim
        for work in works
        if not (work.failed or work.companion or work.spec.no_gain)
        for claim in _claims(work, original_parameters)
    ]


def _claims(work: CaseWork, original_parameters: int) -> Iterator[Claim]:
    same = work.record.get("same_network", {})
    precision = work.spec.precision
    if precision is Precision.FP16 and "size_ratio" in same:
        yield Claim(
            case=work.case,
            what="fp16",
            gain="smaller",
            against=Case.parse(same["case"]),
            batch=0,
            ratio=same["size_ratio"],
        )
    what = _what_is_faster(work, original_parameters)
    if not what:
        return
    for name, entry in work.record.get("latency", {}).items():
        batch = int(name.removeprefix("batch"))
        chosen = entry
        if what in _REPLACING and same and same["case"] != entry["baseline"]:
            # Under -k the network in FP32 may not have been measured; another baseline would answer another question.
            chosen = entry.get("same")
        if chosen is not None and chosen["baseline"] != str(work.case):
            yield _faster(work.case, what, batch, chosen)
        if "fp16" in entry:
            yield _faster(work.case, "int8_fp16", batch, entry["fp16"])


def _what_is_faster(work: CaseWork, original_parameters: int) -> str:
    if work.spec.precision.value in _REPLACING:
        return work.spec.precision.value
    if _count(work, "nonzero_parameters") < _SPARSE_BELOW * _count(work, "parameters"):
        return "sparse"
    return "slim" if _count(work, "parameters") < original_parameters else ""


def _faster(case: Case, what: str, batch: int, entry: Mapping[str, Any]) -> Claim:
    return Claim(
        case=case,
        what=what,
        gain="faster",
        against=Case.parse(entry["baseline"]),
        batch=batch,
        ratio=entry["ratio"],
        interval=(entry["interval"][0], entry["interval"][1]),
        simultaneous=read_simultaneous(entry)[0],
        control=(entry["control"]["interval"][0], entry["control"]["interval"][1]),
        why_invalid=entry.get("why_invalid") or entry.get("why_no_claim", ""),
    )


def _count(work: CaseWork, name: str) -> int:
    return int(work.record.get("model", {}).get(name, 0))
