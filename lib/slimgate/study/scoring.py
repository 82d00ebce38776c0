"""The accuracy stage: every case over every evaluated set, by one evaluator and one protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slimgate.errors import SlimgateError
from slimgate.study.broken import score_broken
from slimgate.study.compare import add_score_shift, compare_with_torch
from slimgate.study.measuring import add_executed_shares, also_record
from slimgate.study.prepare import Prepared
from slimgate.study.work import FIRST_SET, CaseWork


def measure_accuracy(
    prepared: Prepared,
    works: Sequence[CaseWork],
    progress: Callable[[int, int, str], object],
) -> dict[str, dict[str, float]]:
    """Add accuracy, detections and parity to the record of every case that can be run here.

    Returns:
        What the reference scores when it is broken on purpose, by how; empty without a reference.
    """
    from slimgate.data import ImageCache
    from slimgate.measure import evaluate_runner

    study, dataset, also = prepared.study, prepared.dataset, prepared.also
    measurable = [work for work in works if work.measurable]
    images = len(dataset) + sum(len(other) for other in also.values())
    total = len(measurable) * images
    broken: dict[str, dict[str, float]] = {}
    cache = ImageCache()
    for index, work in enumerate(measurable):
        done = index * images

        def advance(count: int, work: CaseWork = work) -> None:
            nonlocal done
            done += count
            progress(done, total, str(work.case))

        protocol = prepared.protocol_of(work.spec)
        try:
            with prepared.open(work.spec, work.runtime) as runner:
                work.record["provider"] = runner.provider
                work.record["runner"] = runner.describe()
                add_executed_shares(work.record, runner)
                evaluation = evaluate_runner(runner, dataset, protocol, progress=advance, cache=cache)
                others = {
                    name: evaluate_runner(runner, other, protocol, progress=advance, cache=cache)
                    for name, other in also.items()
                }
                if runner.nms is None:  # rows of detections have no positions to compare
                    work.record["parity"] = compare_with_torch(
                        prepared.builder.variant(work.spec).detector,
                        runner,
                        dataset,
                        threads=study.threads,
                    )
        except SlimgateError as error:
            work.fail(error)
            continue
        work.deployed, work.everything = evaluation.deployed, evaluation.everything
        work.matches = {name: one.matches for name, one in {FIRST_SET: evaluation, **others}.items()}
        work.record.update(evaluation.to_json())
        if others:
            work.record["also"] = {name: also_record(also[name], one) for name, one in others.items()}
        if work.spec is study.reference and not broken:
            sets = [("", dataset, evaluation), *((name, also[name], others[name]) for name in also)]
            broken = score_broken(sets, protocol)
        add_score_shift(study, works, work)
        if work.spec is not study.reference:
            # Tens of megabytes a case at thousands of images; only references are looked at again.
            work.everything = ()
    for work in works:
        work.everything = ()
    return broken
