"""What to do about a red verdict: where to look by metric, and what to mend by the reason for INVALID. Two tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slimgate.flow import Status
from slimgate.gate.kinds import WHOLE_CASE, is_timed
from slimgate.measure import metric_for

_CLASSES = (
    "recall/<class>: a few classes mean class order or labels, all of them mean decoding, letterbox, lost weights or "
    "calibration ranges"
)
_ONE_CLASS = (
    "this class alone: class order, labels, its branch of the head; all classes: see misses and score_shift"
)
_SCORES = (
    "scores below the deployed confidence: images without any detection, lost weights, calibration ranges, pruning "
    "too far"
)
_SHIFT = (
    "scores that sank while boxes stayed: ranges in and before the head, 'slimgate inspect FILE --scales'"
)
_EXTRA = (
    "what is found too much: suppression left out or at another overlap, class order, boxes moved in decoding"
)
_BOXES = "boxes beside their objects: decoding, the letterbox's border, INT8 in the head"
_OUTPUTS = (
    "other pixels or another graph than torch: colour order, /255, letterbox, an older file, changed weights"
)
_HEAVY = (
    "weights in a wider type than the case's, or a graph with what it does not need: 'slimgate inspect FILE'"
)
_LIGHT = "layers or weights that are missing, or of a narrower type than the case's: 'slimgate inspect FILE'"
_DENSE = "zeros or channels that the operations should have removed: 'slimgate inspect FILE --layers'"
_HOLLOW = (
    "more zeros or channels removed than was accepted: ratio and scope, 'slimgate inspect FILE --layers'"
)
_TOO_GOOD = "more than this case can score: another file under this name, or evaluated pictures that it was trained on"
_RATIOS = "latency_ratio"
_RATIO = (
    "changed versions and threads; then layers in float and conversions between them: 'slimgate inspect FILE'"
)
_STAGE = "changed versions, threads and clocks above, and what else ran on this machine"
_NMS = f"suppression alone, on stored candidates: its code, or {_STAGE}"


@dataclass(frozen=True)
class Sides:
    """Where to look below the lower bound, and above the upper one."""

    low: str
    high: str


def _accuracy(low: str) -> Sides:
    return Sides(low, _TOO_GOOD)


def _share(precision: str) -> Sides:
    return Sides(
        f"convolutions that left {precision}: float pins, missing Q/DQ pairs, another file under this name: "
        "'slimgate inspect FILE'",
        f"convolutions that joined {precision}, such as a head that is no longer pinned to float: "
        "'slimgate inspect FILE'",
    )


_SIZE, _COUNT = Sides(_LIGHT, _HEAVY), Sides(_HOLLOW, _DENSE)
RECALL_OF_CLASS = "recall/"

LOOK_AT: Mapping[str, str | Sides] = {
    "map50_95": _accuracy(_CLASSES),
    "map50": _accuracy(_CLASSES),
    "map75": _accuracy(_BOXES),
    "precision": _accuracy(_EXTRA),
    "recall": _accuracy(_SCORES),
    "f1": _accuracy("precision and recall apart: what is found too much, or too little"),
    "best_f1": _accuracy(_CLASSES),
    "miss_rate": _SCORES,
    "misses": _SCORES,
    "false_detections": _EXTRA,
    "partial": _BOXES,
    "score_shift": _SHIFT,
    "parity_max_abs": _OUTPUTS,
    "parity_box_max_abs": _OUTPUTS,
    "size_bytes": _SIZE,
    "compressed_bytes": _SIZE,
    "size_ratio_same": _SIZE,
    "weight_memory_bytes": _SIZE,
    "parameters": _COUNT,
    "nonzero_parameters": _COUNT,
    "flops": _COUNT,
    "int8_share": _share("INT8"),
    "fp16_share": _share("half precision"),
    "bf16_share": _share("bfloat16"),
    "latency_ratio_b1": _RATIO,
    "latency_ratio_b32": _RATIO,
    "latency_ratio_same_b1": _RATIO,
    "latency_ratio_same_b32": _RATIO,
    "preprocess_s": _STAGE,
    "inference_s": _STAGE,
    "inference_p99_s": _STAGE,
    "nms_s": _STAGE,
    "nms_few_s": _NMS,
    "nms_typical_s": _NMS,
    "nms_crowded_s": _NMS,
    RECALL_OF_CLASS: _accuracy(_ONE_CLASS),
}
"""Where a metric that does not hold its floor comes from, most likely first; by metric, ``recall/`` for any class.

One text where a metric is bounded on one side, or both sides come from the same."""

_UNSURE = (
    "what else runs on this machine: time it alone; if it stays, the bound is finer than these times can tell"
)

DO: tuple[tuple[str, str], ...] = (
    ("no floor: paste", ""),
    ("no record of an accepted run", ""),
    ("a run is no judge of itself", ""),
    ("the floor is vacuous", ""),
    ("measured twice in one run", "list the case once in the study; a second number may be of another file"),
    ("its case was not selected", "measure the selected cases alone, or select this one with -k"),
    (
        "the metric was not measured",
        "find the step that left it out in the log, or remove its floor with a reason",
    ),
    ("nothing of it was measured", "find the first error of this case in the log, and run the case alone"),
    ("the floor is unused", "restore the case in the study, or remove its floors and records with a reason"),
    ("it failed:", "mend what the error names, and run the case alone"),
    ("too busy to judge", "stop what else runs on this machine, and run again; no floor was missed"),
    (
        "in a slower state",
        "run again; if it stays so, stop what else runs on this machine. No floor was missed",
    ),
    ("A/A control", "stop what else runs on this machine, and run again; no floor was missed"),
    (
        "which is no number",
        "look for NaN in weights, pixels and outputs: overflow in half precision, an empty set",
    ),
    ("percent?", "give fractions: 0.9 and not 90"),
    ("outside its own interval", "take value and interval from the same samples"),
    ("comparisons at once", "take both intervals from the same samples"),
    ("confidence, 95% or more", "measure more rounds, and state the interval at 95 %"),
    ("samples lie between", "look for a ratio turned over, or samples of another case"),
    ("measured on device", "accept a run of this device, or run on the floor's: floors are per machine"),
    (
        "ran with",
        "return to the floor's major version, or accept a run of the new one and write floors for it",
    ),
    ("the floor is of", "correct the floor's case and metric"),
    ("the floor is in", "correct the floor's unit"),
    ("the record is in", "accept a run of this device and unit again"),
    (
        "the record is of another run",
        "undo what the cause names; if it is meant, 'slimgate accept RUN_DIR --reason'",
    ),
    ("measured in", "correct the unit of what was measured"),
    ("the reference", "run the reference in the same run, with the same data and protocol"),
    ("held against", "correct the floor's reference"),
)
"""What to do about INVALID, by words of its cause, first match first; empty where the cause says it itself."""

_MEND = "mend what the cause names, and run the case again"


def advise(status: Status, metric: str, cause: str = "", *, high: bool = False) -> tuple[str, str] | None:
    """Return label and text of the line that says what to do, or None where nothing is red or the cause says it.

    Args:
        status: of the verdict.
        metric: what it is about, ``case`` for the whole of it.
        cause: the first cause of an INVALID verdict.
        high: whether what was measured lies above the upper bound.
    """
    if status is Status.INVALID:
        told = "what to do" in cause  # an error that the case failed with
        text = "" if told else next((action for words, action in DO if words in cause), _MEND)
        return ("what to do", text) if text else None
    if status is Status.INCONCLUSIVE:
        return ("look at", _UNSURE if is_timed(metric) else look_at(metric, high=high))
    return ("look at", look_at(metric, high=high)) if status is Status.FAIL else None


def look_at(metric: str, *, high: bool = False) -> str:
    """Return where a metric that does not hold comes from: below its bound, or above it.

    Raises:
        UsageError: there is no such metric.
    """
    if metric == WHOLE_CASE:
        return _MEND
    if metric not in LOOK_AT:
        metric_for(metric)
        if metric.startswith(_RATIOS):
            metric = f"{metric.rpartition('_b')[0]}_b1"
        metric = RECALL_OF_CLASS if metric.startswith(RECALL_OF_CLASS) else metric.partition("[")[0]
    text = LOOK_AT[metric]
    if isinstance(text, Sides):
        return text.high if high else text.low
    return text
