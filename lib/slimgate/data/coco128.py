"""The first 128 images of COCO train2017: a regression reference for COCO detectors, not a test set.

The ground truth is COCO's own, which alone knows crowd regions and mask areas. The archive of the images holds labels
without either, so the annotations of these images are shipped with the package (docs/datasets.md).
"""

from __future__ import annotations

from importlib import resources

from slimgate.data.coco_json import read_coco
from slimgate.data.fetch import coco128_images, fetch
from slimgate.data.sample import Dataset

_ANNOTATIONS = "coco128_instances.json"


def read_coco128(*, count: int | None = None) -> Dataset:
    """Return coco128 with COCO's own annotations: the same data, and the same sha256, on every machine.

    Raises:
        InputError: the images are not the published ones.
        UnavailableError: the images are nowhere and cannot be downloaded.
    """
    images = coco128_images(fetch("coco128"))
    with resources.as_file(resources.files("slimgate.data").joinpath(_ANNOTATIONS)) as annotations:
        return read_coco(annotations, name="coco128", count=count, images=images)
