"""Which parts of a network INT8 costs most in, and which of them go back to float: pure decisions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slimgate.flow import Json

_BLOCK = re.compile(r"^/?(?P<block>model\.\d+)(?:/(?P<branch>(?:cv|m)\d?\.\d+))?")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Convolutions that are quantised or left in float together.

    Attributes:
        name: of the block, such as ``model.4``.
        nodes: ONNX names of its convolutions.
        macs: multiply-accumulates of them.
        noise: error power over signal power that arrives at the head's outputs when this group alone is quantised.
        drop: of the score, with this group alone quantised; None when it was not measured.
    """

    name: str
    nodes: tuple[str, ...]
    macs: int
    noise: float = 0.0
    drop: float | None = None

    @property
    def sqnr_db(self) -> float | None:
        """The noise as a signal to quantisation noise ratio in decibels; None without noise."""
        return -10 * math.log10(self.noise) if 0.0 < self.noise < math.inf else None

    def to_json(self) -> dict[str, Json]:
        """Return the group as JSON values."""
        return {
            "name": self.name,
            "nodes": list(self.nodes),
            "macs": self.macs,
            "sqnr_db": self.sqnr_db,
            "drop": self.drop,
        }


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What INT8 costs per group, and what was done about it.

    Attributes:
        groups: costliest per multiply-accumulate first: the order in which they go back to float.
        budget: largest drop of the score that is accepted; None when none was asked for.
        score: of the FP32 file on the labelled pictures; None without them.
        steps: drop of the score after each number of returned groups, from none on.
        returned: names of the groups that went back to float.
    """

    groups: tuple[Group, ...]
    budget: float | None = None
    score: float | None = None
    steps: tuple[float, ...] = ()
    returned: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Json]:
        """Return the sensitivity as JSON values."""
        return {
            "groups": [group.to_json() for group in self.groups],
            "budget": self.budget,
            "score": self.score,
            "steps": list(self.steps),
            "returned": list(self.returned),
        }


def group_convolutions(macs: Mapping[str, int]) -> tuple[Group, ...]:
    """Return convolutions grouped by block, in the order of the mapping.

    A block is ``model.N`` of the node's name, and a branch of the head within it (``model.24/cv2.0``); what has
    another name is a group of its own.

    Args:
        macs: ONNX node name to multiply-accumulates.
    """
    names: dict[str, list[str]] = {}
    head = max((int(match["block"][6:]) for node in macs if (match := _BLOCK.match(node))), default=-1)
    for node in macs:
        match = _BLOCK.match(node)
        name = match["block"] if match else node
        if match and name == f"model.{head}" and match["branch"]:
            name = f"{name}/{match['branch']}"
        names.setdefault(name, []).append(node)
    return tuple(
        Group(name=name, nodes=tuple(nodes), macs=sum(macs[node] for node in nodes))
        for name, nodes in names.items()
    )


def rank_groups(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Return the groups in the order in which they should go back to float.

    What a group costs is its drop of the score where that was measured for all of them, else its noise; what its
    return costs is its multiply-accumulates. Noise that is not correlated adds up, so the best group is the one
    that takes away most per multiply-accumulate.
    """
    listed = list(groups)
    measured = all(group.drop is not None for group in listed)

    def worth(group: Group) -> tuple[float, float]:
        cost = group.drop if measured and group.drop is not None else group.noise
        # A group that costs nothing is never worth its arithmetic; its noise still settles ties.
        return max(cost, 0.0) / max(group.macs, 1), group.noise / max(group.macs, 1)

    return tuple(sorted(listed, key=worth, reverse=True))


def return_groups(
    ranked: Sequence[Group], *, budget: float, drop_with: Callable[[Sequence[Group]], float]
) -> tuple[tuple[Group, ...], tuple[float, ...]]:
    """Return the groups to leave in float so that the drop of the score keeps to a budget.

    Groups are added in their order until the measured drop is within the budget; what turned out not to be needed
    is then taken away again, the dearest first.

    Args:
        ranked: in the order in which they go back to float.
        budget: largest drop that is accepted.
        drop_with: measures the drop with groups left in float.

    Returns:
        The groups, and the drop after each step; all groups when nothing less keeps to the budget.
    """
    steps = [drop_with(())]
    chosen: list[Group] = []
    while steps[-1] > budget and len(chosen) < len(ranked):
        chosen.append(ranked[len(chosen)])
        steps.append(drop_with(chosen))
    # The last one made the difference; of the others, those that did not are only slower.
    for group in sorted(chosen[:-1], key=lambda group: -group.macs):
        fewer = [other for other in chosen if other is not group]
        drop = drop_with(fewer)
        if drop <= budget:
            chosen = fewer
            steps.append(drop)
    return tuple(chosen), tuple(steps)
