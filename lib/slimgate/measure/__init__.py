"""Numbers about detectors: accuracy, confusion, latency, suppression time, and the machine they come from."""

from slimgate.measure.accuracy import COCO_NUMBERS, CocoResult, evaluate_coco
from slimgate.measure.bootstrap import (
    Differences,
    Resampled,
    compare_resampled,
    compare_scores,
    resample_metrics,
)
from slimgate.measure.confusion import ClassCounts, Confusion, confusion_at
from slimgate.measure.curves import CONFIDENCES, ConfidenceCurves, confidence_curves, curves_protocol
from slimgate.measure.environment import device_key, environment, require_gpu_key
from slimgate.measure.evaluate import Evaluation, evaluate_runner
from slimgate.measure.match_file import read_matches, write_matches
from slimgate.measure.matches import Matches, match_images
from slimgate.measure.metrics import METRICS, Metric, is_metric, metric_for
from slimgate.measure.nms_time import CANDIDATE_SETS, NmsTime, measure_nms, stored_candidates
from slimgate.measure.pairs import (
    Budget,
    PairResult,
    control,
    measure_pairs,
    refuse_workers,
    summarise_pairs,
)
from slimgate.measure.parity import OutputParity, ScoreShift, compare_predictions, score_shift
from slimgate.measure.predict import (
    Prediction,
    iterate_predictions,
    predict_dataset,
    predict_protocols,
    warm_up,
)
from slimgate.measure.rounds import EXTENSION
from slimgate.measure.stages import StageTimes, measure_stages, summarise_stages

__all__ = [
    "CANDIDATE_SETS",
    "COCO_NUMBERS",
    "CONFIDENCES",
    "EXTENSION",
    "METRICS",
    "Budget",
    "ClassCounts",
    "CocoResult",
    "ConfidenceCurves",
    "Confusion",
    "Differences",
    "Evaluation",
    "Matches",
    "Metric",
    "NmsTime",
    "OutputParity",
    "PairResult",
    "Prediction",
    "Resampled",
    "ScoreShift",
    "StageTimes",
    "compare_predictions",
    "compare_resampled",
    "compare_scores",
    "confidence_curves",
    "confusion_at",
    "control",
    "curves_protocol",
    "device_key",
    "environment",
    "evaluate_coco",
    "evaluate_runner",
    "is_metric",
    "iterate_predictions",
    "match_images",
    "measure_nms",
    "measure_pairs",
    "measure_stages",
    "metric_for",
    "predict_dataset",
    "predict_protocols",
    "read_matches",
    "refuse_workers",
    "require_gpu_key",
    "resample_metrics",
    "score_shift",
    "stored_candidates",
    "summarise_pairs",
    "summarise_stages",
    "warm_up",
    "write_matches",
]
