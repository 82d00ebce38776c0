"""Pictures with detections drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimgate.report.labels import Label, draw_labels, load_font
from slimgate.report.palette import class_colour, text_colour


def draw_detections(
    image: NDArray[np.uint8],
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike,
    class_names: Sequence[str],
) -> NDArray[np.uint8]:
    """Return a copy of the image with every detection outlined and labelled with its class and score.

    Args:
        image: RGB ``(h, w, 3)``.
        boxes: ``(n, 4)`` xyxy pixels of the image; parts outside of it are cut off.
        scores: ``(n,)`` in 0..1.
        classes: ``(n,)`` indices into ``class_names``.
        class_names: one name per class.
    """
    from PIL import Image, ImageDraw

    height, width = image.shape[:2]
    canvas = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(canvas)
    rows: NDArray[Any] = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    confidences: NDArray[Any] = np.asarray(scores, dtype=np.float64).reshape(-1)
    indices: NDArray[Any] = np.asarray(classes, dtype=np.int64).reshape(-1)
    line_px = max(2, round(min(height, width) / 250))
    font = load_font(max(11, round(min(height, width) / 36)))
    labels = []
    # Sure detections are drawn last, so their outlines lie on top; their labels choose their place first.
    for row in np.argsort(confidences, kind="stable"):
        x1, y1, x2, y2 = np.clip(rows[row], 0, [width - 1, height - 1] * 2).tolist()
        colour = class_colour(int(indices[row]))
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line_px)
        text = f"{class_names[indices[row]]} {confidences[row]:.2f}"
        labels.append(
            Label(box=(x1, y1, x2, y2), text=text, background=colour, foreground=text_colour(colour))
        )
    draw_labels(pen, reversed(labels), (width, height), font)
    return np.asarray(canvas)


def side_by_side(run_dir: Path, case_ids: Sequence[str], picture_id: str) -> bytes:
    """Return a JPEG of one picture of a run: ground truth and cases in a grid, differences marked.

    Args:
        run_dir: a run directory.
        case_ids: case ids, in the order to show.
        picture_id: one of the run's pictures, a key of ``pictures`` in ``run.json``.

    Raises:
        InputError: the directory holds no usable run.
        UsageError: the run has no such case with pictures, or no such picture; lists those it has.
    """
    from slimgate.report.contact import draw_contact_sheet

    return draw_contact_sheet(run_dir, case_ids, picture_id)
