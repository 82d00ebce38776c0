"""One run as one line of a history: what ran where, what the gate said, and every measurement."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from slimgate.flow import Json, Measurement
from slimgate.gate.floors import device_slug
from slimgate.gate.formats import find_other_format
from slimgate.gate.judgement import WAIVED, Judgement
from slimgate.gate.serialise import RunFiles, case_block_from_json, case_block_to_json

HISTORY_FORMAT = "slimgate-history/1"

_REQUIRED = ("run_id", "study", "device", "started", "complete", "verdict", "cases")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run of a history.

    Attributes:
        run_id: id of the run; what two histories are united by.
        study: id of its study.
        device: the machine: its CPU, and its GPU where there is one.
        started: when it started by the machine's clock, ISO 8601.
        commit: git commit of the tree it ran in, if known.
        dirty: whether that tree had changes that no commit holds.
        complete: whether it ran every case of the study, times included.
        selection: the ``-k`` expression of a partial run.
        red: whether the gate failed it; a run without a verdict is red.
        counts: how many verdicts have each status.
        strict_red: whether the gate fails it when floors are strict.
        waived: how many verdicts are red and tolerated by a waiver.
        failed_by: what else failed the session that it ran in, such as ``--slimgate-min-cases``.
        red_verdicts: case id, metric and status of every red verdict.
        raw: the whole line as JSON values.
    """

    run_id: str
    study: str
    device: str
    started: str
    commit: str | None
    dirty: bool
    complete: bool
    selection: str
    red: bool
    strict_red: bool
    waived: int
    failed_by: tuple[str, ...]
    counts: Mapping[str, int]
    red_verdicts: frozenset[tuple[str, str, str]]
    raw: Mapping[str, Json] = field(repr=False)

    @property
    def file_name(self) -> str:
        """Place of this run's line below a history's folder."""
        return f"{self.study}/{device_slug(self.device)}.jsonl"

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Cases that something was measured of."""
        return tuple(block["case"] for block in self.raw["cases"])

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the packages that numbers depend on."""
        return dict(self.raw.get("environment", {}).get("versions", {}))

    @cached_property
    def measurements(self) -> tuple[Measurement, ...]:
        """Every measurement, raw samples included."""
        return tuple(one for block in self._blocks() for one in case_block_from_json(block))

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str], Measurement]:
        return {(str(one.case), one.metric): one for one in self.measurements}

    def find(self, case: str, metric: str) -> Measurement | None:
        """Return the measurement of one metric of one case, or None."""
        return self._by_key.get((case, metric))

    def is_red_for(self, case: str, metric: str) -> bool:
        """Return whether the gate was red about this metric of this case, or about the whole case."""
        return any(one[0] == case and one[1] in (metric, "case") for one in self.red_verdicts)

    def to_line(self) -> bytes:
        """Return the line as it stands in a history file, its end included."""
        text = json.dumps(self.raw, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8") + b"\n"

    def _blocks(self) -> Iterator[dict[str, Json]]:
        own = self.raw.get("provenances", [])
        for block in self.raw["cases"]:
            yield {
                "case": block["case"],
                "provenance": {**self.raw.get("provenance", {}), **block.get("provenance", {})},
                "measurements": [_unpack(one, own) for one in block["measurements"]],
            }


class NewerFormatError(ValueError):
    """A line is of a newer format version: nothing is wrong with it, and an older slimgate cannot read it."""


def entry_from_json(value: Json) -> Entry:
    """Return the entry of a line.

    Raises:
        NewerFormatError: a newer slimgate wrote the line.
        ValueError: the line is of another format, or lacks a part; says which.
    """
    if not isinstance(value, Mapping):
        raise ValueError("no JSON object")
    strange = find_other_format(value.get("format"), HISTORY_FORMAT, older="", other="")
    if strange is not None:
        error = NewerFormatError if strange.is_newer else ValueError
        raise error(f"format {strange.found}, not {strange.expected}")
    missing = [key for key in _REQUIRED if key not in value]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    try:
        verdict, git = value["verdict"], value.get("git", {})
        entry = Entry(
            run_id=str(value["run_id"]),
            study=str(value["study"]),
            device=str(value["device"]),
            started=str(value["started"]),
            commit=git.get("commit"),
            dirty=bool(git.get("dirty", True)),
            complete=value["complete"] is True,
            selection=str(value.get("filter", "")),
            red=verdict["red"] is not False,
            # Lines of before do not say it: there a stale floor tells as much as is known.
            strict_red=verdict.get("strict_red", bool(verdict["counts"].get("STALE"))) is not False,
            waived=int(verdict["counts"].get(WAIVED, 0)),
            failed_by=tuple(str(one) for one in verdict.get("failed_by", ())),
            counts=dict(verdict["counts"]),
            red_verdicts=frozenset((one[0], one[1], one[2]) for one in verdict["red_verdicts"]),
            raw=value,
        )
        if not all(one.case.study == entry.study for one in entry.measurements):
            raise ValueError(f"a case of another study than '{entry.study}'")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"a wrong part ({type(error).__name__}: {error})") from None
    return entry


def entry_from_run(files: RunFiles, *, failed_by: Sequence[str] = ()) -> Entry:
    """Return the entry of a finished run.

    Args:
        files: the run.
        failed_by: what failed the session that it ran in, besides its verdicts.
    """
    run = files.run
    blocks = [
        case_block_to_json(list(group)) for _, group in groupby(files.measurements, key=lambda one: one.case)
    ]
    for block in blocks:
        block["provenance"] = _without_notes(block["provenance"])
    shared = _shared([block["provenance"] for block in blocks])
    own: list[Json] = []
    for block in blocks:
        block["provenance"] = {key: one for key, one in block["provenance"].items() if key not in shared}
        block["measurements"] = [_pack(one, own) for one in block["measurements"]]
    environment = {key: value for key, value in run.get("environment", {}).items() if key != "git"}
    return entry_from_json(
        {
            "format": HISTORY_FORMAT,
            "run_id": run["run_id"],
            "study": run["study"]["id"],
            "device": machine_of(run),
            "started": run["started"],
            **({"project": run["project"]} if run.get("project") else {}),
            "seconds": run.get("seconds"),
            "git": dict(run.get("git", {})),
            "complete": bool(run.get("complete")),
            "filter": run.get("filter", ""),
            "verdict": _summarise(files.judgement, failed_by),
            "environment": environment,
            "provenance": shared,
            "provenances": own,
            "cases": blocks,
        }
    )


def machine_of(run: Mapping[str, Any]) -> str:
    """Return the machine that a run's history is kept for: its CPU, and its GPU where there is one."""
    gpu = run.get("environment", {}).get("gpu")
    device = str(run.get("device", "unknown"))
    return f"{device}, gpu:{gpu}" if gpu else device


def _summarise(judgement: Judgement, failed_by: Sequence[str]) -> dict[str, Json]:
    return {
        "red": judgement.is_red(),
        "strict_red": judgement.is_red(strict_floors=True),
        "failed_by": list(failed_by),
        "counts": judgement.counts(),
        "red_verdicts": [[str(one.case), one.metric, one.status.value] for one in judgement.red()],
    }


def _without_notes(provenance: Mapping[str, Json]) -> dict[str, Json]:
    """Return a provenance with what was asked for; what a step found is half of a line and stays in the run."""
    lineage = [
        {key: step[key] for key in ("operation", "settings")} for step in provenance.get("lineage", [])
    ]
    return {**provenance, **({"lineage": lineage} if "lineage" in provenance else {})}


def _shared(every: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    first = every[0] if every else {}
    return {
        key: value
        for key, value in first.items()
        if all(key in one and one[key] == value for one in every[1:])
    }


def _pack(value: Mapping[str, Json], own: list[Json]) -> dict[str, Json]:
    """Return a measurement with its samples compressed, and its own provenance as a place in a list."""
    packed = dict(value)
    samples = packed.get("samples")
    if samples:
        # Little-endian float64: every bit of every sample is kept.
        binary = struct.pack(f"<{len(samples)}d", *(float(one) for one in samples))
        packed["samples"] = base64.b64encode(zlib.compress(binary, 9)).decode("ascii")
    if packed.get("provenance"):
        provenance = _without_notes(packed["provenance"])
        if provenance not in own:
            own.append(provenance)
        packed["provenance"] = own.index(provenance)
    return packed


def _unpack(value: Mapping[str, Json], own: Sequence[Json]) -> dict[str, Json]:
    unpacked = dict(value)
    if "samples" in unpacked:
        binary = zlib.decompress(base64.b64decode(unpacked["samples"]))
        unpacked["samples"] = struct.unpack(f"<{len(binary) // 8}d", binary)
    if "provenance" in unpacked:
        unpacked["provenance"] = own[unpacked["provenance"]]
    return unpacked
