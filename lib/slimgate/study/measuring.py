"""From a case record to the measurements that floors are set for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slimgate.flow import Artifact, Case, Detector, Difference, Json, Measurement, Precision
from slimgate.measure.metrics import metric_for, name_of_set
from slimgate.study.multiplicity import read_simultaneous

if TYPE_CHECKING:
    from slimgate.data import Dataset
    from slimgate.measure import Evaluation
    from slimgate.runtime import Runner

_COCO_METRICS = (("map50_95", "AP"), ("map50", "AP50"), ("map75", "AP75"))
_CONFUSION_METRICS = (
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "f1"),
    ("miss_rate", "miss_rate"),
    ("false_detections", "fp"),
    ("partial", "partial"),
    ("misses", "misses"),
)
_PARITY_METRICS = (("parity_max_abs", "score_max_abs"), ("parity_box_max_abs", "box_max_share"))


def list_measurements(
    case: Case,
    record: Mapping[str, Any],
    *,
    artifact: Artifact | None,
    provenance: Mapping[str, Json],
    device: str,
) -> list[Measurement]:
    """Return the measurements of a case record: every number that a floor may be set for.

    Args:
        case: the case.
        record: the case record.
        artifact: what was measured.
        provenance: shared fingerprints of the run and the case.
        device: device key for the times.
    """
    values: list[tuple[str, float]] = []
    parity = record.get("parity", {})
    values += [(metric, parity[name]) for metric, name in _PARITY_METRICS if name in parity]
    model = record.get("model", {})
    values += [(name, model[name]) for name in ("flops", "parameters", "nonzero_parameters") if name in model]
    if artifact is not None:
        values += _artifact_values(record)
    measurements = _accuracies(case, record, provenance) + _score_shifts(case, record, provenance)
    measurements += [_measurement(case, metric, value, provenance, "any") for metric, value in values]
    measurements += _seconds(case, record, provenance, device)
    for name, other in record.get("also", {}).items():
        of_set = {
            **provenance,
            "dataset_sha256": other["dataset"]["sha256"],
            "images": other["dataset"]["images"],
        }
        measurements += _accuracies(case, other, of_set, name)
    same = record.get("same_network", {})
    if "size_ratio" in same:
        by_size = {**provenance, "baseline": same["case"]}
        measurements.append(_measurement(case, "size_ratio_same", same["size_ratio"], by_size, "any"))
    for batch, entry in record.get("latency", {}).items():
        size = batch.removeprefix("batch")
        measurements.append(_latency(case, f"latency_ratio_b{size}", entry, provenance, device))
        if "same" in entry:
            measurements.append(
                _latency(case, f"latency_ratio_same_b{size}", entry["same"], provenance, device)
            )
    return measurements


def accuracy_values(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return what a case record, or its part on a further set, says about accuracy: metrics and values."""
    coco = record.get("accuracy", {}).get("coco", {})
    values: list[tuple[str, float]] = [(metric, coco[name]) for metric, name in _COCO_METRICS if name in coco]
    confusion = record.get("confusion", {})
    overall = confusion.get("all", {})
    values += [
        (metric, overall[name]) for metric, name in _CONFUSION_METRICS if overall.get(name) is not None
    ]
    best = record.get("curves", {}).get("best_f1")
    if best is not None:
        values.append(("best_f1", best["value"]))
    return values + [
        (f"recall/{name}", row["recall"])
        for name, row in confusion.get("per_class", {}).items()
        if row.get("recall") is not None
    ]


def _accuracies(
    case: Case, record: Mapping[str, Any], provenance: Mapping[str, Json], name: str = ""
) -> list[Measurement]:
    """Return the accuracies of a case record, or of its part on a further set, with what is known of their noise."""
    return [
        dataclasses.replace(
            _measurement(case, name_of_set(metric, name) if name else metric, value, provenance, "any"),
            differences=_differences(record.get("differences", ()), metric),
        )
        for metric, value in accuracy_values(record)
    ]


def _score_shifts(case: Case, record: Mapping[str, Any], provenance: Mapping[str, Json]) -> list[Measurement]:
    shift = record.get("score_shift", {})
    if "mean" not in shift:
        return []
    entry = {"reference": shift["reference"], **shift["difference"]} if "difference" in shift else None
    measurement = _measurement(case, "score_shift", shift["mean"], provenance, "any")
    known = _differences([entry] if entry else [], "score_shift")
    return [dataclasses.replace(measurement, differences=known)]


def _differences(listed: Sequence[Mapping[str, Any]], metric: str) -> tuple[Difference, ...]:
    entries = [(entry, entry["metrics"].get(metric, {})) for entry in listed]
    return tuple(
        Difference(
            reference=Case.parse(entry["reference"]),
            value=found["value"],
            interval=(found["interval"][0], found["interval"][1]),
            **{key: entry[key] for key in ("confidence", "images", "resamples", "seed")},
        )
        for entry, found in entries
        if "interval" in found
    )


def _artifact_values(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    entry = record["artifact"]
    values: list[tuple[str, float]] = [(name, entry[name]) for name in ("size_bytes", "compressed_bytes")]
    if entry["shares"]:
        # bfloat16 is asked of the rows that are called by it; a runtime that takes it unasked is refused. It is in no
        # file, so where nothing ran there is no share of it, and not a share of 0.
        executed = record.get("precision") == Precision.BF16.value and "graph_shares" in entry
        names = ("int8", "fp16", *(("bf16",) if executed else ()))
        values += [(f"{name}_share", entry["shares"].get(name, 0.0)) for name in names]
    if entry["facts"].get("weight_memory_bytes") is not None:
        values.append(("weight_memory_bytes", entry["facts"]["weight_memory_bytes"]))
    return values


def _measurement(
    case: Case, metric: str, value: float, provenance: Mapping[str, Json], device: str
) -> Measurement:
    return Measurement(
        case=case,
        metric=metric,
        value=float(value),
        unit=metric_for(metric).unit,
        provenance=provenance,
        device=device,
    )


def _seconds(
    case: Case, record: Mapping[str, Any], provenance: Mapping[str, Json], device: str
) -> list[Measurement]:
    """Return the times in seconds, each with its exact interval where there were samples enough for one."""
    from slimgate.measure.intervals import CONFIDENCE, median_interval

    stages = record.get("stages", {})
    known: dict[str, tuple[float, tuple[float, float]]] = {
        name: (stages[name], tuple(stages.get("intervals", {}).get(name, (-math.inf, math.inf))))
        for name in ("preprocess_s", "inference_s", "inference_p99_s", "nms_s")
        if name in stages
    }
    for name, entry in record.get("nms", {}).items():
        interval = median_interval(entry.get("samples_s", ()), CONFIDENCE)
        known[f"nms_{name}_s"] = (entry["median_s"], interval)
    found = []
    for metric, (value, ends) in known.items():
        one = _measurement(case, metric, value, provenance, device)
        enough = all(math.isfinite(end) for end in ends)
        found.append(dataclasses.replace(one, interval=ends, confidence=CONFIDENCE) if enough else one)
    return found


def _latency(
    case: Case, metric: str, entry: Mapping[str, Any], provenance: Mapping[str, Json], device: str
) -> Measurement:
    why = entry.get("why_invalid", "")
    simultaneous, comparisons = read_simultaneous(entry)
    return Measurement(
        case=case,
        metric=metric,
        value=entry["ratio"],
        unit="ratio",
        interval=(entry["interval"][0], entry["interval"][1]),
        confidence=entry["confidence"],
        simultaneous=simultaneous,
        comparisons=comparisons,
        samples=tuple(entry["log_ratios"]),
        provenance={**provenance, "baseline": entry["baseline"]},
        device=device,
        valid=not why,
        why_invalid=why,
    )


def artifact_record(artifact: Artifact) -> dict[str, Json]:
    """Return the ``artifact`` part of a case record."""
    from slimgate.artifact import compressed_bytes

    return {
        "file": artifact.path.name,
        "format": artifact.format,
        "target": artifact.target,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "compressed_bytes": compressed_bytes(artifact.path),
        "build_s": artifact.build_s,
        "shares": dict(artifact.shares),
        "facts": dict(artifact.facts),
    }


def add_executed_shares(record: dict[str, Json], runner: Runner) -> None:
    """Replace the graph's shares in a case record by those that the runtime reports, where it reports any.

    The floors of ``int8_share``, ``fp16_share`` and ``bf16_share`` then judge what runs; the graph's own stay as
    ``graph_shares``.

    Raises:
        InputError: what runs differs by more than 1 % of the MACs from what the graph and the runtime's name say.
    """
    executed = runner.executed_shares()
    if executed is not None:
        entry = record["artifact"]
        record["artifact"] = {**entry, "shares": executed, "graph_shares": entry["shares"]}


def also_record(dataset: Dataset, evaluation: Evaluation) -> dict[str, Json]:
    """Return the part of a case record on a further evaluation set; times are measured on the first set only."""
    parts = evaluation.to_json()
    return {
        "dataset": {"name": dataset.name, "images": len(dataset), "sha256": dataset.sha256},
        **{name: parts[name] for name in ("accuracy", "confusion", "curves")},
    }


def count_model(detector: Detector) -> dict[str, Json]:
    """Return the ``model`` part of a case record."""
    from slimgate.model import count_flops, count_parameters

    counted = count_parameters(detector.module)
    return {
        "flops": count_flops(detector),
        "parameters": counted.total,
        "nonzero_parameters": counted.nonzero,
        "weights_sha256": detector.weights_sha256,
    }
