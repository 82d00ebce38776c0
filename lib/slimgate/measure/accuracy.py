"""Average precision and recall as COCO defines them, computed by hotcoco."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.data import Dataset
from slimgate.detect import Detections
from slimgate.errors import InputError

COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The 12 COCO numbers in the order pycocotools prints them."""

_ALL_AREAS = 0
_MOST_DETECTIONS = 2
_AREA_OF_SIZE = {"APs": 1, "APm": 2, "APl": 3, "ARs": 1, "ARm": 2, "ARl": 3}
_LINES = (
    ("Average Precision", "(AP)", "0.50:0.95", "all", 100),
    ("Average Precision", "(AP)", "0.50", "all", 100),
    ("Average Precision", "(AP)", "0.75", "all", 100),
    ("Average Precision", "(AP)", "0.50:0.95", "small", 100),
    ("Average Precision", "(AP)", "0.50:0.95", "medium", 100),
    ("Average Precision", "(AP)", "0.50:0.95", "large", 100),
    ("Average Recall", "(AR)", "0.50:0.95", "all", 1),
    ("Average Recall", "(AR)", "0.50:0.95", "all", 10),
    ("Average Recall", "(AR)", "0.50:0.95", "all", 100),
    ("Average Recall", "(AR)", "0.50:0.95", "small", 100),
    ("Average Recall", "(AR)", "0.50:0.95", "medium", 100),
    ("Average Recall", "(AR)", "0.50:0.95", "large", 100),
)


@dataclass(frozen=True, kw_only=True)
class CocoResult:
    """COCO's numbers for one detector on one dataset, each a fraction 0..1 or None.

    None means that there is no ground truth to find (a class or size the dataset does not have), which COCO
    writes as -1. Ground truth without any detection is 0.0.

    Attributes:
        numbers: the 12 numbers by name, see ``COCO_NUMBERS``.
        ap_by_iou: average precision over all classes at each IoU threshold, ``"0.50"`` to ``"0.95"``.
        per_class: ``ap`` (IoU .50:.95) and ``ap50`` by class name.
        images: how many images were evaluated.
    """

    numbers: Mapping[str, float | None]
    ap_by_iou: Mapping[str, float | None]
    per_class: Mapping[str, Mapping[str, float | None]]
    images: int

    def lines(self) -> list[str]:
        """Return the 12 lines exactly as pycocotools prints them."""
        return [
            f" {title:<18} {kind} @[ IoU={iou:<9} | area={area:>6s} | maxDets={most:>3d} ]"
            f" = {_shown(value):0.3f}"
            for (title, kind, iou, area, most), value in zip(_LINES, self.numbers.values(), strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the ``accuracy`` part of a case record; numbers that do not exist are absent."""
        return {
            "coco": _present(self.numbers),
            "ap_by_iou": _present(self.ap_by_iou),
            "per_class": {name: _present(values) for name, values in self.per_class.items()},
            "images": self.images,
        }


def evaluate_coco(dataset: Dataset, detections: Sequence[Detections]) -> CocoResult:
    """Return COCO's 12 numbers and their breakdown by IoU, class and size.

    Equal to pycocotools to the last bit (the tests hold it to that), crowd regions included.

    Args:
        dataset: the ground truth.
        detections: one entry per image of the dataset, in its order, in pixels of the original images.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    evaluation = open_evaluation(dataset, detections)
    evaluation.evaluate()
    evaluation.accumulate()
    table: Any = evaluation.eval
    precision: npt.NDArray[np.float64] = np.asarray(table["precision"])
    recall: npt.NDArray[np.float64] = np.asarray(table["recall"])
    thresholds = np.linspace(0.5, 0.95, 10)
    curve = precision[..., _ALL_AREAS, _MOST_DETECTIONS]
    return CocoResult(
        numbers=_twelve_numbers(precision, recall),
        ap_by_iou={f"{iou:.2f}": _mean(curve[index]) for index, iou in enumerate(thresholds)},
        per_class={
            name: {"ap": _mean(curve[:, :, index]), "ap50": _mean(curve[0, :, index])}
            for index, name in _class_order(dataset)
        },
        images=len(dataset),
    )


def open_evaluation(dataset: Dataset, detections: Sequence[Detections]) -> Any:
    """Return hotcoco's evaluation of detections, not yet run.

    Raises:
        InputError: not one entry per image, or a box or score that is not finite.
    """
    import hotcoco

    require_aligned(dataset, detections)
    truth = dataset.to_coco()
    ground = hotcoco.COCO(truth)
    rows = coco_rows(dataset, detections)
    found = ground.load_res(rows) if len(rows) else hotcoco.COCO({**truth, "annotations": []})
    return hotcoco.COCOeval(ground, found, "bbox")


def require_aligned(dataset: Dataset, detections: Sequence[Detections]) -> None:
    """Refuse detections that are not one finite entry per image of the dataset.

    Raises:
        InputError: the lengths differ, or a box or score is NaN or infinite.
    """
    if len(detections) != len(dataset):
        raise InputError(
            dataset.name,
            found=f"detections for {len(detections)} images",
            expected=f"one entry for each of its {len(dataset)} images",
            action="predict the whole dataset, or evaluate on dataset.head(count)",
        )
    broken = [
        sample.path.name
        for sample, found in zip(dataset.samples, detections, strict=True)
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all())
    ]
    if broken:
        raise InputError(
            dataset.name,
            found=f"NaN or infinite boxes or scores on {len(broken)} images, first {broken[0]}",
            expected="finite numbers from the network",
            action="check the exported model: overflow in half precision is the usual cause",
        )


def coco_rows(dataset: Dataset, detections: Sequence[Detections]) -> npt.NDArray[np.float64]:
    """Return detections ``(n, 7)``: image id, x, y, width, height in pixels, score, category id."""
    categories = np.array(dataset.category_ids, dtype=np.float64)
    parts = [np.zeros((0, 7))]
    for sample, found in zip(dataset.samples, detections, strict=True):
        boxes = found.boxes.astype(np.float64)
        parts.append(
            np.column_stack(
                [
                    np.full(len(found), sample.image_id, dtype=np.float64),
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    found.scores.astype(np.float64),
                    categories[found.classes],
                ]
            )
        )
    return np.concatenate(parts)


def _twelve_numbers(
    precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64]
) -> dict[str, float | None]:
    """Return the 12 numbers.

    Args:
        precision: by IoU threshold, recall level, class, area range and detection limit.
        recall: by IoU threshold, class, area range and detection limit.
    """
    numbers: dict[str, float | None] = {}
    for name in COCO_NUMBERS:
        area = _AREA_OF_SIZE.get(name, _ALL_AREAS)
        if name.startswith("AP"):
            chosen = precision[..., area, _MOST_DETECTIONS]
            if name in ("AP50", "AP75"):
                chosen = chosen[0 if name == "AP50" else 5]
        else:
            most = {"AR1": 0, "AR10": 1}.get(name, _MOST_DETECTIONS)
            chosen = recall[..., area, most]
        numbers[name] = _mean(chosen)
    return numbers


def _class_order(dataset: Dataset) -> list[tuple[int, str]]:
    """Return (row in the evaluator's tables, class name): the evaluator sorts by category id."""
    order = np.argsort(dataset.category_ids, kind="stable")
    row_of = {int(label): row for row, label in enumerate(order)}
    return [(row_of[label], name) for label, name in enumerate(dataset.class_names)]


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Return the mean of the cells that have ground truth (COCO marks the others -1)."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def _present(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _shown(value: float | None) -> float:
    return -1.0 if value is None else value
