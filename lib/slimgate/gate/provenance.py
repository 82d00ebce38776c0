"""What a number is a number of: the fingerprint that must match, and the rest that only explains a change."""

from __future__ import annotations

from collections.abc import Mapping

from slimgate.flow import Json

FINGERPRINT = (
    "weights_sha256",
    "dataset_sha256",
    "images",
    "protocol",
    "calibration_sha256",
    "lineage",
    "baseline",
)
"""What must be the same for two numbers to be comparable.

The artifact's sha256 is not among them: engine builds are not bit-reproducible, and the same export differs
in its last bits between two kinds of CPU.
"""

_TITLES = {
    "weights_sha256": "other weights",
    "dataset_sha256": "other dataset",
    "images": "other number of images",
    "protocol": "other protocol",
    "calibration_sha256": "other calibration images",
    "lineage": "other operations",
    "baseline": "a ratio to another baseline",
}
_SHOWN_HASH = 12


def find_mismatches(golden: Mapping[str, Json], current: Mapping[str, Json]) -> list[str]:
    """Return one text per fingerprint that differs between a record and what is judged."""
    texts = []
    for key in FINGERPRINT:
        before, now = _plain(golden.get(key)), _plain(current.get(key))
        if key == "lineage":
            before, now = _replayable(before), _replayable(now)
        if before != now:
            texts.append(_describe(key, before, now))
    return texts


def find_changes(golden: Mapping[str, Json], current: Mapping[str, Json]) -> list[str]:
    """Return one text per difference that is allowed: versions, artifact, commit, seeds, environment."""
    texts = []
    for key in sorted({*golden, *current} - set(FINGERPRINT)):
        before, now = _plain(golden.get(key)), _plain(current.get(key))
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            texts += [
                f"{name} {_show(before.get(name))} → {_show(now.get(name))}"
                for name in sorted({*before, *now})
                if before.get(name) != now.get(name)
            ]
        else:
            texts.append(f"{key} {_show(before)} → {_show(now)}")
    return texts


def _describe(key: str, before: Json, now: Json) -> str:
    if key == "images" and isinstance(before, int) and isinstance(now, int):
        amount = "too few" if now < before else "more"
        return f"{now} images, the record has {before}: {amount}"
    if key == "protocol" and isinstance(before, Mapping) and isinstance(now, Mapping):
        differing = ", ".join(
            f"{name} {_show(before.get(name))} → {_show(now.get(name))}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        )
        return f"other protocol: {differing}"
    if key == "lineage" and isinstance(before, list) and isinstance(now, list):
        return f"{_TITLES[key]}: {_describe_steps(before, now)}"
    return f"{_TITLES[key]}: {_show(before)} → {_show(now)}"


def _describe_steps(before: list[Json], now: list[Json]) -> str:
    """Return what differs between two lists of operations: not the steps that both begin or end with."""
    shorter = min(len(before), len(now))
    first = next((i for i in range(shorter) if before[i] != now[i]), shorter)
    last = next((i for i in range(shorter - first) if before[-1 - i] != now[-1 - i]), shorter - first)
    was, is_now = before[first : len(before) - last], now[first : len(now) - last]
    if [step.get("operation") for step in was] == [step.get("operation") for step in is_now]:
        pairs = zip(was, is_now, strict=True)
        return "; ".join(_describe_step(old, new) for old, new in pairs if old != new)
    nothing = "nothing in their place" if first or last else "no operations"
    return f"{_show(was) if was else nothing} → {_show(is_now) if is_now else nothing}"


def _describe_step(before: Mapping[str, Json], now: Mapping[str, Json]) -> str:
    old, new = before.get("settings", {}), now.get("settings", {})
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    texts = (f"{name} {_show(old.get(name))} → {_show(new.get(name))}" for name in changed)
    return f"{now.get('operation')}({', '.join(texts)})"


def _replayable(lineage: Json) -> Json:
    """Return a lineage without its notes: those are findings of the run, not what was asked for."""
    if not isinstance(lineage, list):
        return lineage
    return [{key: step[key] for key in ("operation", "settings") if key in step} for step in lineage]


def _plain(value: Json) -> Json:
    """Return a value as JSON would give it back, so that tuples and lists compare."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _show(value: Json) -> str:
    if value is None:
        return "none"
    if isinstance(value, str) and len(value) >= 40 and all(letter in "0123456789abcdef" for letter in value):
        return value[:_SHOWN_HASH]
    if isinstance(value, list) and all(isinstance(step, Mapping) for step in value):
        return ", ".join(_show_step(step) for step in value) or "no operations"
    return str(value)


def _show_step(step: Mapping[str, Json]) -> str:
    settings = ",".join(f"{key}={value}" for key, value in step.get("settings", {}).items())
    return f"{step.get('operation')}({settings})"
