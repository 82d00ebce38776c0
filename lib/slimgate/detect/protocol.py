"""The rules that turn predictions into detections, and detections into numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any

from slimgate.errors import UsageError


def _evaluator() -> str:
    return f"hotcoco {metadata.version('hotcoco')}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluation protocol; two numbers compare only when theirs are equal.

    Attributes:
        image_size: side of the square letterbox, pixels.
        conf: scores must exceed this; near zero, since average precision needs the whole curve.
        iou: a box is suppressed by a better one of its class that it overlaps by more than this.
        max_det: detections kept per image, best first.
        multi_label: whether one candidate may answer for several classes (else its best class only).
        max_candidates: best-scoring candidates that enter suppression per image. 30,000 is what YOLOv5 and
            ultralytics cap at; it only bites in crowds at a confidence near zero.
        deployed_conf: the fixed confidence a user ships with; scores must exceed it to count as detections.
        match_iou: overlap from which a detection at the deployed confidence has found an object.
        letterbox: how images get onto the canvas; always ``square``.
        evaluator: name and version of the program that computes average precision.
    """

    image_size: int
    conf: float = 0.001
    iou: float = 0.6
    max_det: int = 300
    multi_label: bool = True
    max_candidates: int = 30_000
    deployed_conf: float = 0.5
    match_iou: float = 0.5
    letterbox: str = "square"
    evaluator: str = field(default_factory=_evaluator)

    def __post_init__(self) -> None:
        for name in ("conf", "iou", "deployed_conf", "match_iou"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(
                    name, found=str(value), expected="a fraction from 0 to 1", action=f"correct {name}"
                )
        for name in ("image_size", "max_det", "max_candidates"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(name, found=str(value), expected="at least 1", action=f"correct {name}")
        if self.letterbox != "square":
            raise UsageError(
                "letterbox",
                found=f"'{self.letterbox}'",
                expected="'square', the one input shape that every runtime can be fed with",
                action="leave it out",
            )

    def deployed(self) -> Protocol:
        """Return the protocol of a shipped detector: fixed confidence, each candidate's best class only."""
        return replace(self, conf=self.deployed_conf, multi_label=False)

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as JSON values."""
        return asdict(self)
