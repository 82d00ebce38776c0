"""Datasets, letterbox and calibration lists: everything a detector is fed with."""

from slimgate.data.calibration import CalibrationList, calibration_list, labelled_list
from slimgate.data.checked import check_class_names, check_image_size
from slimgate.data.fetch import fetch
from slimgate.data.images import ImageCache, inspect_image, list_images, read_image
from slimgate.data.known_picture import require_known_pixels
from slimgate.data.letterbox import Letterbox, batch_from_images, letterbox, rectangle_from_image
from slimgate.data.load import held_out_source, load_dataset, training_source
from slimgate.data.sample import Dataset, Sample

__all__ = [
    "CalibrationList",
    "Dataset",
    "ImageCache",
    "Letterbox",
    "Sample",
    "batch_from_images",
    "calibration_list",
    "check_class_names",
    "check_image_size",
    "fetch",
    "held_out_source",
    "inspect_image",
    "labelled_list",
    "letterbox",
    "list_images",
    "load_dataset",
    "read_image",
    "rectangle_from_image",
    "require_known_pixels",
    "training_source",
]
