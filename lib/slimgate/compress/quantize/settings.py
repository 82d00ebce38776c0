"""What can be asked of a quantisation, beside its images and its target."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from slimgate.compress.quantize.observe import OBSERVERS
from slimgate.errors import UsageError, unknown_name
from slimgate.flow import Json

PEERS = ("onnxruntime", "nncf", "ultralytics", "modelopt")
"""Other tools whose INT8 can be put beside ours: ``slimgate.artifact.peer`` runs them."""


@dataclass(frozen=True, kw_only=True)
class QuantizationSettings:
    """Settings of INT8.

    Attributes:
        observer: how ranges are taken, a key of ``OBSERVERS``.
        budget: largest drop of mAP50-95 against FP32, on labelled training pictures, that is accepted; groups of
            layers go back to float until it is kept. None: nothing goes back.
        sensitivity: whether what INT8 costs per group is measured and recorded; a budget implies it.
        score_groups: whether the mAP50-95 that each group alone costs is measured too, on labelled training pictures;
            groups are then ranked by it and not by their noise. Implies ``sensitivity``.
        peer: another tool that quantises instead, at its own defaults, one of ``PEERS``; empty for slimgate itself.

    Raises:
        UsageError: unknown observer or peer, a budget that is no share, or settings beside a peer.
    """

    observer: str = "minmax"
    budget: float | None = None
    sensitivity: bool = False
    score_groups: bool = False
    peer: str = ""

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise unknown_name("observer", self.observer, OBSERVERS)
        if self.budget is not None and not 0 <= self.budget < 1:
            raise UsageError(
                f"budget {self.budget}",
                found="not a share of mAP",
                expected="the drop of mAP50-95 that is accepted, from 0 to 1: 0.002 is a fifth of a point",
                action="write a budget such as 0.002",
            )
        if not self.peer:
            return
        if self.peer not in PEERS:
            raise unknown_name("peer", self.peer, PEERS)
        others = [name for name in self.to_json() if name != "peer"]
        if others:
            raise UsageError(
                f"peer '{self.peer}'",
                found=f"{others[0]} beside it",
                expected="a peer alone: it quantises at its own defaults",
                action=f"leave {others[0]} out, or leave peer out",
            )

    @property
    def needs_labels(self) -> bool:
        """Whether mAP is measured on labelled training pictures."""
        return self.budget is not None or self.score_groups

    def to_json(self) -> dict[str, Json]:
        """Return what differs from the defaults."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
