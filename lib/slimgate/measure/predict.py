"""Running a detector over images: letterbox, inference, suppression, each timed apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from slimgate.data import (
    Dataset,
    ImageCache,
    batch_from_images,
    read_image,
    rectangle_from_image,
    require_known_pixels,
)
from slimgate.data.letterbox import PADDING
from slimgate.detect import (
    Detections,
    GraphNms,
    Protocol,
    compile_kernels,
    detections_from_prediction,
    detections_from_rows,
)

Progress = Callable[[int], object]
"""Called with the number of images that were just finished."""


class ImageRunner(Interface):
    """The part of ``slimgate.runtime``'s Runner that predicting needs.

    Attributes:
        batch: the only batch size it takes, or 0 for any.
        nms: what suppression inside the file is set to, or None when it answers with raw predictions.
    """

    batch: int
    nms: GraphNms | None

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return predictions ``(n, 4 + classes, anchors)``, or rows, for images ``(n, 3, s, s)`` in 0..1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The detections of one image under each protocol, and what they cost.

    Attributes:
        path: the image file.
        width: of the original image, pixels.
        height: of the original image, pixels.
        detections: one per protocol, in pixels of the original image.
        preprocess_s: seconds to letterbox the decoded image and make it network input, reading not included.
        inference_s: seconds of the batch this image was in, divided by the images in it.
        nms_s: seconds from raw prediction to detections, under the first protocol.
    """

    path: Path
    width: int
    height: int
    detections: tuple[Detections, ...]
    preprocess_s: float
    inference_s: float
    nms_s: float


def iterate_predictions(
    runner: ImageRunner,
    paths: Sequence[Path],
    protocols: Sequence[Protocol],
    *,
    batch: int = 1,
    rectangle_stride: int = 0,
    cache: ImageCache | None = None,
) -> Iterator[Prediction]:
    """Yield the prediction of each image file, in order.

    Args:
        runner: runs the network.
        paths: image files.
        protocols: at least one; all with the same image size, since the network runs once.
        batch: images per network call; a runner that is fixed to one batch size decides itself, and a last
            call with fewer images is filled up with empty ones.
        rectangle_stride: above 0, each image is run alone on the smallest canvas of whole strides: for looking,
            not for judging, since no fixed-size file can do it.
        cache: of images that were read before.

    Raises:
        InputError: an image cannot be read, or a known picture does not come out as it must.
    """
    require_known_pixels(read=read_image, prepare=batch_from_images)
    compile_kernels()
    size = protocols[0].image_size
    batch = runner.batch or batch
    batch = 1 if rectangle_stride else batch
    for start in range(0, len(paths), batch):
        chosen = paths[start : start + batch]
        images = [cache.get(path, read_image) if cache else read_image(path) for path in chosen]
        began = time.perf_counter()
        if rectangle_stride:
            network_input, placements = rectangle_from_image(images[0], size, stride=rectangle_stride)
        else:
            network_input, placements = batch_from_images(images, size)
        prepared = time.perf_counter()
        missing = runner.batch - len(chosen) if runner.batch else 0
        if missing:
            network_input = np.concatenate(
                [network_input, np.zeros_like(network_input[:1]).repeat(missing, 0)]
            )
        outputs = runner.run(network_input)[: len(chosen)]
        inferred = time.perf_counter()
        for path, placement, output in zip(chosen, placements, outputs, strict=True):
            seconds = []
            found = []
            for protocol in protocols:
                before = time.perf_counter()
                if runner.nms is None:
                    detections = detections_from_prediction(output, protocol)
                else:
                    detections = detections_from_rows(output, protocol, runner.nms)
                found.append(detections.with_boxes(placement.to_original(detections.boxes)))
                seconds.append(time.perf_counter() - before)
            yield Prediction(
                path=path,
                width=placement.width,
                height=placement.height,
                detections=tuple(found),
                preprocess_s=(prepared - began) / len(chosen),
                inference_s=(inferred - prepared) / len(chosen),
                nms_s=seconds[0],
            )


def warm_up(runner: ImageRunner, protocol: Protocol, *, calls: int = 2) -> None:
    """Run the network on empty images, so that the first real one is not charged for one-time work."""
    compile_kernels()
    size = protocol.image_size
    empty = np.full((runner.batch or 1, 3, size, size), PADDING / 255, dtype=np.float32)
    for _ in range(calls):
        runner.run(empty)


def predict_dataset(
    runner: ImageRunner,
    dataset: Dataset,
    protocol: Protocol,
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[Detections]:
    """Return the detections of every image of a dataset, in its order, in pixels of the original images."""
    return predict_protocols(runner, dataset, [protocol], batch=batch, progress=progress)[0]


def predict_protocols(
    runner: ImageRunner,
    dataset: Dataset,
    protocols: Sequence[Protocol],
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> list[list[Detections]]:
    """Return one list of detections per protocol while running the network only once per image.

    ``predict_protocols(runner, dataset, [protocol, protocol.deployed()])`` gives what average precision needs
    and what a user of the fixed confidence sees.
    """
    results: list[list[Detections]] = [[] for _ in protocols]
    paths = [sample.path for sample in dataset.samples]
    for prediction in iterate_predictions(runner, paths, protocols, batch=batch):
        for result, detections in zip(results, prediction.detections, strict=True):
            result.append(detections)
        if progress is not None:
            progress(1)
    return results
