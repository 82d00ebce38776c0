"""What an architecture search chooses among, and how a choice becomes a row of operations under a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimgate.compress.apply import apply_steps, parse_step
from slimgate.compress.favour import HEAD, channel_parts, text_from_factors
from slimgate.compress.operation import Operation, Workspace
from slimgate.compress.shallow import most_blocks
from slimgate.errors import UsageError, unknown_name
from slimgate.flow import Detector, Json
from slimgate.model import count_flops, strides_of
from slimgate.model.channels import trace_channels

if TYPE_CHECKING:
    import optuna

Latency = Callable[[Detector], float]
"""Measures a network's latency as a share of the original's."""

_LARGEST_FACTOR = 8.0
_TIMED = re.compile(r"^slim:latency=[^,]+")
_LEAST_SHARE = 0.25
"""Candidates cost from this share of the budget to all of it, so that the front has a length."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What candidates differ in.

    Attributes:
        parts: strides, and the head, whose share of the channels is searched.
        levels: how many detection levels may go at most.
        blocks: most blocks that a stage has; down to 1 is searched.
        activations: to choose from; with one there is no choice.
        budget: largest share of what the original costs, 0..1.
        budget_of: ``flops``, or ``latency``: measured.
    """

    parts: tuple[str, ...]
    levels: int
    blocks: int
    activations: tuple[str, ...]
    budget: float
    budget_of: str = "flops"

    def to_json(self) -> dict[str, Json]:
        """Return it as a journal holds it."""
        return {
            "parts": list(self.parts),
            "levels": self.levels,
            "blocks": self.blocks,
            "activations": list(self.activations),
            "budget": self.budget,
            # Journals of before there was another budget than FLOPs are continued.
            **({} if self.budget_of == "flops" else {"budget_of": self.budget_of}),
        }


def search_space(
    detector: Detector,
    *,
    budget: float,
    budget_of: str = "flops",
    activations: Sequence[str] = (),
    levels: int = 1,
) -> Space:
    """Return what can be searched of a detector.

    Args:
        detector: the original.
        budget: largest share of its FLOPs, or of its latency.
        budget_of: ``flops`` or ``latency``.
        activations: to choose from; empty: it keeps its own.
        levels: how many detection levels may go at most.

    Raises:
        UsageError: the budget is not a share, or an activation is not known.
    """
    known = ("silu", "relu", "hardswish")
    for name in activations:
        if name not in known:
            raise unknown_name("activation", name, known)
    if not 0 < budget <= 1:
        raise UsageError(
            "budget",
            found=f"{budget:g}",
            expected=f"a share of the {'FLOPs' if budget_of == 'flops' else budget_of}, above 0 and up to 1",
            action="write --budget 0.3",
        )
    parts = set(channel_parts(detector, trace_channels(detector.module, subject=detector.name)).values())
    return Space(
        parts=tuple(sorted(parts, key=lambda part: (part == HEAD, len(part), part))),
        levels=min(levels, len(strides_of(detector.module)) - 1),
        blocks=most_blocks(detector),
        activations=tuple(activations),
        budget=budget,
        budget_of=budget_of,
    )


def suggest_operations(
    trial: optuna.trial.BaseTrial,
    space: Space,
    detector: Detector,
    registry: Mapping[str, Operation],
    latency: Latency | None = None,
) -> list[str]:
    """Return the operations of a candidate before its training.

    Args:
        trial: asked for every choice.
        space: what may be chosen.
        detector: the original.
        registry: the operations by name.
        latency: measures a network's share of the original's latency, where that is the budget.
    """
    texts = []
    levels = trial.suggest_int("levels", 0, space.levels) if space.levels else 0
    blocks = trial.suggest_int("blocks", 1, space.blocks) if space.blocks > 1 else 1
    factors = {
        part: trial.suggest_float(f"favour {part}", 1 / _LARGEST_FACTOR, _LARGEST_FACTOR, log=True)
        for part in space.parts
    }
    share = trial.suggest_float(space.budget_of, space.budget * _LEAST_SHARE, space.budget, log=True)
    activation = trial.suggest_categorical("activation", space.activations) if space.activations else None
    if levels:
        texts.append(f"drop-levels:{levels}")
    reduced = apply_steps(detector, [parse_step(text, registry) for text in texts], registry, Workspace())
    # The deepest stage may have gone with its level.
    if blocks < most_blocks(reduced):
        texts.append(f"shallow:{blocks}")
        reduced = apply_steps(reduced, [parse_step(texts[-1], registry)], registry, Workspace())
    left = set(channel_parts(reduced, trace_channels(reduced.module)).values())
    if latency is not None:
        own_share = share / latency(reduced)
    else:
        own_share = share * count_flops(detector) / count_flops(reduced)
    if own_share < 1:
        favour = text_from_factors({part: factor for part, factor in factors.items() if part in left})
        texts.append(
            f"slim:{space.budget_of}={own_share:.6g},importance=taylor,per=flops,floor=0.03,head_floor=0.06,"
            f"favour={favour}"
        )
    if activation:
        texts.append(f"swap-activation:{activation}")
    return texts


def within_latency(
    detector: Detector,
    texts: Sequence[str],
    registry: Mapping[str, Operation],
    budget: float,
    latency: Latency,
) -> tuple[Detector, list[str]]:
    """Return the untrained candidate that keeps to a budget of latency, and its operations without a clock.

    What was measured is written down as the ratio of channels that it came to, which takes the same ones: so the
    operations make the same network again on any machine.

    Raises:
        UsageError: it is slower than the budget, or nothing is as fast as it was to be.
    """
    shares: dict[str, float] = {}

    def relative(first: Detector, other: Detector, runtime: str) -> float:
        if first.weights_sha256 not in shares:
            shares[first.weights_sha256] = latency(first)
        return latency(other) / shares[first.weights_sha256]

    steps = [parse_step(text, registry) for text in texts]
    made = apply_steps(detector, steps, registry, Workspace(latency=relative))
    taken = latency(made)
    if taken > budget:
        raise UsageError(
            f"{taken:.3f} of the original's latency",
            found=f"above the budget of {budget:g}",
            expected="a network within it",
            action="raise the budget, or leave slower activations out",
        )
    ratios = [step.notes["ratio"] for step in made.lineage if step.operation == "slim"]
    if not ratios:
        return made, list(texts)
    return made, [_TIMED.sub(f"slim:{ratios[-1]!r},capped=accept", text) for text in texts]
