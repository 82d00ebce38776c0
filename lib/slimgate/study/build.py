"""From a study's variants to files: compress, export, convert, build, each made once and kept in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.errors import InputError
from slimgate.flow import Artifact, Detector, Json, Precision, Variant
from slimgate.study.latency import latency_ratio
from slimgate.study.spec import DEVICE, ENGINE_RUNTIMES, Study, VariantSpec, engine_kind
from slimgate.study.store import Store, hash_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slimgate.compress.quantize import QuantizationPlan
    from slimgate.data import CalibrationList

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
        calibration: the images INT8 is calibrated on, or None when no selected variant needs them.
        store: where artifacts are kept.
    """

    study: Study
    detector: Detector
    calibration: CalibrationList | None
    store: Store
    _variants: dict[str, Variant] = field(default_factory=dict)
    _bases: dict[str, Detector] = field(default_factory=dict)
    _plans: dict[str, QuantizationPlan] = field(default_factory=dict)

    def variant(self, spec: VariantSpec) -> Variant:
        """Return the variant with its operations applied."""
        if spec.name not in self._variants:
            from slimgate.compress import Workspace, apply_operations, parse_operation

            steps = [parse_operation(text) for text in spec.operations]
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
        return {"kind": kind, **self._operation_inputs(spec), "versions": _versions(), **more}

    def _operation_inputs(self, spec: VariantSpec) -> dict[str, Json]:
        inputs: dict[str, Json] = {
            "weights_sha256": self.base(spec).weights_sha256,
            "image_size": self.detector.image_size,
            "operations": list(spec.operations),
        }
        if spec.operations:
            from slimgate.compress import OPERATIONS, parse_operation

            steps = [parse_operation(text) for text in spec.operations]
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
        from slimgate.artifact import convert_fp16, export_onnx, write_qdq

        def build_fp32(folder: Path) -> Artifact:
            detector = self.variant(spec).detector
            return export_onnx(detector, folder / f"{detector.name}-{spec.name}.onnx")

        fp32 = self.store.artifact(self._inputs(spec, "onnx-fp32"), build_fp32)
        if spec.precision is Precision.FP32:
            return fp32
        if spec.precision is Precision.FP16:
            return self.store.artifact(
                {"kind": "onnx-fp16", "from": fp32.sha256, "versions": _versions()},
                lambda folder: convert_fp16(fp32, folder / fp32.path.name),
            )
        calibration = self._calibration()
        return self.store.artifact(
            {
                "kind": "onnx-int8",
                "from": fp32.sha256,
                "target": target,
                "calibration_sha256": calibration.sha256,
                "versions": _versions(),
            },
            lambda folder: write_qdq(fp32, self._plan(fp32), folder / fp32.path.name, target=target),
        )

    def _suppressing(self, graph: Artifact) -> Artifact:
        from slimgate.artifact import append_nms
        from slimgate.detect import GraphNms, Protocol

        protocol = Protocol(image_size=self.detector.image_size, **self.study.protocol)
        settings = GraphNms(conf=protocol.conf, iou=protocol.iou, max_det=protocol.max_det)
        return self.store.artifact(
            {"kind": "nms", "from": graph.sha256, "settings": settings.to_json(), "versions": _versions()},
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
                "versions": _versions(kind),
            },
            lambda folder: build_engine(
                graph,
                folder / graph.path.with_suffix(".engine").name,
                kind=kind,
                compute_capability=capability,
                batch=profiles,
            ),
        )

    def _calibration(self) -> CalibrationList:
        assert self.calibration is not None, "a study with INT8 variants is prepared with a calibration list"
        return self.calibration

    def _plan(self, fp32: Artifact) -> QuantizationPlan:
        if fp32.sha256 not in self._plans:
            from slimgate.artifact import float_head_nodes
            from slimgate.compress.quantize import plan_quantization

            self._plans[fp32.sha256] = plan_quantization(
                fp32.path,
                self._calibration_inputs(),
                float_nodes=float_head_nodes(fp32),
                calibration_sha256=self._calibration().sha256,
            )
        return self._plans[fp32.sha256]

    def _calibration_inputs(self) -> Iterator[npt.NDArray[np.float32]]:
        from slimgate.data import batch_from_images, read_image

        for path in self._calibration().paths:
            yield batch_from_images([read_image(path)], self.detector.image_size)[0]


def _versions(*more: str) -> dict[str, str | None]:
    """Return the versions of the packages that shape an artifact; None where one is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str | None] = {}
    for name in ("numpy", "onnx", "torch", "ultralytics-opencv-headless", *more):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions
