"""Detections of files that suppress inside the graph: their settings are part of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.detect.decode import Detections, require_finite_boxes
from slimgate.detect.protocol import Protocol
from slimgate.errors import InputError, UsageError

COLUMNS = 6
"""Of a row: x1, y1, x2, y2 in pixels of the network input, score, class index."""


@dataclass(frozen=True, kw_only=True)
class GraphNms:
    """What non-maximum suppression inside a graph was set to.

    Each position answers for its best class alone, as a shipped detector does.

    Attributes:
        conf: scores must exceed this.
        iou: a box is suppressed by a better one of its class that it overlaps by more than this.
        max_det: rows per image; those without a detection are zeros.
    """

    conf: float = 0.001
    iou: float = 0.6
    max_det: int = 300

    def __post_init__(self) -> None:
        for name in ("conf", "iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"NMS {name}",
                    found=str(getattr(self, name)),
                    expected="a fraction from 0 to 1",
                    action=f"correct {name}",
                )
        if self.max_det < 1:
            raise UsageError(
                "NMS max_det", found=str(self.max_det), expected="at least 1", action="correct max_det"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GraphNms:
        """Return the settings that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        return cls(conf=float(value["conf"]), iou=float(value["iou"]), max_det=int(value["max_det"]))

    def judging(self, protocol: Protocol) -> Protocol:
        """Return a protocol as this file can answer it: each position for its best class alone."""
        return replace(protocol, multi_label=False)


def detections_from_rows(rows: npt.NDArray[np.float32], protocol: Protocol, settings: GraphNms) -> Detections:
    """Return the detections of one image, in pixels of the network input.

    Greedy suppression commutes with a higher confidence and with a lower ``max_det``: what a box suppresses depends
    on better boxes alone. So the rows answer any protocol with the same ``iou`` exactly, and no other.

    Args:
        rows: ``(max_det, 6)`` float32, best first: x1, y1, x2, y2, score, class; zeros where there is none.
        protocol: confidence and limits.
        settings: what the file was set to.

    Raises:
        InputError: the file suppressed in another way than the protocol asks for, its scores are NaN, or a
            detection has a box that is NaN or infinite.
    """
    asked = {
        "iou": (settings.iou, f"{protocol.iou:g}", settings.iou == protocol.iou),
        "conf": (settings.conf, f"at most {protocol.conf:g}", settings.conf <= protocol.conf),
        "max_det": (settings.max_det, f"at least {protocol.max_det}", settings.max_det >= protocol.max_det),
        "classes per position": (1, "all" if protocol.multi_label else "1", not protocol.multi_label),
    }
    for name, (found, expected, fits) in asked.items():
        if not fits:
            raise InputError(
                "NMS inside the file",
                found=f"{name} {found:g}",
                expected=f"{name} {expected}, as is asked for",
                action="ask for what the file does, or export it again with these --nms settings",
            )
    if np.isnan(rows[:, 4]).any():
        raise InputError(
            "prediction",
            found=f"{int(np.isnan(rows[:, 4]).sum())} of {len(rows)} scores are NaN",
            expected="scores in 0..1",
            action="check the exported model: overflow in half precision is the usual cause",
        )
    kept = rows[rows[:, 4] > np.float32(protocol.conf)][: protocol.max_det]
    require_finite_boxes(kept[:, :4])
    return Detections(
        boxes=np.ascontiguousarray(kept[:, :4]),
        scores=np.ascontiguousarray(kept[:, 4]),
        classes=kept[:, 5].astype(np.int32),
    )
