"""Boxes as text: YOLO lines and the COCO document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.data.codes.scene import IMAGE_SIZE


@dataclass(frozen=True, kw_only=True)
class Box:
    """A labelled symbol: category index, and xyxy in continuous picture pixels."""

    category: int
    xyxy: tuple[float, float, float, float]


def yolo_lines(boxes: Sequence[Box]) -> str:
    """Return YOLO's text: one line per box, class and centre, width, height as fractions."""
    lines = []
    for box in boxes:
        x0, y0, x1, y1 = box.xyxy
        values = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        lines.append(" ".join([str(box.category), *(f"{v / IMAGE_SIZE:.6f}" for v in values)]) + "\n")
    return "".join(lines)


def coco_document(labels: Sequence[Sequence[Box]], names: Sequence[str]) -> dict[str, Any]:
    """Return the COCO json of pictures ``000000.jpg`` and on; image ids are their numbers, category ids start at 1."""
    images = [
        {"id": k, "file_name": f"{k:06d}.jpg", "width": IMAGE_SIZE, "height": IMAGE_SIZE}
        for k in range(len(labels))
    ]
    annotations: list[dict[str, Any]] = []
    for k, boxes in enumerate(labels):
        for box in boxes:
            x0, y0, x1, y1 = (round(v, 3) + 0.0 for v in box.xyxy)
            w, h = round(x1 - x0, 3), round(y1 - y0, 3)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": k,
                    "category_id": box.category + 1,
                    "bbox": [x0, y0, w, h],
                    "area": round(w * h, 3),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}
