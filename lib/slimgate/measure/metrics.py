"""Every metric the gate can judge: its unit, and which direction is better."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slimgate.errors import UsageError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that a floor can be set for.

    Attributes:
        name: as in floors and measurements.
        unit: ``fraction``, ``bytes``, ``seconds``, ``ratio``, ``count`` or ``flops``.
        higher_is_better: the direction of improvement.
        meaning: one line for people.
    """

    name: str
    unit: str
    higher_is_better: bool
    meaning: str


_PER_CLASS = "recall/"
_MEANINGS = (
    ("map50_95", "fraction", True, "COCO average precision, IoU .50 to .95"),
    ("map50", "fraction", True, "COCO average precision at IoU .50"),
    ("map75", "fraction", True, "COCO average precision at IoU .75"),
    ("precision", "fraction", True, "share of detections at the deployed confidence that are right"),
    ("recall", "fraction", True, "share of objects found at the deployed confidence, all classes"),
    ("f1", "fraction", True, "harmonic mean of precision and recall at the deployed confidence"),
    ("best_f1", "fraction", True, "highest F1 over all classes at any confidence from 0.01 to 0.99"),
    ("miss_rate", "fraction", False, "share of objects without a detection at the deployed confidence"),
    ("misses", "count", False, "objects without a detection at the deployed confidence"),
    ("false_detections", "count", False, "detections at the deployed confidence that match no object"),
    ("partial", "count", False, "missed objects that a detection covers too little of"),
    ("score_shift", "fraction", True, "mean score of matched detections minus the reference's"),
    ("parity_max_abs", "fraction", False, "largest difference of a raw score from the same network in torch"),
    ("parity_box_max_abs", "fraction", False, "the same of a box coordinate, as a share of the image side"),
    ("size_bytes", "bytes", False, "the artifact file"),
    ("compressed_bytes", "bytes", False, "the artifact file after zlib"),
    ("size_ratio_same", "ratio", False, "bytes (an engine: of its weights) against the same network in FP32"),
    ("weight_memory_bytes", "bytes", False, "memory an engine needs for its weights"),
    ("parameters", "count", False, "numbers in the weights"),
    ("nonzero_parameters", "count", False, "numbers in the weights that are not zero"),
    ("flops", "flops", False, "2 × multiply-accumulates at the image size, batch 1"),
    ("int8_share", "fraction", True, "share of convolution MACs that run in INT8"),
    ("fp16_share", "fraction", True, "share of convolution MACs that run in half precision"),
    ("bf16_share", "fraction", True, "share of convolution MACs that run in bfloat16"),
    ("latency_ratio_b1", "ratio", False, "time per call against FP32 on the same machine, batch 1"),
    ("latency_ratio_b32", "ratio", False, "time per call against FP32 on the same machine, batch 32"),
    ("latency_ratio_same_b1", "ratio", False, "time per call against the same network in FP32, batch 1"),
    ("latency_ratio_same_b32", "ratio", False, "time per call against the same network in FP32, batch 32"),
    ("preprocess_s", "seconds", False, "letterbox and normalisation, per image"),
    ("inference_s", "seconds", False, "network, per image at batch 1"),
    ("inference_p99_s", "seconds", False, "what 99 of 100 images take at most in the network, at batch 1"),
    ("nms_s", "seconds", False, "raw prediction to detections, per image"),
    ("nms_few_s", "seconds", False, "suppression of the stored candidate set 'few'"),
    ("nms_typical_s", "seconds", False, "suppression of the stored candidate set 'typical'"),
    ("nms_crowded_s", "seconds", False, "suppression of the stored candidate set 'crowded'"),
)

OF_A_SET = (
    "map50_95",
    "map50",
    "map75",
    "precision",
    "recall",
    "f1",
    "best_f1",
    "miss_rate",
    "misses",
    "false_detections",
    "partial",
)
"""Metrics that exist for every further evaluation set as well, as ``<metric>[<set>]``."""

_OTHER_SET = re.compile(r"(?P<metric>.+?)\[(?P<set>[^\[\]]+)\]")

_OF_A_BATCH = re.compile(r"(?P<ratio>latency_ratio(_same)?_b)[1-9][0-9]*")
_BATCHES = ("latency_ratio_b<N>", "latency_ratio_same_b<N>")

METRICS: Mapping[str, Metric] = {
    name: Metric(name=name, unit=unit, higher_is_better=better, meaning=meaning)
    for name, unit, better, meaning in _MEANINGS
}
"""Metrics by name; ``metric_for`` knows ``recall/<class>``, ``<metric>[<set>]`` and other batch sizes besides."""


def name_of_set(metric: str, name: str) -> str:
    """Return the name of a metric on a further evaluation set: ``map50_95[codes:test]``."""
    return f"{metric}[{name}]"


def metric_for(name: str) -> Metric:
    """Return the metric of a name.

    ``recall/<class>`` is the recall of one class at the deployed confidence; ``map50_95[codes:test]`` and the like
    are of a further evaluation set. A ratio of times exists for every batch size that a study may measure, such as
    ``latency_ratio_b8``.

    Raises:
        UsageError: there is no such metric; names the nearest and lists all.
    """
    if name in METRICS:
        return METRICS[name]
    of_batch = _OF_A_BATCH.fullmatch(name)
    if of_batch is not None:
        one = METRICS[f"{of_batch['ratio']}1"]
        batch = name.removeprefix(of_batch["ratio"])
        return dataclasses.replace(one, name=name, meaning=f"{one.meaning.removesuffix('1')}{batch}")
    other = _OTHER_SET.fullmatch(name)
    if other is not None and (other["metric"] in OF_A_SET or other["metric"].startswith(_PER_CLASS)):
        metric = metric_for(other["metric"])
        return dataclasses.replace(metric, name=name, meaning=f"{metric.meaning}, on {other['set']}")
    label = name.removeprefix(_PER_CLASS)
    if name.startswith(_PER_CLASS) and label:
        return Metric(
            name=name,
            unit="fraction",
            higher_is_better=True,
            meaning=f"share of '{label}' objects found at the deployed confidence",
        )
    raise unknown_name("metric", name, [*METRICS, *_BATCHES, f"{_PER_CLASS}<class>", "<metric>[<set>]"])


def is_metric(name: str) -> bool:
    """Return whether there is a metric of that name."""
    try:
        metric_for(name)
    except UsageError:
        return False
    return True
