"""``run.json``: what a run was of, on what, and where."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slimgate.flow import Json
from slimgate.gate import CASE_FORMAT, RUN_FORMAT
from slimgate.study.prepare import Prepared
from slimgate.study.work import CaseWork


@dataclass(kw_only=True)
class RunFacts:
    """What a run knows about itself beside its cases.

    Attributes:
        run_id: distinct for every run.
        expression: ``-k``.
        timing: whether latency was measured.
        started: when.
        began: the same on the monotonic clock, seconds.
        seconds: of each finished stage.
        device: key of the machine's CPU.
        environment: machine, versions and commit.
        broken: what the reference scores when it is broken on purpose.
        trainings: training stages by key; cases name theirs.
        project: which golden folder it was judged by; see ``slimgate.study.project``.
        strict_floors: whether a floor that has fallen behind fails the run.
    """

    run_id: str
    expression: str
    timing: bool
    started: datetime.datetime
    began: float
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = ""
    environment: Mapping[str, Json] = field(default_factory=dict)
    broken: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trainings: dict[str, Json] = field(default_factory=dict)
    project: Mapping[str, Json] | None = None
    strict_floors: bool = False

    @property
    def full(self) -> bool:
        """Whether every case of the study ran."""
        return not self.expression.strip()


def begin_record(work: CaseWork) -> dict[str, Json]:
    """Return the first lines of a case record: what the study says about the case."""
    return {
        "format": CASE_FORMAT,
        "case": str(work.case),
        "variant": work.spec.name,
        "about": work.spec.about,
        "runtime": work.runtime,
        "precision": work.spec.precision.value,
        "operations": list(work.spec.operations),
    }


def describe_run(
    facts: RunFacts, prepared: Prepared, works: Sequence[CaseWork], pictures: Mapping[str, Json]
) -> dict[str, Json]:
    """Return ``run.json``.

    Args:
        facts: what the run knows about itself.
        prepared: the study's inputs.
        works: the selected cases, and those that they were compared with.
        pictures: entries of the pictures that the report shows, by image id.
    """
    study, detector, dataset = prepared.study, prepared.builder.detector, prepared.dataset
    baseline = next((one for one in works if one.spec is study.reference and one.measurable), None)
    calibration = prepared.builder.calibration
    selected = [work for work in works if not work.companion]
    return {
        "format": RUN_FORMAT,
        "run_id": facts.run_id,
        "project": facts.project,
        "study": {
            "id": study.id,
            "title": study.title,
            "evaluation": study.evaluation,
            "also": list(study.also),
            "calibration": study.calibration if calibration else None,
            "calibration_images": len(calibration.paths) if calibration else 0,
            "required": list(study.required_metrics),
        },
        "detector": {
            "name": detector.name,
            "family": detector.family.value,
            "source": detector.source,
            "image_size": detector.image_size,
            "weights_sha256": detector.weights_sha256,
            "training": dict(detector.training),
        },
        "dataset": {
            "name": dataset.name,
            "images": len(dataset),
            "sha256": dataset.sha256,
            "notes": dataset.notes,
        },
        "class_names": list(detector.class_names),
        "protocol": prepared.protocol.to_json(),
        "baseline": str(baseline.case) if baseline else None,
        "broken": facts.broken,
        "cases": [str(work.case) for work in selected],
        "companions": [str(work.case) for work in works if work.companion],
        "titles": {str(work.case): work.spec.about for work in selected},
        "device": facts.device,
        "environment": facts.environment,
        "git": facts.environment.get("git", {}),
        "started": facts.started.isoformat(timespec="seconds"),
        "seconds": time.monotonic() - facts.began,
        "stage_seconds": facts.seconds,
        "filter": facts.expression,
        "complete": facts.full and facts.timing,
        "strict_floors": facts.strict_floors,
        "pictures": pictures,
        "trainings": facts.trainings,
        "search": dict(study.search),
    }
