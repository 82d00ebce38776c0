"""What a study says: a detector, a dataset, the variants, the protocol."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimgate.flow import Case, Precision

BUILT_IN = "codes"
"""The study that runs when none is named."""

DEVICE = "device"
"""The compute capability of the GPU that is there."""

_CUDA_GRAPH = "-cudagraph"

ENGINE_RUNTIMES = ("tensorrt", "tensorrt-rtx", f"tensorrt{_CUDA_GRAPH}", f"tensorrt-rtx{_CUDA_GRAPH}")
"""Runtimes whose artifact is an engine, built ahead of time for one compute capability."""


GPU_RUNTIMES = ("onnxruntime-cuda", "onnxruntime-tensorrt", *ENGINE_RUNTIMES)
"""Runtimes that need a GPU, told without loading any of them; a test holds them against the registry."""

BF16_RUNTIMES = ("openvino-bf16",)
"""Runtimes that compute in bfloat16 what their file holds in float32."""

HISTORY_VARIABLE = "SLIMGATE_HISTORY"
"""Environment variable that names the folder of the history."""

_HISTORY = Path(".slimgate", "history")

NO_HISTORY = "off"
"""Its value where none is to be written."""


def float32_runtime(runtime: str) -> str:
    """Return the runtime that computes the same files in float32, itself where it does."""
    return runtime.removesuffix("-bf16")


def engine_kind(runtime: str) -> str:
    """Return the kind of engine that a runtime runs."""
    return runtime.removesuffix(_CUDA_GRAPH)


@dataclass(frozen=True, kw_only=True)
class VariantSpec:
    """One variant: operations on the detector, a precision, and where it runs.

    Attributes:
        name: part of the case id.
        weights: a detector file of its own, such as one that was slimmed and trained before; empty for the study's.
        operations: operation texts such as ``prune:0.3,scope=layer``, applied in order.
        precision: of the artifacts; ``bf16``: float32 files that the runtime computes in bfloat16.
        runtimes: runtime names.
        batches: batch sizes whose latency is measured.
        compute_capability: of the GPU that engines are built for, such as ``8.6``, or ``device``: that of the
            GPU that is there when the study runs.
        nms: whether the file suppresses inside the graph, with the study's conf, iou and max_det.
        controls: variants that the gain is measured against: ``dense``, trained as long without slimming, and
            ``scratch``, as slim and trained as long from random weights.
        no_gain: why the variant is in the study though it is there to gain nothing; without, it must be shown to pay.
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
    nms: bool = False
    controls: Mapping[str, str] = field(default_factory=dict)
    no_gain: str = ""
    int8: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    @property
    def network(self) -> tuple[object, ...]:
        """What variants of the same network have in common, whatever their precision."""
        return self.weights, self.operations, self.compute_capability, self.nms

    @property
    def needs_labels(self) -> bool:
        """Whether its INT8 measures mAP on labelled training pictures."""
        return self.int8.get("budget") is not None or bool(self.int8.get("score_groups"))

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
        labelled: dataset source of labelled training pictures that INT8's mAP is measured on; may be empty.
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
    labelled: str = ""
    labelled_images: int = 0
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
    def gpu_cases(self) -> frozenset[Case]:
        """The cases that run on a GPU."""
        return frozenset(
            Case(study=self.id, variant=variant.name, runtime=variant.runtime_label(runtime))
            for variant in self.variants
            for runtime in variant.runtimes
            if runtime in GPU_RUNTIMES
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

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The study's file, and every weights file that it names; a checkpoint is two files."""
        named = dict.fromkeys([self.weights, *(variant.weights for variant in self.variants)])
        weights = [Path(self.resolve(one)) for one in named if one and not is_named(one)]
        described = [path.with_suffix(".json") for path in weights if path.suffix == ".safetensors"]
        return (self.path, *weights, *described)

    def resolve(self, source: str) -> str:
        """Return a dataset or weights source with a relative path made relative to the study file."""
        if is_named(source):
            return source
        return str((self.path.parent / source).resolve())


def is_named(source: str) -> bool:
    """Return whether a dataset or weights source is a name that slimgate knows, not the path of a file."""
    return source.startswith(("codes:", "fetch:")) or source == "coco128"


def studies_folder() -> Path:
    """Return the folder of the built-in studies, in the source tree."""
    return Path(__file__).resolve().parents[3] / "fixtures" / "studies"


def golden_folder(study: Study) -> Path:
    """Return the ``golden`` folder of a study's project: the nearest above the study file, else the current one's."""
    for folder in study.path.parents:
        if (folder / "golden").is_dir():
            return folder / "golden"
    return Path("golden")


def list_studies(study: Study, golden: Path) -> set[str]:
    """Return the ids of a study and of those beside it, whose golden files may lie in the same folder.

    Empty where the study's file is not of the project that the golden folder is of: nobody knows its studies then.
    """
    if not study.path.is_relative_to(golden.resolve().parent):
        return set()
    ids = {study.id}
    for path in study.path.parent.glob("*.toml"):
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue  # whoever runs that study is told what is wrong with it
        if str(value.get("format", "")).startswith("slimgate-study/") and isinstance(value.get("id"), str):
            ids.add(value["id"])
    return ids


def history_folder(study: Study | None = None, given: Path | None = None) -> Path | None:
    """Return the folder that runs are added to over time, or None where none is wanted.

    The one that is given counts, then ``SLIMGATE_HISTORY`` (``off``: none), then ``.slimgate/history`` beside the
    study's ``golden`` folder; without a study, the nearest one above the current folder.
    """
    if given is not None:
        return given
    named = os.environ.get(HISTORY_VARIABLE, "")
    if named:
        return None if named == NO_HISTORY else Path(named)
    if study is not None:
        return golden_folder(study).parent / _HISTORY
    here = Path.cwd()
    return next((one / _HISTORY for one in (here, *here.parents) if (one / _HISTORY).is_dir()), _HISTORY)
