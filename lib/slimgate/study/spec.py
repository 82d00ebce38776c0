"""What a study says: a detector, a dataset, the variants, the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimgate.flow import Case, Precision

BUILT_IN = "codes"
"""The study that runs when none is named."""

DEVICE = "device"
"""The compute capability of the GPU that is there."""

ENGINE_RUNTIMES = ("tensorrt", "tensorrt-rtx")
"""Runtimes whose artifact is an engine, built ahead of time for one compute capability."""


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """One variant: operations on the detector, a precision, and where it runs.

    Attributes:
        name: part of the case id.
        weights: a detector file of its own, such as one that was slimmed and trained before; empty for the study's.
        operations: operation texts such as ``prune:0.3,scope=layer``, applied in order.
        precision: of the artifacts.
        runtimes: runtime names.
        batches: batch sizes whose latency is measured.
        compute_capability: of the GPU that engines are built for, such as ``8.6``, or ``device``: that of the
            GPU that is there when the study runs.
        controls: variants that the gain is measured against: ``dense``, trained as long without slimming, and
            ``scratch``, as slim and trained as long from random weights.
        int8: how INT8 is decided: observer, budget; settings of ``slimgate.compress.quantize.QuantizationSettings``.
        about: one sentence for the report.
    """

    name: str
    weights: str = ""
    operations: tuple[str, ...] = ()
    precision: Precision = Precision.FP32
    runtimes: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    compute_capability: str = "8.6"
    controls: Mapping[str, str] = field(default_factory=dict)
    int8: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    def runtime_label(self, runtime: str) -> str:
        """Return the runtime's part of the case id: engines carry what they are built for.

        An id is the same on every machine, so ``device`` stands as it is; the record's lineage says which GPU
        it was, and a record of another one is refused.
        """
        if runtime in ENGINE_RUNTIMES and self.compute_capability == DEVICE:
            return f"{runtime}-{DEVICE}"
        if runtime in ENGINE_RUNTIMES:
            return f"{runtime}-sm{self.compute_capability.replace('.', '')}"
        return runtime


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study, checked.

    Attributes:
        id: first part of every case id.
        title: for people.
        path: the TOML file.
        weights: a file, or ``fetch:NAME`` for a published one.
        image_size: side of the square input, or None for the detector's own.
        evaluation: dataset source that is evaluated.
        also: further dataset sources that every measured case is evaluated on; their names in metrics.
        images: how many images of each of them, or None for all.
        calibration: dataset source that INT8 is calibrated on.
        calibration_images: how many.
        labelled: dataset source of labelled training pictures that INT8's budgets are measured on; may be empty.
        labelled_images: how many, those that are calibrated on not counted.
        protocol: settings of ``slimgate.detect.Protocol`` other than the image size.
        threads: inference threads of every runtime.
        rounds: interleaved rounds per latency comparison at batch 1.
        rounds_batch32: the same for larger batches.
        pictures: pictures shown side by side.
        required_metrics: metrics that must have a floor in every case that measures accuracy.
        search: what ``slimgate search`` wrote, to be shown in the report; empty without.
        variants: in the file's order; the first is the FP32 reference.
    """

    id: str
    title: str
    path: Path
    weights: str
    image_size: int | None
    evaluation: str
    also: tuple[str, ...]
    images: int | None
    calibration: str
    calibration_images: int
    labelled: str
    labelled_images: int
    protocol: Mapping[str, Any]
    threads: int
    rounds: int
    rounds_batch32: int
    pictures: int
    search: Mapping[str, Any]
    required_metrics: tuple[str, ...]
    variants: tuple[VariantSpec, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every case of the study, in the file's order."""
        return tuple(
            Case(study=self.id, variant=variant.name, runtime=variant.runtime_label(runtime))
            for variant in self.variants
            for runtime in variant.runtimes
        )

    @property
    def argument(self) -> str:
        """What a user types to run this study again: a built-in study's name, else the file."""
        if self.path.parent == studies_folder():
            return self.path.stem
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def reference(self) -> VariantSpec:
        """The FP32 variant that the others are compared with: the first one."""
        return self.variants[0]

    def resolve(self, source: str) -> str:
        """Return a dataset or weights source with a relative path made relative to the study file."""
        if ":" in source or "/" not in source:
            return source
        return str((self.path.parent / source).resolve())


def studies_folder() -> Path:
    """Return the folder of the built-in studies, in the source tree."""
    return Path(__file__).resolve().parents[3] / "fixtures" / "studies"


def golden_folder(study: Study) -> Path:
    """Return the ``golden`` folder of a study's project: the nearest above the study file, else the current one's."""
    for folder in study.path.parents:
        if (folder / "golden").is_dir():
            return folder / "golden"
    return Path("golden")
