"""The pinned baseline: policy, a run that a person names, with a reason and a date."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, name_offenders, nearest_name
from slimgate.gate.formats import find_other_format
from slimgate.gate.history.entry import Entry
from slimgate.gate.tomlfile import split_lines
from slimgate.measure import metric_for

BASELINE_FORMAT = "slimgate-baseline/1"
BASELINE_FILE = "baseline.toml"

_FILE_KEYS = ("format", "baseline")
_KEYS = ("study", "device", "run", "reason", "date", "allow_dirty", "smallest")
_HEADER = re.compile(r"^\s*\[\[\s*baseline\s*\]\]\s*(#.*)?$")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The run that drift is measured against, for one study on one machine.

    Attributes:
        study: id of the study.
        device: the machine, as the history names it.
        run: id of the run.
        reason: why this one.
        date: when somebody chose it.
        allow_dirty: whether it may be a run of uncommitted code.
        smallest: changes that count as drift, by metric, in the metric's unit.
        where: file and line.
    """

    study: str
    device: str
    run: str
    reason: str
    date: date
    allow_dirty: bool = False
    smallest: Mapping[str, float] = field(default_factory=dict)
    where: str = ""


def load_baselines(golden: Path) -> tuple[Baseline, ...]:
    """Return the pinned baselines of a ``golden`` folder; none where there is no file.

    Raises:
        InputError: the file is not TOML, or breaks the schema; names the line.
    """
    path = golden / BASELINE_FILE
    if not path.is_file():
        return ()
    shown = f"{golden.name}/{BASELINE_FILE}"
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            shown, found=f"not TOML: {error}", expected="a file of baselines", action="correct that line"
        ) from None
    return _Reader(shown, text).read(value)


def resolve_baseline(baseline: Baseline, entries: Sequence[Entry]) -> Entry:
    """Return the run that a baseline names.

    Raises:
        InputError: the history does not have it, or it is of another study or machine, red, partial, or of
            uncommitted code.
    """
    entry = next((one for one in entries if one.run_id == baseline.run), None)
    if entry is None:
        near = nearest_name(baseline.run, [one.run_id for one in entries])
        raise InputError(
            f"{baseline.where}: run",
            found=f"the history has no run '{baseline.run}'{near}",
            expected="the id of a run of the history",
            action="merge the history that has it (slimgate history --merge DIR), or pin another run",
        )
    if (entry.study, entry.device) != (baseline.study, baseline.device):
        raise InputError(
            f"{baseline.where}: run",
            found=f"'{baseline.run}' is a run of '{entry.study}' on '{entry.device}'",
            expected=f"a run of '{baseline.study}' on '{baseline.device}'",
            action="pin a run of that study and machine",
        )
    fault = why_no_baseline(entry, allow_dirty=baseline.allow_dirty)
    if fault:
        raise InputError(
            f"{baseline.where}: run",
            found=f"'{baseline.run}' {fault}",
            expected="a complete run of a commit, green without waivers and with strict floors: "
            "a red run never becomes a baseline",
            action="pin another run; 'slimgate history' shows which are green and complete",
        )
    return entry


def why_no_baseline(entry: Entry, *, allow_dirty: bool = False) -> str:
    """Return why a run cannot be a baseline, or nothing."""
    if entry.red:
        named = name_offenders(
            f"{case} {metric} {status}" for case, metric, status in sorted(entry.red_verdicts)
        )
        return f"is red ({named or 'nothing was judged'})"
    if entry.failed_by:
        return f"failed its session ({'; '.join(entry.failed_by)})"
    if entry.waived:
        return f"is green only for its waivers ({entry.waived} waived)"
    if entry.strict_red:
        stale = entry.counts.get("STALE", 0)
        why = f"{stale} STALE: tighten those floors" if stale else "untidy golden files: see its findings"
        return f"is red under --strict-floors ({why})"
    if not entry.complete:
        return f"is partial (-k '{entry.selection}')" if entry.selection else "is partial"
    if not allow_dirty and (entry.dirty or not entry.commit):
        return "ran code that no commit holds (allow_dirty = true takes it all the same)"
    return ""


def propose_baseline(entries: Sequence[Entry], study: str, device: str, *, today: str) -> str:
    """Return the TOML that pins the newest run that can be a baseline, to be pasted by a person; or nothing."""
    fit = [one for one in entries if (one.study, one.device) == (study, device) and not why_no_baseline(one)]
    if not fit:
        return ""
    return (
        f'[[baseline]]\nstudy = "{study}"\ndevice = "{device}"\nrun = "{fit[-1].run_id}"\n'
        f'reason = ""   # why this run\ndate = {today}\n'
    )


class _Reader:
    def __init__(self, shown: str, text: str) -> None:
        self.shown = shown
        self.lines = split_lines(text)
        self.headers = [number for number, line in enumerate(self.lines) if _HEADER.match(line)]

    def read(self, value: Mapping[str, Any]) -> tuple[Baseline, ...]:
        strange = find_other_format(
            value.get("format"),
            BASELINE_FORMAT,
            older="write its baselines as docs/history.md shows them, then the format line",
            other="write that format line",
        )
        if strange is not None:
            raise self.error("format", None, f"is {strange.found}", strange.expected, strange.action)
        self.check_keys(value, _FILE_KEYS, None)
        blocks = value.get("baseline", [])
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            raise self.error(
                "baseline", None, "is no array of tables", "[[baseline]] tables", "write [[baseline]]"
            )
        found: dict[tuple[str, str], Baseline] = {}
        for index, block in enumerate(blocks):
            one = self.read_block(block, index)
            first = found.setdefault((one.study, one.device), one)
            if first is not one:
                raise self.error(
                    "device",
                    index,
                    f"a second baseline of '{one.study}' on '{one.device}'",
                    f"one; the first is at {first.where}",
                    "remove one of the two",
                )
        return tuple(found.values())

    def read_block(self, block: Mapping[str, Any], index: int) -> Baseline:
        self.check_keys(block, _KEYS, index)
        day = block.get("date")
        if not isinstance(day, date) or isinstance(day, datetime):
            raise self.error(
                "date",
                index,
                f"is {day!r}",
                "a date such as 2026-11-22, unquoted",
                "write the day of the choice",
            )
        dirty = block.get("allow_dirty", False)
        if not isinstance(dirty, bool):
            raise self.error("allow_dirty", index, f"is {dirty!r}", "true or false", "correct it")
        return Baseline(
            study=self.text(block, "study", index),
            device=self.text(block, "device", index),
            run=self.text(block, "run", index),
            reason=self.text(block, "reason", index),
            date=day,
            allow_dirty=dirty,
            smallest=self.smallest(block.get("smallest", {}), index),
            where=self.place("run", index),
        )

    def smallest(self, table: Any, index: int) -> dict[str, float]:
        if not isinstance(table, Mapping):
            raise self.error(
                "smallest", index, f"is {table!r}", "a table such as { map50_95 = 0.002 }", "correct it"
            )
        for metric, change in table.items():
            try:
                unit = metric_for(metric).unit
            except UsageError as error:
                raise self.error(metric, index, error.found, error.expected, "correct the metric") from None
            number = isinstance(change, int | float) and not isinstance(change, bool)
            percent = unit in ("fraction", "ratio") and number and change >= 1
            if not number or change <= 0 or percent:
                raise self.error(
                    metric,
                    index,
                    f"is {change!r}{' and looks like percent' if percent else ''}",
                    f"a change above 0{' and below 1' if unit in ('fraction', 'ratio') else ''}, in {unit}",
                    f"write {change / 100:g}" if percent else "correct it",
                )
        return {metric: float(change) for metric, change in table.items()}

    def text(self, block: Mapping[str, Any], key: str, index: int) -> str:
        value = block.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, index, f"is {value!r}", "a text", f"write {key}")
        return value

    def check_keys(self, table: Mapping[str, Any], known: tuple[str, ...], index: int | None) -> None:
        for key in table:
            if key not in known:
                raise self.error(
                    key,
                    index,
                    f"unknown key{nearest_name(key, known)}",
                    f"one of {', '.join(known)}",
                    "correct or remove the key",
                )

    def error(self, key: str, index: int | None, found: str, expected: str, action: str) -> InputError:
        return InputError(f"{self.place(key, index)}: {key}", found=found, expected=expected, action=action)

    def place(self, key: str, index: int | None) -> str:
        """Return file:line of a key, in the nth [[baseline]] or above them all."""
        in_order = index is not None and index < len(self.headers)
        start = self.headers[index] if in_order and index is not None else 0
        later = [header for header in self.headers if header > start or not in_order]
        for number in range(start, later[0] if later else len(self.lines)):
            if re.match(rf"""^\s*["']?{re.escape(key)}["']?\s*=""", self.lines[number]):
                return f"{self.shown}:{number + 1}"
        return f"{self.shown}:{start + 1}" if in_order else self.shown
