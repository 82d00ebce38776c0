"""The splits of the built-in ``codes`` set: which seeds, how many pictures, and what they must hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

import numpy as np

from slimgate.data.codes.scene import Scene, render_scene
from slimgate.errors import unknown_name

CLASS_NAMES: tuple[str, ...] = ("datamatrix", "qrcode", "barcode")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split.

    Attributes:
        name: ``train``, ``val``, ``test`` or ``calib``.
        seed: the first half of each picture's seed; the other half is its index.
        count: number of pictures.
        hard: whether the pictures are made to hold long, thin, small and cut 1-D codes.
    """

    name: str
    seed: int
    count: int
    hard: bool = False


SPLITS: dict[str, Split] = {
    "train": Split(name="train", seed=20_261_001, count=10_000),
    "val": Split(name="val", seed=20_261_002, count=500),
    "test": Split(name="test", seed=20_261_003, count=400, hard=True),
    # Calibration must never see an evaluated picture: it is the beginning of train.
    "calib": Split(name="calib", seed=20_261_001, count=512),
}


def split_named(name: str) -> Split:
    """Return a split.

    Raises:
        UsageError: there is no such split.
    """
    if name not in SPLITS:
        raise unknown_name("codes split", name, SPLITS)
    return SPLITS[name]


def render_index(split: Split, index: int) -> Scene:
    """Return one picture of a split; it depends on the split's seed and the index alone."""
    return render_scene(np.random.default_rng([split.seed, index]), hard=split.hard)


def digest_of(image_digests: Iterable[str]) -> str:
    """Return the sha256 over the images' sha256 hex digests, in order."""
    total = hashlib.sha256()
    for digest in image_digests:
        total.update(digest.encode("ascii"))
    return total.hexdigest()


def stored_digest(split: Split, count: int) -> str | None:
    """Return the digest that the first ``count`` pictures must have, or None where none is stored."""
    text = resources.files("slimgate.data.codes").joinpath("digests.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)["splits"]
    return found.get(split.name, {}).get(str(count))
