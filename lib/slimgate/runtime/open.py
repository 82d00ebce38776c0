"""Any MODEL file, opened for ``predict`` and ``val``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimgate.artifact.load import artifact_from_file
from slimgate.data.fetch import find_model
from slimgate.errors import InputError, UsageError
from slimgate.flow import Artifact, Detector
from slimgate.runtime.base import Runner
from slimgate.runtime.registry import RUNTIMES, get_runtime

DETECTOR_SUFFIXES = (".safetensors", ".json", ".pt")
SUFFIXES = (*DETECTOR_SUFFIXES, ".onnx", ".engine")


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model file that is ready to run.

    Attributes:
        runner: runs it; close it when done.
        class_names: one per class index.
        image_size: side of the square input, pixels.
        label: for people: file name and runtime.
    """

    runner: Runner
    class_names: tuple[str, ...]
    image_size: int
    label: str


def open_model(
    path: str | Path,
    *,
    runtime: str | None = None,
    image_size: int | None = None,
    batch: int = 0,
    threads: int | None = None,
) -> OpenModel:
    """Return a MODEL of any kind, loaded into a runtime.

    Args:
        path: a slimgate checkpoint, a YOLOv5 or ultralytics ``.pt``, an ``.onnx``, an ``.engine`` or ``fetch:NAME``.
        runtime: name in ``RUNTIMES``; None: torch for checkpoints, onnxruntime for ONNX, an engine's own kind.
        image_size: for checkpoints, the side to run at; for files of one fixed size, what is asked for.
        batch: the only batch size that will be run, or 0 for any.
        threads: CPU threads; None leaves the choice to the runtime.

    Raises:
        InputError: the file is not a model, or not at this image size.
        UsageError: unknown runtime, or one that does not run this kind of file.
        UnavailableError: the runtime is not usable on this machine.
    """
    if runtime is not None:
        get_runtime(runtime)  # before anything is loaded
    path = find_model(path)
    source = _load(path, image_size)
    name = runtime or _default_runtime(source)
    chosen = get_runtime(name)
    kind = source.format if isinstance(source, Artifact) else "slimgate"
    if kind not in chosen.formats:
        fitting = [other.name for other in RUNTIMES.values() if kind in other.formats]
        raise UsageError(
            f"runtime '{name}'",
            found=f"does not run {path.name} (format '{kind}')",
            expected=f"one of {', '.join(fitting)}",
            action="leave the runtime out, or export the model to the runtime's format",
        )
    return OpenModel(
        runner=chosen.open(source, batch=batch, threads=threads),
        class_names=source.class_names,
        image_size=source.image_size,
        label=f"{path.name} @ {name}",
    )


def _load(path: Path, image_size: int | None) -> Artifact | Detector:
    suffix = path.suffix.lower()
    if suffix in DETECTOR_SUFFIXES:
        from slimgate.model import load_detector

        return load_detector(path, image_size=image_size)
    if suffix not in SUFFIXES:
        raise InputError(
            str(path),
            found=f"suffix '{suffix}'" if path.exists() else "no such file",
            expected=f"a model: {', '.join(SUFFIXES)}",
            action="name a checkpoint, an ONNX file or an engine",
        )
    artifact = artifact_from_file(path)
    if image_size not in (None, artifact.image_size):
        raise InputError(
            str(path),
            found=f"fixed to {artifact.image_size} pixels, not {image_size}",
            expected=f"image size {artifact.image_size}",
            action="leave the image size out, or export the model at the other size",
        )
    return artifact


def _default_runtime(source: Artifact | Detector) -> str:
    if isinstance(source, Detector):
        return "torch"
    return "onnxruntime" if source.format == "onnx" else str(source.facts["kind"])
