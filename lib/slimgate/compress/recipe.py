"""What a kind of training adds to plain training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from slimgate.flow import Json


class Recipe:
    """Adds nothing; kinds of training override what they need.

    ``trainer`` is ``slimgate.compress.trainer.Trainer``: its ``model``, ``optimizer`` and ``ema.ema`` (the averaged
    weights, which are handed over) are ready, ``epoch`` counts from 0, ``share_done`` is the share of the run's
    steps that are done.
    """

    def begin(self, trainer: Any) -> None:
        """Prepare, right before the first step of a fresh or resumed run."""

    def after_update(self, trainer: Any) -> None:
        """Act after the optimizer's step and the update of the averaged weights."""

    def row(self, module: nn.Module) -> Mapping[str, float]:
        """Return what to add to the epoch's row of the curve, of the averaged network."""
        return {}

    def notes(self, module: nn.Module) -> Mapping[str, Json]:
        """Return what to add to the notes of the step in the lineage, of the network handed over."""
        return {}
