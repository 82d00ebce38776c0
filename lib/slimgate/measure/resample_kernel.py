"""The compiled loop of the bootstrap: COCO's average precision of many resamples of the same images.

Imported on first use, as the loops of detection are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slimgate.detect.kernels import compiled

EPSILON = float(np.spacing(1))
"""What COCO adds to the denominator of precision."""


@compiled
def average_precisions(
    copies: Any, images: Any, ends: Any, hits: Any, ignored: Any, starts: Any, objects: Any, levels: Any
) -> Any:
    """Return average precision ``(resamples, thresholds, classes)``, NaN where a class has no objects.

    The mean over the recall levels of the highest precision at that recall or beyond, as pycocotools'
    ``accumulate`` has it, for images that occur as often as ``copies`` says. Only where the count of hits grows
    can precision be highest or recall reach a level, so nothing else is kept.

    Args:
        copies: ``(resamples, images)`` how often each image was drawn.
        images: ``(n,)`` image of each detection; detections of one class are together, best first, equal scores
            by image.
        ends: ``(n,)`` where the run of equal scores of one image that a detection is in ends: copies of that image
            repeat the run, not each detection.
        hits: ``(n,)`` bit t: the detection took an object at the t-th IoU threshold.
        ignored: ``(n,)`` bit t: it counts neither way there.
        starts: ``(classes + 1,)`` where the detections of each class begin.
        objects: ``(images, classes)`` objects to be found.
        levels: ``(101,)`` recall levels, ascending.
    """
    thresholds = 10
    classes = objects.shape[1]
    found = np.full((copies.shape[0], thresholds, classes), np.nan)
    right = np.empty(2 * len(hits) + 1, np.uint16)
    wrong = np.empty(2 * len(hits) + 1, np.uint16)
    for resample in range(copies.shape[0]):
        drawn = copies[resample]
        for label in range(classes):
            positives = 0
            for image in range(objects.shape[0]):
                positives += drawn[image] * objects[image, label]
            if positives == 0:
                continue
            kept = 0
            start = starts[label]
            while start < starts[label + 1]:
                end = ends[start]
                for _ in range(drawn[images[start]]):
                    for index in range(start, end):
                        if kept == len(right):
                            right = np.concatenate((right, np.empty_like(right)))
                            wrong = np.concatenate((wrong, np.empty_like(wrong)))
                        right[kept] = hits[index] & ~ignored[index]
                        wrong[kept] = ~hits[index] & ~ignored[index]
                        kept += 1
                start = end
            precision = np.empty(positives)
            for threshold in range(thresholds):
                hit, false = 0, 0
                for index in range(kept):
                    if (right[index] >> threshold) & 1:
                        hit += 1
                        precision[hit - 1] = hit / (false + hit + EPSILON)
                    else:
                        false += (wrong[index] >> threshold) & 1
                for index in range(hit - 2, -1, -1):
                    precision[index] = max(precision[index], precision[index + 1])
                total = 0.0
                index = 0
                for level in levels:
                    while index < hit and (index + 1) / positives < level:
                        index += 1
                    if index == hit:
                        break
                    total += precision[index]
                found[resample, threshold, label] = total / len(levels)
    return found
