"""The batch sizes that an engine is built for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from slimgate.errors import UsageError

LARGEST_DYNAMIC_BATCH = 32

_TEXT = re.compile(r"(\d+):(\d+):(\d+)")


class Profile(NamedTuple):
    """One optimisation profile: every batch size from ``smallest`` to ``largest`` runs, ``usual`` is tuned for."""

    smallest: int
    usual: int
    largest: int

    def __str__(self) -> str:
        return f"{self.smallest}:{self.usual}:{self.largest}"


def profile_from_text(text: str) -> Profile:
    """Return the profile that ``MIN:OPT:MAX`` says.

    Raises:
        UsageError: it is no such text, or the three sizes are not in order.
    """
    match = _TEXT.fullmatch(text)
    profile = Profile(*(int(size) for size in match.groups())) if match else None
    if profile is None or not 1 <= profile.smallest <= profile.usual <= profile.largest:
        raise UsageError(
            f"profile '{text}'",
            found="not three batch sizes in ascending order",
            expected="MIN:OPT:MAX, such as 1:1:32",
            action="write the smallest, the usual and the largest batch size",
        )
    return profile


def profiles_from_batch(batch: int) -> tuple[Profile, ...]:
    """Return the one profile of a fixed batch size, or of 1 to 32 for 0.

    Raises:
        UsageError: the batch size is negative.
    """
    if batch < 0:
        raise UsageError(
            f"batch {batch}", found="negative", expected="0 (1 to 32) or a size", action="choose 0 or more"
        )
    return (Profile(batch, batch, batch) if batch else Profile(1, 1, LARGEST_DYNAMIC_BATCH),)


def profiles_for_batches(kind: str, batches: Collection[int]) -> tuple[Profile, ...]:
    """Return the profiles that serve several batch sizes best.

    TensorRT tunes a profile for its usual size alone, so each batch size gets a profile of its own. TensorRT-RTX
    compiles for the sizes that it meets when it runs; a second profile would only store every kernel twice
    (codes detector in FP16: 16.0 MB instead of 7.1), so one profile spans them all.

    Args:
        kind: of engine, in ``slimgate.artifact.trt.KINDS``.
        batches: the sizes that will be run, at least one.
    """
    sizes = sorted(set(batches))
    if kind == "tensorrt-rtx":
        return (Profile(sizes[0], sizes[0], sizes[-1]),)
    return tuple(Profile(size, size, size) for size in sizes)


def fixed_batch(profiles: Sequence[Profile]) -> int:
    """Return the only batch size that profiles allow, or 0 when there are several."""
    sizes = {size for profile in profiles for size in profile}
    return sizes.pop() if len(sizes) == 1 else 0


def choose_profile(profiles: Sequence[Profile], batch: int) -> int | None:
    """Return the index of the profile that runs a batch with the least to fill up, or None when none is large enough.

    A batch below a profile's smallest size runs in it once it is filled up to that.
    """
    fitting = [index for index, profile in enumerate(profiles) if profile.largest >= batch]
    if not fitting:
        return None
    # The narrowest of those that need no filling is the one that was tuned closest to this size.
    return min(
        fitting,
        key=lambda index: (max(profiles[index].smallest - batch, 0), abs(profiles[index].usual - batch)),
    )
