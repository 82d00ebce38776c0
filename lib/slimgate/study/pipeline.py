"""The whole flow for one study: compress, export, measure, judge, report."""

from __future__ import annotations

import datetime
import gc
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.errors import SlimgateError, UnavailableError, UsageError
from slimgate.flow import Artifact, Case, Json, Measurement, Precision
from slimgate.gate import (
    CASE_FORMAT,
    RUN_FORMAT,
    Judgement,
    Matrix,
    judge_run,
    load_floors,
    load_records,
)
from slimgate.study.build import Builder, load_weights
from slimgate.study.directory import RunWriter
from slimgate.study.measuring import control_complaint, count_model, list_measurements, measure_accuracy
from slimgate.study.pictures import choose_pictures, detections_to_json
from slimgate.study.select import select_cases
from slimgate.study.spec import Study, VariantSpec
from slimgate.study.store import Store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.data import Dataset
    from slimgate.detect import Detections, Protocol
    from slimgate.runtime import Runner

Progress = Callable[[str, int, int, str], object]
"""Called with the stage's name, how much of it is done, how much there is, and what is being worked on."""

STAGES = ("prepare", "compress and export", "accuracy", "latency", "NMS", "judge and report")


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


@dataclass
class _CaseWork:
    """One selected case on its way through the stages."""

    case: Case
    spec: VariantSpec
    runtime: str
    artifact: Artifact | None = None
    record: dict[str, Json] = field(default_factory=dict)
    deployed: Sequence[Detections] = ()
    everything: Sequence[Detections] = ()
    not_proven: str = ""
    failed: str = ""

    @property
    def measurable(self) -> bool:
        return self.artifact is not None and not self.not_proven and not self.failed


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
    flow = _Flow(study, select_cases(study.cases, expression), progress, store or Store(), timing)
    with RunWriter(out) as writer:
        judgement = flow.run(writer, golden, expression)
        progress(STAGES[-1], 0, 1, "")
        from slimgate.report import write_report

        report = write_report(writer.directory)
        progress(STAGES[-1], 1, 1, "")
    return Run(directory=out, judgement=judgement, report=out / report.name)


class _Flow:
    def __init__(
        self, study: Study, cases: Sequence[Case], progress: Progress, store: Store, timing: bool
    ) -> None:
        self.study, self.progress, self.store, self.timing = study, progress, store, timing
        self.started = datetime.datetime.now(datetime.UTC)
        self.began = time.monotonic()
        self.run_id = f"{self.started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        specs = {
            Case(study=study.id, variant=spec.name, runtime=spec.runtime_label(runtime)): (spec, runtime)
            for spec in study.variants
            for runtime in spec.runtimes
        }
        self.work = [_CaseWork(case=case, spec=specs[case][0], runtime=specs[case][1]) for case in cases]
        self.seconds: dict[str, float] = {}

    def run(self, writer: RunWriter, golden: Path, expression: str) -> Judgement:
        from slimgate.measure import device_key, environment

        with self.stage(STAGES[0]):
            self.prepare()
            self.device = device_key()
            self.environment = environment()
            self.floors = load_floors(golden, self.study.id, device=self.device)
            records = load_records(golden, self.study.id, device=self.device)
        with self.stage(STAGES[1]):
            self.build()
        with self.stage(STAGES[2]):
            self.measure_accuracy()
        if self.timing:
            with self.stage(STAGES[3]):
                self.measure_latency()
            with self.stage(STAGES[4]):
                self.measure_nms()
        measurements = self.measurements()
        judgement = judge_run(
            measurements,
            self.floors,
            records,
            Matrix(
                cases=[work.case for work in self.work],
                full=not expression.strip(),
                required=self.study.required_metrics,
                not_proven={work.case: work.not_proven for work in self.work if work.not_proven},
                failed={work.case: work.failed for work in self.work if work.failed},
                run_id=self.run_id,
                reproduce=f"slimgate study {self.study.id}",
            ),
        )
        pictures = self.add_pictures(writer)
        for work in self.work:
            writer.write_case(work.case, work.record)
        writer.write_run(self.describe(expression, pictures), measurements, judgement)
        return judgement

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        gc.collect()

    # --- prepare -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        from slimgate.data import calibration_list, check_class_names, check_image_size, load_dataset
        from slimgate.detect import Protocol

        study = self.study
        self.progress(STAGES[0], 0, 3, "weights")
        detector = load_weights(study.resolve(study.weights), study.image_size)
        check_image_size(detector.image_size, detector.stride)
        self.protocol: Protocol = Protocol(image_size=detector.image_size, **study.protocol)
        self.progress(STAGES[0], 1, 3, study.evaluation)
        self.dataset: Dataset = load_dataset(study.resolve(study.evaluation), count=study.images)
        check_class_names(detector.class_names, self.dataset)
        calibration = None
        if any(work.spec.precision is Precision.INT8 for work in self.work):
            self.progress(STAGES[0], 2, 3, study.calibration)
            count = study.calibration_images
            calibration = calibration_list(
                load_dataset(study.resolve(study.calibration), count=count),
                count=count,
                evaluated=self.dataset,
            )
        self.builder = Builder(study=study, detector=detector, calibration=calibration, store=self.store)
        self.progress(STAGES[0], 3, 3, "")

    # --- compress and export -------------------------------------------------------------------------------

    def build(self) -> None:
        from slimgate.runtime import get_runtime

        for index, work in enumerate(self.work):
            self.progress(STAGES[1], index, len(self.work), str(work.case))
            work.record = self.start_record(work)
            try:
                work.artifact = self.builder.artifact(work.spec, work.runtime)
                work.record["artifact"] = _artifact_record(work.artifact)
                work.record["lineage"] = [step.to_json() for step in work.artifact.lineage]
            except UnavailableError as error:
                work.not_proven = str(error).replace("\n", ";")
            except SlimgateError as error:
                work.failed = str(error).replace("\n", ";")
            reason = get_runtime(work.runtime).why_unavailable()
            if reason and not work.not_proven:
                work.not_proven = f"built, not run: {reason}" if work.artifact else reason
            if work.not_proven:
                work.record["not_proven"] = work.not_proven
            if work.failed:
                work.record["failed"] = work.failed
        self.progress(STAGES[1], len(self.work), len(self.work), "")

    def start_record(self, work: _CaseWork) -> dict[str, Json]:
        return {
            "format": CASE_FORMAT,
            "case": str(work.case),
            "variant": work.spec.name,
            "about": work.spec.about,
            "runtime": work.runtime,
            "precision": work.spec.precision.value,
            "operations": list(work.spec.operations),
            "model": count_model(self.builder.variant(work.spec).detector),
        }

    # --- measure -------------------------------------------------------------------------------------------

    def measure_accuracy(self) -> None:
        measurable = [work for work in self.work if work.measurable]
        total = len(measurable) * len(self.dataset)
        for index, work in enumerate(measurable):
            done = index * len(self.dataset)

            def advance(count: int, work: _CaseWork = work) -> None:
                nonlocal done
                done += count
                self.progress(STAGES[2], done, total, str(work.case))

            try:
                with self.open(work) as runner:
                    work.record["provider"] = runner.provider
                    work.record["runner"] = runner.describe()
                    accuracy = measure_accuracy(runner, self.dataset, self.protocol, progress=advance)
            except SlimgateError as error:
                work.failed = str(error).replace("\n", ";")
                work.record["failed"] = work.failed
                continue
            work.deployed = accuracy.deployed
            work.everything = accuracy.everything
            work.record.update(accuracy.record)
        self.add_score_shift()

    def add_score_shift(self) -> None:
        """Add how far each case's scores moved from the FP32 case on the same runtime."""
        from slimgate.measure import score_shift

        for work in self.work:
            reference = self.reference_of(work)
            if work.everything and reference is not None and reference.everything and reference is not work:
                shift = score_shift(reference.everything, work.everything)
                work.record["score_shift"] = {"reference": str(reference.case), **shift.to_json()}

    def reference_of(self, work: _CaseWork) -> _CaseWork | None:
        """Return the FP32 case that a case is compared with: same runtime, else the study's first case."""
        candidates = [one for one in self.work if one.spec is self.study.reference and one.measurable]
        if work.spec is self.study.reference:
            return candidates[0] if candidates else None
        same = [one for one in candidates if one.runtime == work.runtime.removesuffix("-bf16")]
        return same[0] if same else (candidates[0] if candidates else None)

    def open(self, work: _CaseWork) -> Runner:
        from slimgate.runtime import get_runtime

        assert work.artifact is not None
        return get_runtime(work.runtime).open(work.artifact, batch=0, threads=self.study.threads)

    def measure_latency(self) -> None:
        measurable = [work for work in self.work if work.measurable]
        jobs = [(work, batch) for work in measurable for batch in work.spec.batches]
        controls: dict[tuple[str, int], Any] = {}
        for index, (work, batch) in enumerate(jobs):
            self.progress(STAGES[3], index, len(jobs), f"{work.case} batch {batch}")
            baseline = self.reference_of(work)
            if baseline is None:
                continue
            self.measure_pair(work, baseline, batch, controls)
        self.progress(STAGES[3], len(jobs), len(jobs), "")

    def measure_pair(
        self, work: _CaseWork, baseline: _CaseWork, batch: int, controls: dict[tuple[str, int], Any]
    ) -> None:
        from slimgate.measure import control, measure_pairs

        images = self.images(batch)
        rounds = self.study.rounds if batch == 1 else self.study.rounds_batch32
        budget = self.latency_budget(work.case, batch)
        with self.open(baseline) as runner_a, self.open(work) as runner_b:
            key = (baseline.runtime, batch)
            if key not in controls:
                controls[key] = control(lambda: runner_a.run(images), rounds=rounds)
            if work is baseline:
                result = controls[key]
            else:
                result = measure_pairs(
                    lambda: runner_a.run(images),
                    lambda: runner_b.run(images),
                    rounds=rounds,
                    extend_while=lambda interval: budget is not None and interval[0] <= budget <= interval[1],
                )
        self_test = controls[key]
        entry = {
            "baseline": str(baseline.case),
            **result.to_json(),
            "control": {"ratio": self_test.ratio, "interval": list(self_test.interval)},
        }
        complaint = control_complaint(self_test, budget)
        if complaint:
            entry["why_invalid"] = complaint
        work.record.setdefault("latency", {})[f"batch{batch}"] = entry

    def latency_budget(self, case: Case, batch: int) -> float | None:
        bounds = [floor.max for floor in self.floors.for_metric(case, f"latency_ratio_b{batch}")]
        return next((bound for bound in bounds if bound is not None), None)

    def images(self, batch: int) -> npt.NDArray[np.float32]:
        """Return a batch of the dataset's own images: time can depend on what is in them."""
        from slimgate.data import batch_from_images, read_image

        samples = self.dataset.samples
        chosen = [samples[index % len(samples)].path for index in range(batch)]
        return batch_from_images([read_image(path) for path in chosen], self.protocol.image_size)[0]

    def measure_nms(self) -> None:
        from slimgate.measure import measure_nms

        self.progress(STAGES[4], 0, 1, "stored candidate sets")
        timings = measure_nms(iou=self.protocol.iou, max_det=self.protocol.max_det)
        for work in self.work:
            if work.spec is self.study.reference and work.measurable:
                work.record["nms"] = {name: timing.to_json() for name, timing in timings.items()}
                break
        self.progress(STAGES[4], 1, 1, "")

    # --- judge ---------------------------------------------------------------------------------------------

    def measurements(self) -> list[Measurement]:
        return [
            measurement
            for work in self.work
            if not work.failed
            for measurement in list_measurements(
                work.case,
                work.record,
                artifact=work.artifact,
                provenance=self.provenance(work),
                device=self.device,
            )
        ]

    def provenance(self, work: _CaseWork) -> dict[str, Json]:
        calibration = self.builder.calibration if work.spec.precision is Precision.INT8 else None
        artifact = work.artifact
        return {
            "weights_sha256": self.builder.detector.weights_sha256,
            "artifact_sha256": artifact.sha256 if artifact else None,
            "dataset_sha256": self.dataset.sha256,
            "images": len(self.dataset),
            "protocol": self.protocol.to_json(),
            "calibration_sha256": calibration.sha256 if calibration else None,
            "lineage": [step.to_json() for step in artifact.lineage] if artifact else [],
            "versions": self.environment["versions"],
            "git_commit": self.environment.get("git", {}).get("commit"),
            "device": self.device,
        }

    def add_pictures(self, writer: RunWriter) -> Mapping[str, Json]:
        runs = {str(work.case): work.deployed for work in self.work if work.deployed}
        chosen = choose_pictures(self.dataset, runs, count=self.study.pictures)
        entries = {}
        for index in chosen:
            sample = self.dataset.samples[index]
            name = str(sample.image_id)
            entries[name] = writer.write_picture(sample)
            for work in self.work:
                if work.deployed:
                    shown = work.record.setdefault("pictures", {})
                    shown[name] = detections_to_json(work.deployed[index])
        return entries

    def describe(self, expression: str, pictures: Mapping[str, Json]) -> dict[str, Json]:
        study, detector = self.study, self.builder.detector
        baseline = next((w for w in self.work if w.spec is study.reference and w.measurable), None)
        calibration = self.builder.calibration
        return {
            "format": RUN_FORMAT,
            "run_id": self.run_id,
            "study": {
                "id": study.id,
                "title": study.title,
                "evaluation": study.evaluation,
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
                "name": self.dataset.name,
                "images": len(self.dataset),
                "sha256": self.dataset.sha256,
                "notes": self.dataset.notes,
            },
            "class_names": list(detector.class_names),
            "protocol": self.protocol.to_json(),
            "baseline": str(baseline.case) if baseline else None,
            "cases": [str(work.case) for work in self.work],
            "titles": {str(work.case): work.spec.about for work in self.work},
            "device": self.device,
            "environment": self.environment,
            "git": self.environment.get("git", {}),
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": time.monotonic() - self.began,
            "stage_seconds": self.seconds,
            "filter": expression,
            "complete": not expression.strip() and self.timing,
            "pictures": pictures,
        }


def _artifact_record(artifact: Artifact) -> dict[str, Json]:
    from slimgate.artifact import compressed_bytes

    return {
        "file": artifact.path.name,
        "format": artifact.format,
        "target": artifact.target,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "compressed_bytes": compressed_bytes(artifact.path),
        "build_s": artifact.build_s,
        "shares": dict(artifact.shares),
        "facts": dict(artifact.facts),
    }
