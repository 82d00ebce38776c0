"""What can be asked of a quantisation, beside its images and its target."""

from __future__ import annotations

from dataclasses import dataclass

from slimgate.compress.quantize.observe import OBSERVERS
from slimgate.errors import UsageError, unknown_name
from slimgate.flow import Json


@dataclass(frozen=True, kw_only=True)
class QuantizationSettings:
    """Settings of INT8.

    Attributes:
        observer: how ranges are taken, a key of ``OBSERVERS``.
        budget: largest drop of mAP50-95 against FP32, on labelled training pictures, that is accepted; groups of
            layers go back to float until it is kept. None: nothing goes back.
        sensitivity: whether what INT8 costs per group is measured and recorded; a budget implies it.

    Raises:
        UsageError: unknown observer, or a budget that is no share.
    """

    observer: str = "minmax"
    budget: float | None = None
    sensitivity: bool = False

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

    def to_json(self) -> dict[str, Json]:
        """Return what differs from the defaults."""
        values = {"observer": self.observer, "budget": self.budget, "sensitivity": self.sensitivity}
        defaults = {"observer": "minmax", "budget": None, "sensitivity": False}
        return {name: value for name, value in values.items() if value != defaults[name]}
