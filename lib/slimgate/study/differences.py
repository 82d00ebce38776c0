"""Every case against the cases that it is compared with, from the stored matches: no network runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from slimgate.flow import Case, Json
from slimgate.gate import Floors
from slimgate.study.spec import Study
from slimgate.study.work import FIRST_SET, CaseWork, find_reference

if TYPE_CHECKING:
    from slimgate.measure import Resampled


def add_differences(study: Study, works: Sequence[CaseWork], floors: Floors) -> None:
    """Add the ``differences`` part to every record whose case has something to be compared with.

    Each case is held against the study's FP32 reference first, then against the run's baseline, the cases that its
    floors are relative to, and its controls.
    """
    from slimgate.measure import compare_resampled, resample_metrics

    resampled: dict[tuple[Case, str], Resampled] = {
        (work.case, name): resample_metrics(matches)
        for work in works
        for name, matches in work.matches.items()
    }
    for work in works:
        if work.companion:
            continue
        references = list(dict.fromkeys(_list_references(study, works, work, floors)))
        for name in work.matches:
            entries: list[Json] = [
                {
                    "reference": str(reference),
                    **compare_resampled(resampled[reference, name], resampled[work.case, name]).to_json(),
                }
                for reference in references
                if reference != work.case and _is_comparable(resampled, name, reference, work.case)
            ]
            if entries:
                part = work.record if name == FIRST_SET else work.record["also"][name]
                part["differences"] = entries


def _is_comparable(
    resampled: Mapping[tuple[Case, str], Resampled], name: str, one: Case, other: Case
) -> bool:
    """Return whether both were measured under one protocol: a file that suppresses inside has settings of its own."""
    if (one, name) not in resampled:
        return False
    protocols = [resampled[case, name].made_from["protocol"] for case in (one, other)]
    return bool(protocols[0] == protocols[1])


def _list_references(
    study: Study, works: Sequence[CaseWork], work: CaseWork, floors: Floors
) -> Iterator[Case]:
    reference = find_reference(study, works, work)
    if reference is not None:
        yield reference.case
    yield from [one.case for one in works if one.spec is study.reference and one.measurable][:1]
    for floor in floors.floors:
        if floor.case == work.case and floor.relative_to is not None:
            yield floor.relative_to
    for variant in work.spec.controls.values():
        yield Case(study=study.id, variant=variant, runtime=work.case.runtime)
