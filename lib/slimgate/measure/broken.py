"""What a detector scores when it is broken on purpose: the level that a floor has to be above to mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from slimgate.data import Dataset
from slimgate.detect import Detections, Protocol
from slimgate.measure.accuracy import evaluate_coco
from slimgate.measure.confusion import confusion_at

OTHER_CLASSES = "every class taken for the next"
OTHER_PICTURES = "the detections of another picture"


def break_classes(detections: Sequence[Detections], class_count: int) -> list[Detections]:
    """Return detections whose class ``i`` is called ``i + 1``, and the last one the first."""
    return [replace(one, classes=(one.classes + 1) % class_count) for one in detections]


def break_pictures(dataset: Dataset, detections: Sequence[Detections]) -> list[Detections]:
    """Return for each picture the detections of the one half the dataset further on, scaled to its size.

    Classes, scores, and where objects tend to lie are those of the detector; only what is in the picture is lost.
    """
    count = len(dataset.samples)
    broken = []
    for index, sample in enumerate(dataset.samples):
        source = (index + max(1, count // 2)) % count
        other = dataset.samples[source]
        scale = np.array([sample.width / other.width, sample.height / other.height] * 2, dtype=np.float32)
        broken.append(detections[source].with_boxes(detections[source].boxes * scale))
    return broken


def broken_records(
    dataset: Dataset, everything: Sequence[Detections], deployed: Sequence[Detections], protocol: Protocol
) -> dict[str, Mapping[str, object]]:
    """Return ``accuracy`` and ``confusion`` of a detector that is broken on purpose, by the way it is broken.

    A way that a dataset cannot show is left out: with one class there is no other, with one picture neither.

    Args:
        dataset: the evaluated images.
        everything: detections down to the protocol's confidence, one per image, original pixels.
        deployed: the same at the deployed confidence.
        protocol: what they were evaluated with.
    """
    ways: dict[str, tuple[list[Detections], list[Detections]]] = {}
    classes = len(dataset.class_names)
    if classes > 1:
        ways[OTHER_CLASSES] = (break_classes(everything, classes), break_classes(deployed, classes))
    if len(dataset.samples) > 1:
        ways[OTHER_PICTURES] = (break_pictures(dataset, everything), break_pictures(dataset, deployed))
    return {
        how: {
            "accuracy": evaluate_coco(dataset, every).to_json(),
            "confusion": confusion_at(
                dataset, shown, conf=protocol.deployed_conf, iou=protocol.match_iou
            ).to_json(),
        }
        for how, (every, shown) in ways.items()
    }
