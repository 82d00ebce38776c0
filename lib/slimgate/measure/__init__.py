"""Numbers about detectors: accuracy, confusion, latency, suppression time, and the machine they come from."""

from slimgate.measure.accuracy import COCO_NUMBERS, CocoResult, evaluate_coco
from slimgate.measure.metrics import METRICS, Metric, metric_for
from slimgate.measure.pairs import PairResult, control, measure_pairs, refuse_workers
from slimgate.measure.predict import (
    Prediction,
    iterate_predictions,
    predict_dataset,
    predict_protocols,
)

__all__ = [
    "COCO_NUMBERS",
    "METRICS",
    "CocoResult",
    "Metric",
    "PairResult",
    "Prediction",
    "control",
    "evaluate_coco",
    "iterate_predictions",
    "measure_pairs",
    "metric_for",
    "predict_dataset",
    "predict_protocols",
    "refuse_workers",
]
