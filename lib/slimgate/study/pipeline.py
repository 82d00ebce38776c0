"""The whole flow for one study: compress, export, measure, judge, report."""

from __future__ import annotations

import datetime
import gc
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slimgate.errors import SlimgateError, UnavailableError, UsageError
from slimgate.flow import Json, Measurement, Precision
from slimgate.gate import (
    Floors,
    Judgement,
    Matrix,
    Records,
    Waiver,
    judge_run,
    load_every_record,
    load_floors,
    load_records,
    load_waivers,
)
from slimgate.study.claims import add_same_network, list_claims
from slimgate.study.companions import list_works
from slimgate.study.describe import RunFacts, begin_record, describe_run
from slimgate.study.differences import add_differences
from slimgate.study.directory import RunWriter
from slimgate.study.measuring import (
    artifact_record,
    count_model,
    list_measurements,
)
from slimgate.study.origin import add_origin
from slimgate.study.pictures import choose_pictures, detections_to_json
from slimgate.study.prepare import prepare_study
from slimgate.study.project import describe_project
from slimgate.study.scoring import measure_accuracy
from slimgate.study.select import select_cases
from slimgate.study.settle import settle_judgement
from slimgate.study.spec import Study
from slimgate.study.store import Store
from slimgate.study.timing import measure_latency, measure_suppression
from slimgate.study.work import CaseWork, one_line

Progress = Callable[[str, int, int, str], object]
"""Called with the stage's name, how much of it is done, how much there is, and what is being worked on."""

PREPARE, BUILD, ACCURACY, LATENCY, NMS, REPORT = STAGES = (
    "prepare",
    "compress and export",
    "accuracy",
    "latency",
    "NMS",
    "judge and report",
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        directory: the run directory.
        judgement: the verdicts.
        report: the HTML report.
    """

    directory: Path
    judgement: Judgement
    report: Path


def run_study(
    study: Study,
    out: Path,
    *,
    golden: Path,
    expression: str = "",
    timing: bool = True,
    strict_floors: bool = False,
    progress: Progress = lambda stage, done, total, note: None,
    store: Store | None = None,
) -> Run:
    """Run a study and return its run.

    Args:
        study: what to run.
        out: the run directory; must not exist. It appears whole or not at all.
        golden: the folder with ``floors`` and ``records``.
        expression: ``-k``: run only the cases whose id it matches.
        timing: measure latency; off where other processes share the cores (pytest-xdist).
        strict_floors: note in the run that floors are strict, for its report to say what that makes red.
        progress: is told how far each stage is.
        store: keeps artifacts between runs.

    Raises:
        SlimgateError: the study's inputs cannot be used; a single case that breaks is a verdict instead.
    """
    if out.exists():
        raise UsageError(
            str(out), found="exists already", expected="a new run directory", action="choose another --out"
        )
    with RunWriter(out) as writer:
        flow = _Flow(study, golden, progress, expression=expression, timing=timing)
        flow.facts.strict_floors = strict_floors
        judgement = flow.run(writer, store or Store())
        progress(REPORT, 0, 1, "")
        from slimgate.report import write_report

        report = write_report(writer.directory)
        progress(REPORT, 1, 1, "")
    return Run(directory=out, judgement=judgement, report=out / report.name)


class _Flow:
    def __init__(
        self,
        study: Study,
        golden: Path,
        progress: Progress,
        *,
        expression: str,
        timing: bool,
    ) -> None:
        self.study, self.golden, self.progress = study, golden, progress
        started = datetime.datetime.now(datetime.UTC)
        self.facts = RunFacts(
            run_id=f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            expression=expression,
            timing=timing,
            started=started,
            began=time.monotonic(),
            project=describe_project(study, golden),
        )
        self.selected = select_cases(study.cases, expression)

    def read_machine(self) -> None:
        from slimgate.measure import device_key, environment

        self.devices = {"cpu": device_key(), "gpu": device_key("gpu")}
        self.facts.device = self.devices["cpu"]
        # The study's own repository: the current folder may be in another one.
        self.facts.environment = environment(self.study.own_files, folder=self.study.path.parent)

    def read_golden(self) -> tuple[Floors, Records, tuple[Waiver, ...]]:
        devices = set(self.devices.values())
        read = (
            load_floors(self.golden, self.study.id, device=devices),
            load_records(self.golden, self.study.id, device=devices),
            load_waivers(self.golden, today=self.facts.started.date()),
        )
        # Looked at when everything is judged; a broken one must stop the run now, and not then.
        load_every_record(self.golden, self.study.id)
        return read

    def run(self, writer: RunWriter, store: Store) -> Judgement:
        with self.stage(PREPARE):
            self.read_machine()
            floors, records, waivers = self.read_golden()
            self.works = list_works(self.study, self.selected, floors)
            self.prepared = prepare_study(
                self.study,
                [work.case for work in self.works],
                store=store,
                progress=partial(self.progress, PREPARE),
            )
        with self.stage(BUILD):
            self.build()
        with self.stage(ACCURACY):
            self.facts.broken = measure_accuracy(self.prepared, self.works, partial(self.progress, ACCURACY))
            add_differences(self.study, self.works, floors)
        if self.facts.timing:
            gc.collect()  # what evaluation left behind is not collected inside a timed call
            with self.stage(LATENCY):
                measure_latency(self.prepared, self.works, floors, partial(self.progress, LATENCY))
            with self.stage(NMS):
                measure_suppression(self.prepared, self.works, partial(self.progress, NMS))
        measurements = self.measurements()
        judgement = settle_judgement(
            judge_run(measurements, floors, records, self.matrix()),
            self.study,
            self.golden,
            waivers,
            cases=self.selected,
            today=self.facts.started.date(),
            devices=set(self.devices.values()),
        )
        own = [one for one in measurements if one.case in self.selected]
        self.write(writer, own, judgement)
        return judgement

    def matrix(self) -> Matrix:
        from slimgate.model import count_parameters

        original = count_parameters(self.prepared.builder.detector.module).total
        return Matrix(
            cases=self.selected,
            full=self.facts.full,
            required=self.study.required_metrics,
            not_proven={work.case: work.not_proven for work in self.works if work.not_proven},
            failed={work.case: work.failed for work in self.works if work.failed},
            companions=[work.case for work in self.works if work.companion],
            run_id=self.facts.run_id,
            reproduce=f"slimgate study {self.study.argument}",
            timed=self.facts.timing,
            claims=list_claims(self.study, self.works, original_parameters=original, timed=self.facts.timing),
            broken=self.facts.broken,
        )

    def write(self, writer: RunWriter, measurements: Sequence[Measurement], judgement: Judgement) -> None:
        pictures = self.add_pictures(writer)
        for work in self.works:
            if work.companion:
                continue
            if work.matches:
                work.record["matches"] = writer.write_matches(work.case, work.matches)
            writer.write_case(work.case, work.record)
        run = describe_run(self.facts, self.prepared, self.works, pictures)
        writer.write_run(run, measurements, judgement)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.facts.seconds[name] = time.monotonic() - began

    def build(self) -> None:
        from slimgate.measure import require_gpu_key
        from slimgate.runtime import get_runtime

        builder = self.prepared.builder
        for index, work in enumerate(self.works):
            self.progress(BUILD, index, len(self.works), str(work.case))
            work.record = begin_record(work)
            runtime = get_runtime(work.runtime)
            reason = runtime.why_unavailable()
            try:
                if runtime.device == "gpu" and not reason:
                    require_gpu_key(self.devices["gpu"])
                detector = builder.variant(work.spec).detector
                work.record["model"] = count_model(detector)
                trainings = {} if work.companion else self.facts.trainings
                add_origin(work.record, work.spec, detector, builder.detector, trainings)
                work.artifact = builder.artifact(work.spec, work.runtime)
                work.record["artifact"] = artifact_record(work.artifact)
                work.record["lineage"] = [step.to_json() for step in work.artifact.lineage]
            except UnavailableError as error:
                work.leave_out(one_line(error))
            except SlimgateError as error:
                work.fail(error)
            if reason and work.measurable:
                work.leave_out(f"built, not run: {reason}")
        add_same_network(self.study, self.works)
        self.progress(BUILD, len(self.works), len(self.works), "")

    def measurements(self) -> list[Measurement]:
        from slimgate.runtime import get_runtime

        return [
            measurement
            for work in self.works
            if not work.failed
            for measurement in list_measurements(
                work.case,
                work.record,
                artifact=work.artifact,
                provenance=self.provenance(work),
                device=self.devices[get_runtime(work.runtime).device],
            )
        ]

    def provenance(self, work: CaseWork) -> dict[str, Json]:
        builder, artifact = self.prepared.builder, work.artifact
        calibration = builder.calibration if work.spec.precision is Precision.INT8 else None
        return {
            "weights_sha256": builder.base(work.spec).weights_sha256,
            "artifact_sha256": artifact.sha256 if artifact else None,
            "dataset_sha256": self.prepared.dataset.sha256,
            "images": len(self.prepared.dataset),
            "protocol": self.prepared.protocol_of(work.spec).to_json(),
            "calibration_sha256": calibration.sha256 if calibration else None,
            "lineage": [step.to_json() for step in artifact.lineage] if artifact else [],
            "versions": self.facts.environment["versions"],
            "git_commit": self.facts.environment.get("git", {}).get("commit"),
            "machine": self.devices["cpu"],
        }

    def add_pictures(self, writer: RunWriter) -> Mapping[str, Json]:
        shown = [work for work in self.works if work.deployed and not work.companion]
        runs = {str(work.case): work.deployed for work in shown}
        entries: dict[str, Json] = {}
        for index in choose_pictures(self.prepared.dataset, runs, count=self.study.pictures):
            sample = self.prepared.dataset.samples[index]
            name = str(sample.image_id)
            entries[name] = writer.write_picture(sample)
            for work in shown:
                of_case = work.record.setdefault("pictures", {})
                of_case[name] = detections_to_json(work.deployed[index])
        return entries
