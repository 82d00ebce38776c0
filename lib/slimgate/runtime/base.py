"""What every runtime offers: the whole contract between a file that is shipped and a number that is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from slimgate.detect import GraphNms
from slimgate.detect.graph_nms import COLUMNS
from slimgate.errors import InputError, SlimgateError
from slimgate.flow import Artifact, Detector, Json

FloatArray = npt.NDArray[np.float32]


class Runner(ABC):
    """A detector that is loaded and ready to run; a context manager that frees it.

    Attributes:
        runtime: name in ``slimgate.runtime.RUNTIMES``.
        provider: what really executes the network, as the runtime itself reports it.
        image_size: side of the square input, pixels.
        batch: the only batch size it takes, or 0 for any.
        class_count: how many score rows the prediction has.
        nms: what suppression inside the file is set to, or None when it answers with raw predictions.
        rectangle_stride: above 0, rectangles whose sides are multiples of it (and at most ``image_size``) run too.
    """

    runtime: str
    provider: str
    image_size: int
    batch: int
    class_count: int
    nms: GraphNms | None = None
    rectangle_stride: int = 0

    def run(self, images: FloatArray) -> FloatArray:
        """Return the predictions ``(n, 4 + classes, candidates)`` of RGB images ``(n, 3, s, s)`` in 0..1.

        Rows are centre x, centre y, width, height in pixels of the network input, then one score per class.
        A file that suppresses inside answers ``(n, max_det, 6)``: see ``slimgate.detect.detections_from_rows``.

        Raises:
            InputError: the images have another type, shape or batch size, the runtime failed while it ran, or it
                answered in another shape than the model's classes need.
        """
        self._check_images(images)
        try:
            predictions = self._infer(np.ascontiguousarray(images))
        except SlimgateError:
            raise
        # onnxruntime, OpenVINO, torch and CUDA each have exceptions of their own, without a common base.
        except Exception as error:
            raise refuse_run(self.runtime, len(images), error) from error
        expected: tuple[int | str, ...] = (images.shape[0], 4 + self.class_count, "candidates")
        if self.nms:
            expected = (images.shape[0], "max_det", COLUMNS)
        right = predictions.ndim == 3 and all(
            size == wanted
            for size, wanted in zip(predictions.shape, expected, strict=True)
            if isinstance(wanted, int)
        )
        if predictions.dtype != np.float32 or not right:
            raise InputError(
                f"predictions of {self.runtime}",
                found=f"{predictions.dtype} {predictions.shape}",
                expected=f"float32 {expected}",
                action="export the model with 'slimgate export'",
            )
        return predictions

    @abstractmethod
    def _infer(self, images: FloatArray) -> FloatArray:
        """Return the predictions of checked, contiguous images."""

    def describe(self) -> dict[str, Json]:
        """Return what identifies this execution: runtime, version, provider, threads, and the like."""
        return {"runtime": self.runtime, "provider": self.provider}

    def executed_shares(self) -> dict[str, float] | None:
        """Return the share of convolution MACs per precision that really runs, or None where nothing tells it.

        Raises:
            InputError: it is not what the file's graph says.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most runtimes free with the last reference
        """Free what the runtime holds; the runner cannot run afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _takes(self, sides: tuple[int, ...]) -> bool:
        """Return whether the network takes images of this height and width."""
        if self.rectangle_stride and max(sides) <= self.image_size:
            return all(side > 0 and side % self.rectangle_stride == 0 for side in sides)
        return sides == (self.image_size, self.image_size)

    def _check_images(self, images: FloatArray) -> None:
        batch = self.batch or "n"
        right_batch = images.ndim == 4 and images.shape[0] > 0 and self.batch in (0, images.shape[0])
        right_size = images.ndim == 4 and images.shape[1] == 3 and self._takes(images.shape[2:])
        if images.dtype != np.float32 or not right_batch or not right_size:
            raise InputError(
                f"input of {self.runtime}",
                found=f"{images.dtype} {images.shape}",
                expected=f"float32 {(batch, 3, self.image_size, self.image_size)}",
                action="prepare images with slimgate.data.batch_from_images at the model's image size",
            )


class Open(Protocol):
    """How a runtime loads a model."""

    def __call__(self, source: Artifact | Detector, *, batch: int = 0, threads: int | None = None) -> Runner:
        """Return a runner.

        Args:
            source: what to run.
            batch: the only batch size that will be run, or 0 for any.
            threads: CPU threads; None leaves the choice to the runtime.

        Raises:
            InputError: the runtime cannot load the model.
            UnavailableError: the runtime is not usable on this machine.
        """


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One way to execute a detector.

    Attributes:
        name: its key in ``slimgate.runtime.RUNTIMES``.
        formats: artifact formats it takes: ``slimgate`` (module), ``onnx``, ``engine``.
        device: ``cpu`` or ``gpu``.
        why_unavailable: the reason it cannot be used on this machine, or None.
        open: loads a model.
    """

    name: str
    formats: tuple[str, ...]
    device: str
    why_unavailable: Callable[[], str | None]
    open: Open


def class_count(source: Artifact | Detector) -> int:
    """Return how many classes a model tells apart."""
    return len(source.class_names)


def graph_nms(source: Artifact) -> GraphNms | None:
    """Return what suppression inside a file is set to, or None when there is none."""
    return GraphNms.from_json(source.facts["nms"]) if "nms" in source.facts else None


def refuse_format(runtime: str, source: Artifact | Detector, formats: tuple[str, ...]) -> InputError:
    """Return the error for a model in a format that a runtime does not take."""
    subject = str(source.path) if isinstance(source, Artifact) else f"detector '{source.name}'"
    found = source.format if isinstance(source, Artifact) else "slimgate"
    return InputError(
        subject,
        found=f"format '{found}', which {runtime} does not run",
        expected=f"one of {', '.join(formats)}",
        action=f"export it with 'slimgate export --format {formats[-1]}', or choose another runtime",
    )


@contextmanager
def loading(runtime: str, source: Artifact) -> Iterator[None]:
    """Make one message of whatever a runtime raises while it loads a file and makes ready to run it.

    Raises:
        InputError: it raised something that is no message already.
    """
    try:
        yield
    except SlimgateError:
        raise
    # onnxruntime, OpenVINO, TensorRT and CUDA each have exceptions of their own, without a common base.
    except Exception as error:
        raise refuse_model(runtime, source, error) from error


def refuse_model(runtime: str, source: Artifact, error: Exception) -> InputError:
    """Return the error for a file that a runtime could not load; it carries the runtime's own first line."""
    return InputError(
        str(source.path),
        found=f"{runtime} cannot load it ({_first_line(error)})",
        expected=f"a model for {runtime}",
        action="export it again for this runtime with 'slimgate export'",
    )


def refuse_run(runtime: str, images: int, error: Exception) -> InputError:
    """Return the error for a runtime that failed while it ran; it carries the runtime's own first line."""
    reason = _first_line(error)
    kind = type(error).__name__
    return InputError(
        f"run on {runtime}",
        found=f"failed on a batch of {images} ({kind if reason == kind else f'{kind}: {reason}'})",
        expected="predictions",
        action="free memory or take smaller batches if it ran out of it; else run the model on another runtime to "
        "see whose fault it is",
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
