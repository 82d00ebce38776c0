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
from slimgate.flow import Case, Detector, Json, Measurement, Precision
from slimgate.gate import (
    CASE_FORMAT,
    RUN_FORMAT,
    Claim,
    Judgement,
    Matrix,
    judge_run,
    load_every_record,
    load_floors,
    load_records,
    load_waivers,
)
from slimgate.study.broken import score_broken
from slimgate.study.claims import add_same_network, list_claims
from slimgate.study.compare import add_score_shift, compare_with_torch
from slimgate.study.differences import add_differences
from slimgate.study.directory import RunWriter
from slimgate.study.measuring import (
    add_executed_shares,
    also_record,
    artifact_record,
    count_model,
    list_measurements,
)
from slimgate.study.origin import compare_widths, key_of_stages, list_stages
from slimgate.study.pictures import choose_pictures, detections_to_json
from slimgate.study.prepare import expand_cases, prepare_study
from slimgate.study.select import select_cases
from slimgate.study.settle import settle_judgement
from slimgate.study.spec import Study
from slimgate.study.store import Store
from slimgate.study.timing import measure_latency
from slimgate.study.work import FIRST_SET, CaseWork, one_line

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
        progress: is told how far each stage is.
        store: keeps artifacts between runs.

    Raises:
        SlimgateError: the study's inputs cannot be used; a single case that breaks is a verdict instead.
    """
    if out.exists():
        raise UsageError(
            str(out), found="exists already", expected="a new run directory", action="choose another --out"
        )
    cases = select_cases(study.cases, expression)
    with RunWriter(out) as writer:
        flow = _Flow(study, cases, progress, store or Store(), timing=timing)
        judgement = flow.run(writer, golden, expression)
        progress(REPORT, 0, 1, "")
        from slimgate.report import write_report

        report = write_report(writer.directory)
        progress(REPORT, 1, 1, "")
    return Run(directory=out, judgement=judgement, report=out / report.name)


class _Flow:
    def __init__(
        self, study: Study, cases: Sequence[Case], progress: Progress, store: Store, *, timing: bool
    ) -> None:
        self.study, self.progress, self.timing = study, progress, timing
        self.started = datetime.datetime.now(datetime.UTC)
        self.began = time.monotonic()
        self.run_id = f"{self.started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.seconds: dict[str, float] = {}
        self.trainings: dict[str, Json] = {}
        self.broken: dict[str, dict[str, float]] = {}
        self.works = [
            CaseWork(case=case, spec=spec, runtime=runtime)
            for case, spec, runtime in expand_cases(study)
            if case in cases
        ]
        with self.stage(PREPARE):
            self.prepared = prepare_study(study, cases, store=store, progress=partial(progress, PREPARE))
            self.read_machine()

    def read_machine(self) -> None:
        from slimgate.measure import device_key, environment

        self.devices = {"cpu": device_key(), "gpu": device_key("gpu")}
        self.environment = environment()

    def run(self, writer: RunWriter, golden: Path, expression: str) -> Judgement:
        devices = set(self.devices.values())
        floors = load_floors(golden, self.study.id, device=devices)
        records = load_records(golden, self.study.id, device=devices)
        waivers = load_waivers(golden, today=self.started.date())
        # Looked at when everything is judged; a broken one must stop the run now, and not then.
        load_every_record(golden, self.study.id)
        with self.stage(BUILD):
            self.build()
        with self.stage(ACCURACY):
            self.measure_accuracy()
            add_differences(self.study, self.works, floors)
        if self.timing:
            with self.stage(LATENCY):
                measure_latency(self.prepared, self.works, floors, partial(self.progress, LATENCY))
            with self.stage(NMS):
                self.measure_nms()
        measurements = self.measurements()
        judgement = judge_run(
            measurements,
            floors,
            records,
            Matrix(
                cases=[work.case for work in self.works],
                full=not expression.strip(),
                required=self.study.required_metrics,
                not_proven={work.case: work.not_proven for work in self.works if work.not_proven},
                failed={work.case: work.failed for work in self.works if work.failed},
                run_id=self.run_id,
                reproduce=f"slimgate study {self.study.argument}",
                timed=self.timing,
                claims=self.claims(),
                broken=self.broken,
            ),
        )
        judgement = settle_judgement(
            judgement,
            self.study,
            golden,
            waivers,
            cases=[work.case for work in self.works],
            today=self.started.date(),
        )
        pictures = self.add_pictures(writer)
        for work in self.works:
            if work.matches:
                work.record["matches"] = writer.write_matches(work.case, work.matches)
            writer.write_case(work.case, work.record)
        writer.write_run(self.describe(expression, pictures), measurements, judgement)
        return judgement

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        gc.collect()

    def build(self) -> None:
        from slimgate.runtime import get_runtime

        builder = self.prepared.builder
        for index, work in enumerate(self.works):
            self.progress(BUILD, index, len(self.works), str(work.case))
            work.record = {
                "format": CASE_FORMAT,
                "case": str(work.case),
                "variant": work.spec.name,
                "about": work.spec.about,
                "runtime": work.runtime,
                "precision": work.spec.precision.value,
                "operations": list(work.spec.operations),
            }
            reason = get_runtime(work.runtime).why_unavailable()
            try:
                detector = builder.variant(work.spec).detector
                work.record["model"] = count_model(detector)
                self.add_origin(work, detector)
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

    def add_origin(self, work: CaseWork, detector: Detector) -> None:
        original = self.prepared.builder.detector
        stages = list_stages(detector, original)
        if stages:
            key = key_of_stages(stages)
            self.trainings[key] = {"stages": stages}
            work.record["training"] = key
        widths = compare_widths(detector, original)
        if widths:
            work.record["widths"] = widths
        if work.spec.no_gain:
            work.record["no_gain"] = work.spec.no_gain
        if work.spec.controls:
            work.record["controls"] = dict(work.spec.controls)

    def measure_accuracy(self) -> None:
        from slimgate.measure import evaluate_runner

        dataset, also = self.prepared.dataset, self.prepared.also
        measurable = [work for work in self.works if work.measurable]
        images = len(dataset) + sum(len(other) for other in also.values())
        total = len(measurable) * images
        for index, work in enumerate(measurable):
            done = index * images

            def advance(count: int, work: CaseWork = work) -> None:
                nonlocal done
                done += count
                self.progress(ACCURACY, done, total, str(work.case))

            try:
                with self.prepared.open(work.spec, work.runtime) as runner:
                    work.record["provider"] = runner.provider
                    work.record["runner"] = runner.describe()
                    add_executed_shares(work.record, runner)
                    protocol = self.prepared.protocol_of(work.spec)
                    evaluation = evaluate_runner(runner, dataset, protocol, progress=advance)
                    others = {
                        name: evaluate_runner(runner, other, protocol, progress=advance)
                        for name, other in also.items()
                    }
                    if runner.nms is None:  # rows of detections have no positions to compare
                        work.record["parity"] = compare_with_torch(
                            self.prepared.builder.variant(work.spec).detector,
                            runner,
                            dataset,
                            threads=self.study.threads,
                        )
            except SlimgateError as error:
                work.fail(error)
                continue
            work.deployed, work.everything = evaluation.deployed, evaluation.everything
            work.matches = {name: one.matches for name, one in {FIRST_SET: evaluation, **others}.items()}
            work.record.update(evaluation.to_json())
            if others:
                work.record["also"] = {name: also_record(also[name], one) for name, one in others.items()}
            if work.spec is self.study.reference and not self.broken:
                sets = [("", dataset, evaluation), *((name, also[name], others[name]) for name in also)]
                self.broken = score_broken(sets, protocol)
        add_score_shift(self.study, self.works)

    def measure_nms(self) -> None:
        """Time suppression once: it is the same code for every case, on stored candidates."""
        from slimgate.measure import measure_nms

        self.progress(NMS, 0, 1, "stored candidate sets")
        reference = next(
            (one for one in self.works if one.spec is self.study.reference and one.measurable), None
        )
        if reference is not None:
            protocol = self.prepared.protocol
            timings = measure_nms(iou=protocol.iou, max_det=protocol.max_det)
            reference.record["nms"] = {name: timing.to_json() for name, timing in timings.items()}
        self.progress(NMS, 1, 1, "")

    def claims(self) -> list[Claim]:
        from slimgate.model import count_parameters

        original = count_parameters(self.prepared.builder.detector.module).total
        return list_claims(self.works, original_parameters=original)

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
            "versions": self.environment["versions"],
            "git_commit": self.environment.get("git", {}).get("commit"),
            "machine": self.devices["cpu"],
        }

    def add_pictures(self, writer: RunWriter) -> Mapping[str, Json]:
        runs = {str(work.case): work.deployed for work in self.works if work.deployed}
        entries: dict[str, Json] = {}
        for index in choose_pictures(self.prepared.dataset, runs, count=self.study.pictures):
            sample = self.prepared.dataset.samples[index]
            name = str(sample.image_id)
            entries[name] = writer.write_picture(sample)
            for work in self.works:
                if work.deployed:
                    shown = work.record.setdefault("pictures", {})
                    shown[name] = detections_to_json(work.deployed[index])
        return entries

    def describe(self, expression: str, pictures: Mapping[str, Json]) -> dict[str, Json]:
        """Return ``run.json``."""
        study, detector, dataset = self.study, self.prepared.builder.detector, self.prepared.dataset
        baseline = next((one for one in self.works if one.spec is study.reference and one.measurable), None)
        calibration = self.prepared.builder.calibration
        return {
            "format": RUN_FORMAT,
            "run_id": self.run_id,
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
            "protocol": self.prepared.protocol.to_json(),
            "baseline": str(baseline.case) if baseline else None,
            "broken": self.broken,
            "cases": [str(work.case) for work in self.works],
            "titles": {str(work.case): work.spec.about for work in self.works},
            "device": self.devices["cpu"],
            "environment": self.environment,
            "git": self.environment.get("git", {}),
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": time.monotonic() - self.began,
            "stage_seconds": self.seconds,
            "filter": expression,
            "complete": not expression.strip() and self.timing,
            "pictures": pictures,
            "trainings": self.trainings,
            "search": dict(study.search),
        }
