"""The first 128 images of COCO train2017: a regression reference for COCO detectors, not a test set."""

from __future__ import annotations

from slimgate.data.coco_json import read_coco
from slimgate.data.fetch import fetch
from slimgate.data.sample import Dataset
from slimgate.data.yolo_txt import read_yolo

# fmt: off
COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag",
    "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork",
    "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog",
    "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv",
    "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 COCO classes in the order of their category ids, which YOLO class indices follow."""

_ANNOTATIONS = "instances_train2017.json"
_YOLO_NOTES = (
    "ground truth from the YOLO label files: crowd regions and mask areas are missing, so numbers and "
    f"dataset sha256 differ from those of {_ANNOTATIONS}"
)


def read_coco128(*, count: int | None = None) -> Dataset:
    """Return coco128 with COCO's own annotations where they are at hand, else with the archive's YOLO labels.

    Only COCO's file knows crowd regions and mask areas. The ``notes`` of the dataset say when it was not
    there.

    Raises:
        InputError: the images are not the published ones.
        UnavailableError: the data is nowhere and cannot be downloaded.
    """
    folder = fetch("coco128")
    annotations = folder / _ANNOTATIONS
    if annotations.exists():
        return read_coco(annotations, name="coco128", count=count)
    return read_yolo(folder, name="coco128", count=count, class_names=COCO_NAMES, notes=_YOLO_NOTES)
