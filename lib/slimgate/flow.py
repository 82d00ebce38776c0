"""The nouns of slimgate, in the order they flow.

::

    Detector ──compress──▶ Variant ──export──▶ Artifact ──measure──▶ Measurement ──judge──▶ Verdict

A stage consumes the noun on its left and produces the one on its right. All are frozen; none knows a
framework, so importing this module costs nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Json = Any
"""A value that ``json.dumps`` accepts."""


class Family(enum.StrEnum):
    """How a detector's head turns features into boxes."""

    ULTRALYTICS = "ultralytics"
    """Anchor-free, built by the ultralytics package ("u" models): DFL boxes, per-class sigmoid scores."""
    YOLOV5_ANCHOR = "yolov5-anchor"
    """Legacy YOLOv5 v4-v7: three anchors per cell, objectness times class score."""


class Precision(enum.StrEnum):
    """What most of the convolution arithmetic of an artifact runs in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    """A runtime's arithmetic on a float32 file: no file is written in it."""
    INT8 = "int8"


class Status(enum.StrEnum):
    """The outcome of judging one measurement against one floor.

    ``FAIL`` and ``INVALID`` are red. ``STALE`` (better than the floor by more than its slack) is green unless
    floors are strict. ``INCONCLUSIVE`` (the interval still straddles the budget after the declared extension)
    is red: a budget that cannot be shown to hold does not hold.
    """

    PASS = "PASS"
    STALE = "STALE"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    FAIL = "FAIL"

    @property
    def is_red(self) -> bool:
        """Whether a run that contains this status fails."""
        return self in (Status.FAIL, Status.INVALID, Status.INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One applied operation, complete enough to be replayed.

    Attributes:
        operation: registry name, such as ``prune``.
        settings: the operation's settings, JSON values only.
        notes: what the operation found or did (kept channels, match counts, calibration list sha256).
    """

    operation: str
    settings: Mapping[str, Json]
    notes: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the step as JSON values."""
        return {"operation": self.operation, "settings": dict(self.settings), "notes": dict(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Step:
        """Return the step that ``to_json`` wrote."""
        return cls(
            operation=value["operation"], settings=dict(value["settings"]), notes=dict(value.get("notes", {}))
        )


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Weights and architecture.

    Attributes:
        name: short name for people, such as ``codes-yolov5n``.
        family: how the head decodes.
        class_names: one name per class index.
        image_size: side of the square network input, pixels.
        stride: largest stride; ``image_size`` is a multiple of it.
        architecture: the YOLO yaml as a mapping (``nc``, ``backbone``, ``head``, ...).
        module: the float32 network in eval mode on the CPU. Its forward maps RGB images ``(n, 3, s, s)`` in
            0..1 to predictions ``(n, 4 + classes, candidates)``: centre x, centre y, width, height in pixels of
            the network input, then one score per class in 0..1 (legacy heads: objectness already multiplied in).
        weights_sha256: sha256 over the named tensors, see ``slimgate.model.hash_weights``.
        source: where it came from: a file name or an address, never an absolute path.
        training: the training record, as far as known.
        lineage: the operations already applied to it when it was loaded.
    """

    name: str
    family: Family
    class_names: tuple[str, ...]
    image_size: int
    stride: int
    architecture: Mapping[str, Json]
    module: torch.nn.Module
    weights_sha256: str
    source: str
    training: Mapping[str, Json] = field(default_factory=dict)
    lineage: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A detector after compression: a module of its own plus what was done to get it.

    Attributes:
        name: the variant's name within its study, such as ``prune30-int8``.
        detector: the compressed detector; its lineage includes the base's.
        precision: what the artifacts made from it should run in.
        plan: the quantization plan (``slimgate.compress.quantize``) when ``precision`` is INT8.
    """

    name: str
    detector: Detector
    precision: Precision
    plan: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that is shipped, and what is proven about it.

    Attributes:
        path: the file.
        format: ``onnx``, ``engine`` (TensorRT) or ``slimgate`` (safetensors and JSON).
        target: what the file was written for: ``x86``, ``tensorrt-rtx-1.7-sm86``, ``torch``, ...
        precision: the claimed precision; ``shares`` is the proof.
        class_names: one per class index.
        image_size: side of the square input, pixels.
        batch: batch size the graph is fixed to, or 0 for a dynamic batch axis.
        sha256: of the file.
        size_bytes: of the file.
        build_s: seconds the export or engine build took when it was really made.
        shares: share of convolution MACs per precision, ``{"fp32": 0.02, "int8": 0.98}``; empty if unknown.
        facts: further numbers that inspection found (weight memory, node counts, providers).
        lineage: every step from the detector to this file.
    """

    path: Path
    format: str
    target: str
    precision: Precision
    class_names: tuple[str, ...]
    image_size: int
    batch: int
    sha256: str
    size_bytes: int
    build_s: float
    shares: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)
    lineage: tuple[Step, ...] = ()


_CASE_ID = re.compile(r"^(?P<study>[\w.+-]+)/(?P<variant>[\w.+-]+)@(?P<runtime>[\w.+-]+)$")


@dataclass(frozen=True, kw_only=True, order=True)
class Case:
    """``study/variant@runtime``: at once pytest id, golden key, report row and ``-k`` filter."""

    study: str
    variant: str
    runtime: str

    def __str__(self) -> str:
        return f"{self.study}/{self.variant}@{self.runtime}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """Return the case an id names.

        Raises:
            ValueError: the text is not ``study/variant@runtime``.
        """
        match = _CASE_ID.match(text)
        if match is None:
            raise ValueError(f"'{text}' is not study/variant@runtime")
        return cls(**match.groupdict())


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a metric is from the same metric of another case on the same images, and how well that is known.

    Attributes:
        reference: the other case.
        value: the metric minus the reference's, in the metric's unit.
        interval: of ``value``, from a paired bootstrap over the images: what other images of this kind might
            have shown.
        confidence: of the interval, such as 0.95.
        images: how many images there were to draw from.
        resamples: how often they were drawn.
        seed: of the draws; the same for every case of a run.
    """

    reference: Case
    value: float
    interval: tuple[float, float]
    confidence: float
    images: int
    resamples: int
    seed: int

    @property
    def half_width(self) -> float:
        """Half the interval: what the images resolve between two detectors such as these."""
        return (self.interval[1] - self.interval[0]) / 2


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One metric of one case, with everything needed to trust or refuse it.

    Attributes:
        case: what was measured.
        metric: its name in ``slimgate.measure.METRICS``: ``map50_95``, ``recall/qrcode``, ``size_bytes``, ...
        value: in ``unit``; NaN is representable and is judged INVALID.
        unit: ``fraction`` (0..1), ``bytes``, ``seconds``, ``ratio``, ``count`` or ``flops``.
        interval: confidence interval of ``value``, when measuring again gives another value (times).
        confidence: of the interval, such as 0.95.
        simultaneous: the wider interval of ``value`` that holds in all ``comparisons`` of the run at once, with the
            same confidence; None where a run makes no such promise.
        comparisons: how many comparisons the run makes in all.
        samples: the raw samples behind the value (log ratios, seconds), when kept.
        provenance: fingerprints of what was measured: ``weights_sha256``, ``artifact_sha256``,
            ``dataset_sha256``, ``images``, ``calibration_sha256``, ``protocol``, ``versions``, ``git_commit``.
        device: exact device key for times (``cpu:AMD EPYC 9R14`` or ``gpu:NVIDIA H100 driver 570``), else ``any``.
        valid: false when the measurement itself says it cannot be judged (A/A control off, wrong provider).
        why_invalid: the reason, when not valid.
        differences: to other cases of the run, that of the study's reference first; accuracies have them. A value
            on given images is exact, so these are not its interval: they say what the images can tell apart.
    """

    case: Case
    metric: str
    value: float
    unit: str
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    simultaneous: tuple[float, float] | None = None
    comparisons: int = 1
    samples: tuple[float, ...] = ()
    provenance: Mapping[str, Json] = field(default_factory=dict)
    device: str = "any"
    valid: bool = True
    why_invalid: str = ""
    differences: tuple[Difference, ...] = ()

    def difference_to(self, reference: Case) -> Difference | None:
        """Return the difference to another case, where it is known."""
        return next((one for one in self.differences if one.reference == reference), None)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says about one metric of one case.

    Attributes:
        case: the case.
        metric: the metric.
        status: the outcome.
        measured: the measured value, or None when there is none.
        floor: the bound it was held against, or None when there is none.
        unit: of both.
        message: for people: what, how far off, which golden file, what changed since, how to reproduce it.
        golden: the golden file the floor came from, relative to the project.
        note: what is questionable about the floor itself, such as that it is finer than the images resolve.
        waived: who tolerates it, until when, and where that is written; empty: nobody does. The status stays
            what it is.
    """

    case: Case
    metric: str
    status: Status
    measured: float | None
    floor: float | None
    unit: str
    message: str
    golden: str = ""
    note: str = ""
    waived: str = ""

    @property
    def label(self) -> str:
        """The status for people: a waived one never looks green, and never hides what it is."""
        return f"WAIVED ({self.status.value})" if self.waived else self.status.value
