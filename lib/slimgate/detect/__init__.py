"""Pure array code between a network's output and its detections."""

from slimgate.detect.boxes import box_areas, box_iou, intersections, xyxy_from_xywh
from slimgate.detect.decode import (
    Candidates,
    Detections,
    candidates_from_prediction,
    compile_kernels,
    detections_from_prediction,
)
from slimgate.detect.graph_nms import GraphNms, detections_from_rows
from slimgate.detect.nms import nms
from slimgate.detect.protocol import Protocol

__all__ = [
    "Candidates",
    "Detections",
    "GraphNms",
    "Protocol",
    "box_areas",
    "box_iou",
    "candidates_from_prediction",
    "compile_kernels",
    "detections_from_prediction",
    "detections_from_rows",
    "intersections",
    "nms",
    "xyxy_from_xywh",
]
