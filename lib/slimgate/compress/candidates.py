"""What an architecture search tried, as it stands in ``search.json``, and the best of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.flow import Json

FORMAT = "slimgate-search/1"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One candidate that was tried.

    Attributes:
        number: in the search.
        operations: that make it, as text.
        flops: share of the original's.
        cost: what was minimised: the share of the FLOPs, or a measured latency ratio.
        score: what was maximised: accuracy on pictures that were not trained on.
        reason: why it has neither, such as a budget that its floors cannot reach; empty otherwise.
    """

    number: int
    operations: tuple[str, ...]
    flops: float | None
    cost: float | None
    score: float | None
    reason: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return it as it stands in ``search.json``."""
        return {
            "number": self.number,
            "operations": list(self.operations),
            "flops": self.flops,
            "cost": self.cost,
            "score": self.score,
            "reason": self.reason,
        }


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no other one beats in cost or score without losing in the other, cheapest first."""
    tried = [one for one in candidates if one.score is not None and one.cost is not None]
    front: list[Candidate] = []
    for one in sorted(tried, key=lambda each: (each.cost, -(each.score or 0.0), each.number)):
        if not front or (one.score or 0.0) > (front[-1].score or 0.0):
            front.append(one)
    return front


def is_search(value: Any) -> bool:
    """Whether a JSON value is a whole ``search.json``, with everything that a report shows of it."""
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        return False
    numbers = ("epochs", "images", "score_images")
    candidates = value.get("candidates")
    return (
        isinstance(value.get("detector"), str)
        and isinstance(value.get("cost"), str)
        and isinstance(value.get("budget_of", ""), str)
        and all(type(value.get(name)) is int for name in numbers)
        and isinstance(value.get("space"), Mapping)
        and isinstance(value["space"].get("budget"), float)
        and isinstance(value.get("front"), list)
        and isinstance(candidates, list)
        and all(_is_candidate(one) for one in candidates)
        and {*value["front"]} <= {one["number"] for one in candidates if one["score"] is not None}
    )


def _is_candidate(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and type(value.get("number")) is int
        and isinstance(value.get("operations"), list)
        and all(isinstance(text, str) for text in value["operations"])
        and all(key in value and isinstance(value[key], float | None) for key in ("flops", "cost", "score"))
        and (value["score"] is None or None not in (value["flops"], value["cost"]))
    )
