"""Writes ``candidates.npz``: run once with ``python -m slimgate.measure.store_candidates``, then committed.

Not run by anything else: timings on stored candidates compare over years only while the candidates stay the
same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slimgate.data import batch_from_images, fetch, read_image
from slimgate.data.fetch import coco128_images
from slimgate.detect import Candidates, candidates_from_prediction
from slimgate.measure.nms_time import STEPS_PER_PIXEL

_SIZE = 640
_STREET = "000000000049.jpg"
_CROWDS = ("000000000196.jpg", "000000000127.jpg", "000000000315.jpg", "000000000544.jpg")


def main() -> None:
    """Run the official YOLOv5n on pictures of coco128 and store what it emits before suppression."""
    import torch

    from slimgate.model import load_detector

    images = coco128_images(fetch("coco128"))
    stored: dict[str, Any] = {}
    for name, files, conf, multi_label in (
        ("few", (_STREET,), 0.25, False),
        ("typical", (_STREET,), 0.001, True),
        ("crowded", _CROWDS, 0.001, True),
    ):
        tiles, _ = batch_from_images([read_image(images / file) for file in files], _SIZE)
        side = round(len(files) ** 0.5)
        rows = [np.concatenate(list(tiles[row * side : (row + 1) * side]), axis=2) for row in range(side)]
        picture = np.concatenate(rows, axis=1)[None]
        detector = load_detector(fetch("yolov5n.pt"), image_size=_SIZE * side)
        with torch.inference_mode():
            prediction = detector.module(torch.from_numpy(picture)).numpy()[0]
        found = candidates_from_prediction(prediction, conf=conf, multi_label=multi_label)
        stored |= {f"{name}_{key}": value for key, value in _compact(found).items()}
    np.savez_compressed(Path(__file__).with_name("candidates.npz"), **stored)


def _compact(found: Candidates) -> dict[str, Any]:
    steps = np.rint(found.boxes * STEPS_PER_PIXEL)
    limits = np.iinfo(np.int16)
    return {
        "boxes": np.clip(steps, limits.min, limits.max).astype(np.int16),
        "scores": found.scores.astype(np.float16),
        "classes": found.classes.astype(np.uint8),
    }


if __name__ == "__main__":
    main()
