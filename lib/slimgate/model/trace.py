"""What a run with labelled channels leaves behind: which labels are one, which are fixed, and who made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

IMAGE_CHANNELS = "channels of the image"
LOST = "reshaped: its channels mean something by position"
GROUPED = "part of a grouped convolution"
SPLIT = "split at positions that the block was built with"
HEAD = "output of the head: its width is set by boxes and classes"
OUTPUT = "output of the network"

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)

Labels = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One convolution as it ran."""

    name: str
    kind: Literal["conv", "deconv", "depthwise", "grouped"]
    inputs: Labels | None
    outputs: Labels


@dataclass
class Trace:
    """What a labelled run saw: a union-find over channel labels, and who made them.

    Attributes:
        subject: what error messages are about.
        calls: every convolution by module name.
        norms: labels of what each batch norm normalised.
    """

    subject: str
    calls: dict[str, Call] = field(default_factory=dict)
    norms: dict[str, Labels] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)
    _fixed: dict[int, str] = field(default_factory=dict)
    _makers: list[str] = field(default_factory=list)

    def new(self, count: int, maker: str) -> Labels:
        """Return labels for ``count`` new channels that the named layer makes."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        self._makers.extend([maker] * count)
        return tuple(range(first, first + count))

    def find(self, label: int) -> int:
        """Return the one label that stands for all that were made one with this one: the oldest."""
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def canonical(self, labels: Sequence[int]) -> Labels:
        """Return the standing label of each."""
        return tuple(self.find(label) for label in labels)

    def join(self, one: Sequence[int], other: Sequence[int]) -> None:
        """Make two equally long rows of labels one, channel by channel."""
        for a, b in zip(self.canonical(one), self.canonical(other), strict=True):
            self._parents[max(self.find(a), self.find(b))] = min(self.find(a), self.find(b))

    def fix(self, labels: Sequence[int], reason: str) -> None:
        """Say that none of these channels may be removed."""
        for label in labels:
            self._fixed[label] = reason

    def fixed(self) -> dict[int, str]:
        """Return the standing labels of fixed channels, with the reason."""
        reasons: dict[int, str] = {}
        for label, reason in self._fixed.items():
            reasons.setdefault(self.find(label), reason)
        return reasons

    def makers(self, labels: Sequence[int]) -> str:
        """Return the names of the layers that made these channels, for a message."""
        names = list(dict.fromkeys(self._makers[label] for label in labels))
        return " + ".join(names)
