"""The cases that the selected ones are compared with: measured beside them, and not judged themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from slimgate.flow import Case
from slimgate.gate import Floors
from slimgate.study.prepare import expand_cases
from slimgate.study.spec import Study, VariantSpec, float32_runtime
from slimgate.study.work import CaseWork, name_same_in_float, name_same_in_half


def list_works(study: Study, selected: Collection[Case], floors: Floors) -> list[CaseWork]:
    """Return the works of the selected cases and of their companions, in the study's order.

    Companions are the FP32 references, the run's baseline (from which broken detectors are made), the same networks in
    float and, where INT8 has to beat it, in FP16, the cases that floors are relative to, and what all of these need in
    turn. With them a case that is run by itself is judged as it was in the whole run.
    """
    works = {
        case: CaseWork(case=case, spec=spec, runtime=runtime) for case, spec, runtime in expand_cases(study)
    }
    needed, waiting = set(selected), list(selected)
    while waiting:
        for case in _list_needs(study, works[waiting.pop()], floors):
            if case in works and case not in needed:
                needed.add(case)
                waiting.append(case)
    for case, work in works.items():
        work.companion = case not in selected
    return [work for case, work in works.items() if case in needed]


def _list_needs(study: Study, work: CaseWork, floors: Floors) -> Iterator[Case]:
    plain, own = float32_runtime(work.runtime), study.reference.runtimes
    if work.spec is not study.reference:
        yield from _until_available(
            study, [name for name in (plain, plain.removesuffix("-cudagraph")) if name in own]
        )
    yield from _until_available(study, own)
    halves = (name_same_in_half(study, work, batch) for batch in work.spec.batches)
    for same in (name_same_in_float(study, work), *halves):
        if same is not None:
            yield same
    for floor in floors.floors:
        if floor.case == work.case and floor.relative_to is not None:
            yield floor.relative_to


def _until_available(study: Study, runtimes: Collection[str]) -> Iterator[Case]:
    """Yield the FP32 reference in each runtime, up to the first that this machine has."""
    from slimgate.runtime import get_runtime

    spec: VariantSpec = study.reference
    for runtime in runtimes:
        yield Case(study=study.id, variant=spec.name, runtime=spec.runtime_label(runtime))
        if get_runtime(runtime).why_unavailable() is None:
            return
