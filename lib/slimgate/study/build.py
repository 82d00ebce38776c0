"""From a study's variants to files: compress, export, convert, build, each made once and kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.errors import InputError
from slimgate.flow import Artifact, Detector, Json, Precision, Variant
from slimgate.study.keys import measuring_inputs, peer_inputs, versions
from slimgate.study.latency import latency_ratio
from slimgate.study.operations import steps_from_texts
from slimgate.study.spec import DEVICE, ENGINE_RUNTIMES, Study, VariantSpec, engine_kind
from slimgate.study.store import Store, hash_json

if TYPE_CHECKING:
    from slimgate.compress.quantize import QuantizationPlan, QuantizationSettings
    from slimgate.data import CalibrationList
    from slimgate.study.int8 import Pictures

TARGET_BY_RUNTIME: Mapping[str, str] = {
    "onnxruntime": "x86",
    "onnxruntime-cuda": "tensorrt",
    "onnxruntime-tensorrt": "tensorrt",
    "openvino": "openvino",
    "openvino-bf16": "openvino",
    **dict.fromkeys(ENGINE_RUNTIMES, "tensorrt"),
}
"""Which form of INT8 graph each runtime is given."""


def load_weights(source: str, image_size: int | None) -> Detector:
    """Return the detector of ``fetch:NAME`` or of a file.

    Raises:
        InputError: the file cannot be used.
        UnavailableError: published weights are neither here nor to be had.
    """
    from slimgate.data import fetch
    from slimgate.model import load_detector

    path = fetch(source.removeprefix("fetch:")) if source.startswith("fetch:") else Path(source)
    return load_detector(path, image_size=image_size)


@dataclass
class Builder:
    """Makes the artifacts of one study.

    Attributes:
        study: the study.
        detector: the uncompressed detector.
        pictures: what INT8 is decided on, or None when no selected variant needs them.
        store: where artifacts are kept.
        ranges: pictures that FP16 is looked at for overflow on, or None when constants alone are looked at.
    """

    study: Study
    detector: Detector
    pictures: Pictures | None
    store: Store
    ranges: CalibrationList | None = None
    _variants: dict[str, Variant] = field(default_factory=dict)
    _bases: dict[str, Detector] = field(default_factory=dict)

    @property
    def calibration(self) -> CalibrationList | None:
        """The images INT8 is calibrated on, or None when no selected variant needs them."""
        return self.pictures.calibration if self.pictures else None

    def variant(self, spec: VariantSpec) -> Variant:
        """Return the variant with its operations applied."""
        if spec.name not in self._variants:
            from slimgate.compress import Workspace, apply_operations

            steps = steps_from_texts(spec.operations, self.study.path.parent)
            workspace = Workspace(run=self._run_folder(spec), resume=True, latency=latency_ratio)
            detector = self.base(spec)
            if steps:
                detector = apply_operations(detector, steps, workspace)
            self._variants[spec.name] = Variant(name=spec.name, detector=detector, precision=spec.precision)
        return self._variants[spec.name]

    def base(self, spec: VariantSpec) -> Detector:
        """Return what a variant's operations are applied to: the study's detector, or that of its own weights.

        Raises:
            InputError: its own weights cannot be used, or have other classes.
        """
        if not spec.weights:
            return self.detector
        if spec.weights not in self._bases:
            detector = load_weights(self.study.resolve(spec.weights), self.detector.image_size)
            if detector.class_names != self.detector.class_names:
                raise InputError(
                    f"variant '{spec.name}': {spec.weights}",
                    found=f"classes {', '.join(detector.class_names)}",
                    expected=f"{', '.join(self.detector.class_names)}, as {self.detector.name}",
                    action="name weights that were trained for the same classes in the same order",
                )
            self._bases[spec.weights] = detector
        return self._bases[spec.weights]

    def artifact(self, spec: VariantSpec, runtime: str) -> Artifact:
        """Return the file that a runtime is given for a variant.

        Raises:
            UnavailableError: an engine cannot be built here.
        """
        if runtime == "torch":
            return self._checkpoint(spec)
        graph = self._onnx(spec, TARGET_BY_RUNTIME[runtime])
        if spec.nms:
            graph = self._suppressing(graph)
        return self._engine(graph, spec, runtime) if runtime in ENGINE_RUNTIMES else graph

    def _inputs(self, spec: VariantSpec, kind: str, **more: Json) -> dict[str, Json]:
        # An operation may be told what a latency is.
        measured = measuring_inputs() if spec.operations else {}
        return {"kind": kind, **self._operation_inputs(spec), **measured, "versions": versions(), **more}

    def _operation_inputs(self, spec: VariantSpec) -> dict[str, Json]:
        from slimgate.model import describe_detector

        inputs: dict[str, Json] = {
            # Not its weights alone: another activation, other class names or another lineage is another file.
            "detector_sha256": hash_json(describe_detector(self.base(spec))),
            "image_size": self.detector.image_size,
            "operations": list(spec.operations),
        }
        if spec.operations:
            from slimgate.compress import OPERATIONS

            steps = steps_from_texts(spec.operations, self.study.path.parent)
            inputs["outside"] = [OPERATIONS[step.operation].fingerprints(step.settings) for step in steps]
        return inputs

    def _run_folder(self, spec: VariantSpec) -> Path:
        # Not keyed by the source, as artifacts are: hours of training outlive a changed line elsewhere, and a run
        # refuses to resume under other settings, data or weights.
        return self.store.root / "runs" / hash_json(self._operation_inputs(spec))[:16]

    def _checkpoint(self, spec: VariantSpec) -> Artifact:
        def build(folder: Path) -> Artifact:
            import time

            from slimgate.artifact import hash_file
            from slimgate.model import save_checkpoint

            detector = self.variant(spec).detector
            began = time.perf_counter()
            path = save_checkpoint(detector, folder / f"{detector.name}.safetensors")
            return Artifact(
                path=path,
                format="slimgate",
                target="torch",
                precision=Precision.FP32,
                class_names=detector.class_names,
                image_size=detector.image_size,
                batch=0,
                sha256=hash_file(path),
                size_bytes=path.stat().st_size,
                build_s=time.perf_counter() - began,
                shares={"fp32": 1.0},
                lineage=detector.lineage,
            )

        return self.store.artifact(self._inputs(spec, "checkpoint"), build)

    def _onnx(self, spec: VariantSpec, target: str) -> Artifact:
        from slimgate.artifact import export_onnx

        def build_fp32(folder: Path) -> Artifact:
            detector = self.variant(spec).detector
            return export_onnx(detector, folder / f"{detector.name}-{spec.name}.onnx")

        fp32 = self.store.artifact(self._inputs(spec, "onnx-fp32"), build_fp32)
        if spec.precision in (
            Precision.FP32,
            Precision.BF16,
        ):  # bfloat16 is made by the runtime, not in the file
            return fp32
        if spec.precision is Precision.FP16:
            return self._fp16(fp32)
        from slimgate.compress.quantize import QuantizationSettings
        from slimgate.study.int8 import write_int8, write_peer

        assert self.pictures is not None, "a study with INT8 variants is prepared with a calibration list"
        pictures = self.pictures
        settings = QuantizationSettings(**spec.int8)

        def build_int8(folder: Path) -> Artifact:
            if settings.peer:
                return write_peer(fp32, folder / fp32.path.name, pictures=pictures, peer=settings.peer)
            plan = self._plan(fp32, pictures, settings)
            path = folder / fp32.path.name
            return write_int8(fp32, plan, path, target=target, pictures=pictures, settings=settings)[0]

        inputs = {
            "kind": "onnx-int8",
            "from": fp32.sha256,
            # Another tool writes one file for every runtime.
            **(peer_inputs(settings.peer) if settings.peer else {"target": target}),
            "settings": settings.to_json(),
            "versions": versions(),
        }
        if settings.needs_labels:
            inputs |= {**measuring_inputs(), "threads": pictures.threads}
        return self.store.artifact({**inputs, **pictures.to_json()}, build_int8)

    def _plan(self, fp32: Artifact, pictures: Pictures, settings: QuantizationSettings) -> QuantizationPlan:
        """Return the plan before any budget: its ranges are the same for every target."""
        from slimgate.compress.quantize import QuantizationPlan
        from slimgate.study.int8 import calibrate

        inputs = {
            "kind": "quantization-plan",
            "from": fp32.sha256,
            "observer": settings.observer,
            "calibration_sha256": pictures.calibration.sha256,
            "versions": versions(),
        }
        kept = self.store.values(inputs, lambda: calibrate(fp32, pictures, settings).to_json())
        return QuantizationPlan.from_json(kept)

    def _fp16(self, fp32: Artifact) -> Artifact:
        from slimgate.study.half import write_fp16

        seen = {"ranges_sha256": self.ranges.sha256} if self.ranges else {}
        return self.store.artifact(
            {"kind": "onnx-fp16", "from": fp32.sha256, **seen, "versions": versions()},
            lambda folder: write_fp16(fp32, folder / fp32.path.name, self.ranges),
        )

    def _suppressing(self, graph: Artifact) -> Artifact:
        from slimgate.artifact import append_nms
        from slimgate.detect import GraphNms, Protocol

        protocol = Protocol(image_size=self.detector.image_size, **self.study.protocol)
        settings = GraphNms(conf=protocol.conf, iou=protocol.iou, max_det=protocol.max_det)
        return self.store.artifact(
            {"kind": "nms", "from": graph.sha256, "settings": settings.to_json(), "versions": versions()},
            lambda folder: append_nms(graph, folder / graph.path.name, settings),
        )

    def _engine(self, graph: Artifact, spec: VariantSpec, runtime: str) -> Artifact:
        from slimgate.artifact import build_engine
        from slimgate.artifact.profile import profiles_for_batches
        from slimgate.artifact.trt import device_capability

        kind = engine_kind(runtime)
        named = spec.compute_capability
        capability = device_capability() if named == DEVICE else named
        # Accuracy and parity are measured one image a call, whatever is timed.
        profiles = profiles_for_batches(kind, {1, *spec.batches})
        return self.store.artifact(
            {
                "kind": kind,
                "from": graph.sha256,
                "compute_capability": capability,
                "profiles": [str(profile) for profile in profiles],
                "versions": versions(kind),
            },
            lambda folder: build_engine(
                graph,
                folder / graph.path.with_suffix(".engine").name,
                kind=kind,
                compute_capability=capability,
                batch=profiles,
            ),
        )
