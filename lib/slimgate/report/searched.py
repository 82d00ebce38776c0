"""What an architecture search found: its candidates, and the front that none of them beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slimgate.report.charts import NARROW, WIDE, Point, draw_scatter
from slimgate.report.numbers import show_fraction, show_ratio
from slimgate.report.table import Column, Table, number_cell, text_cell


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search, as the report shows it.

    Attributes:
        detector: that was searched from.
        budget: largest share of what it costs.
        budget_of: what that is, in words.
        cost: what was to be small.
        tried: candidates that were scored.
        failed: candidates that could not be made.
        training: how each was trained, in words.
        score_images: pictures that the score is of.
        plots: wide and narrow.
        front: a line per candidate on the front, cheapest first.
    """

    detector: str
    budget: float
    budget_of: str
    cost: str
    tried: int
    failed: int
    training: str
    score_images: int
    plots: Sequence[Markup]
    front: Table


def read_searched(run: Mapping[str, Any]) -> Searched | None:
    """Return the search that a run's study names, or None."""
    search = run.get("search")
    if not search:
        return None
    scored = [one for one in search["candidates"] if one["score"] is not None]
    best = [one for number in search["front"] for one in scored if one["number"] == number]
    numbers = set(search["front"])
    cost = "share of the FLOPs" if search["cost"] == "flops" else search["cost"]
    axis = (f"← cheaper · {cost}, of the original's · dearer →", f"← cheaper · {cost} →")
    points = [_point(one, on_front=one["number"] in numbers) for one in scored]
    title = f"mAP50-95 on held-out training pictures against {cost}; the table has the front"
    return Searched(
        detector=search["detector"],
        budget=search["space"]["budget"],
        budget_of=search.get("budget_of", "FLOPs"),
        cost=cost,
        tried=len(scored),
        failed=len(search["candidates"]) - len(scored),
        training=f"{search['epochs']} epochs of {search['images']} pictures",
        score_images=search["score_images"],
        plots=[draw_scatter(points, size=size, title=title, axis=axis) for size in (WIDE, NARROW)]
        if points
        else [],
        front=_front_table(best, cost),
    )


def _point(one: Mapping[str, Any], *, on_front: bool) -> Point:
    return Point(
        label=str(one["number"]),
        ratio=one["cost"],
        interval=(one["cost"], one["cost"]),
        accuracy=one["score"],
        precision="fp32",
        sparse=not on_front,
        about=f"candidate {one['number']}: mAP50-95 {one['score']:.4f}, cost {one['cost']:.3f}; "
        + _operations(one),
    )


def _front_table(best: Sequence[Mapping[str, Any]], cost: str) -> Table:
    return Table(
        caption="Pareto front of the search",
        columns=[
            Column(title="Candidate"),
            Column(title="Cost", hint=cost),
            Column(title="FLOPs", hint="share of the original's"),
            Column(title="mAP50-95", hint="on training pictures that it was not trained on"),
            Column(title="Operations", numeric=False),
        ],
        rows=[
            [
                number_cell(one["number"], lambda value: f"{value:.0f}"),
                number_cell(one["cost"], show_ratio),
                number_cell(one["flops"], show_ratio),
                number_cell(one["score"], show_fraction),
                text_cell(_operations(one)),
            ]
            for one in best
        ],
    )


def _operations(one: Mapping[str, Any]) -> str:
    """Return what made a candidate, without its training and what all of them share."""
    shown = []
    for text in one["operations"]:
        name, _, rest = text.partition(":")
        if name == "finetune":
            continue
        kept = [
            part
            for part in rest.split(",")
            if part.partition("=")[0] in ("flops", "favour") or "=" not in part
        ]
        shown.append(f"{name}:{','.join(kept)}")
    return " → ".join(shown)
