"""What people have said about a judgement, and the state of the files that it went by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from slimgate.flow import Case
from slimgate.gate import Judgement, Waiver, apply_waivers, find_untidy
from slimgate.study.spec import Study, list_studies


def settle_judgement(
    judgement: Judgement,
    study: Study,
    golden: Path,
    waivers: Sequence[Waiver],
    *,
    cases: Collection[Case],
    today: date,
    devices: Collection[str],
) -> Judgement:
    """Return a judgement with its waivers applied, and with what is untidy about the study's golden files.

    Args:
        judgement: the verdicts.
        study: what was run.
        golden: the ``golden`` folder.
        waivers: of any study.
        cases: the cases that were selected; fewer than the study's cannot show what is unused.
        today: the day of the run.
        devices: the keys of this machine's devices.

    Raises:
        InputError: a floors file or a record cannot be read.
    """
    full = set(cases) == set(study.cases)
    judgement = apply_waivers(judgement, waivers, cases=cases, full=full, today=today, devices=devices)
    untidy = find_untidy(
        golden,
        study.id,
        judgement,
        cases=study.cases if full else None,
        studies=list_studies(study, golden),
        waivers=waivers,
    )
    return replace(judgement, findings=(*judgement.findings, *untidy))
