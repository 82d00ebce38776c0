"""The schema of a floors file: every complaint names the file, the line and the key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, nearest_name
from slimgate.flow import Case
from slimgate.gate.bounds import ABSOLUTE, RELATIVE, find_bound_fault
from slimgate.gate.floors import ANY_DEVICE, Floor, floors_file_name
from slimgate.gate.formats import find_other_format
from slimgate.gate.kinds import is_timed
from slimgate.gate.tomlfile import TomlFile, read_toml
from slimgate.gate.units import find_unit_fault
from slimgate.measure import metric_for

FLOORS_FORMAT = "slimgate-floors/1"

_FILE_KEYS = ("format", "study", "device", "case")
_CASE_KEYS = ("id", "runtime", "reason", "date", "floor")
_FLOOR_KEYS = (*ABSOLUTE, "relative_to", *RELATIVE, "slack", "unit", "reason", "date")
_RUNTIME = re.compile(r"^[a-z][a-z0-9-]* \d+$")


@dataclass(frozen=True, kw_only=True)
class FloorFile:
    """One floors file, read.

    Attributes:
        study: the study it is for.
        device: the device it is for, or ``any``.
        shown: its name in messages.
        floors: in the file's order.
    """

    study: str
    device: str
    shown: str
    floors: tuple[Floor, ...]


def read_floor_file(path: Path, *, shown: str = "") -> FloorFile:
    """Return one floors file.

    Raises:
        InputError: it is not TOML, or breaks the schema.
    """
    file = read_toml(path, shown=shown or str(path), expected="a floors file")
    return _Reader(file).read(path.name)


def refuse_doubles(floors: Iterable[Floor]) -> None:
    """Refuse two floors with the same key.

    Raises:
        InputError: names both places.
    """
    seen: dict[tuple[object, ...], Floor] = {}
    for floor in floors:
        first = seen.setdefault(floor.key, floor)
        if first is not floor:
            relative = f" relative to {floor.relative_to}" if floor.relative_to else ""
            raise InputError(
                floor.where,
                found=f"a second floor for {floor.metric} of {floor.case}{relative} with {floor.runtime}",
                expected=f"one; the first is at {first.where}",
                action="remove one of the two",
            )


class _Reader:
    def __init__(self, file: TomlFile) -> None:
        self.file, self.shown, self.value = file, file.shown, file.value
        self.headers = file.find_blocks("case")
        self.device = ANY_DEVICE

    def error(self, key: str, found: str, expected: str, action: str, block: int | None = None) -> InputError:
        return InputError(f"{self.place(key, block)}: {key}", found=found, expected=expected, action=action)

    def place(self, key: str, block: int | None = None) -> str:
        """Return file:line of a key, in the nth [[case]] or above them all."""
        return self.file.place(key, self.headers, block)

    def read(self, file_name: str) -> FloorFile:
        strange = find_other_format(
            self.value.get("format"),
            FLOORS_FORMAT,
            older="write its floors as golden/README.md shows them, then the format line",
            other="write that format line",
        )
        if strange is not None:
            raise self.error("format", f"is {strange.found}", strange.expected, strange.action)
        self.check_keys(self.value, _FILE_KEYS, None)
        study = self.text(self.value, "study", None)
        self.device = self.text(self.value, "device", None) if "device" in self.value else ANY_DEVICE
        named = floors_file_name(study, self.device)
        if file_name != named:
            raise self.error(
                "device" if "device" in self.value else "study",
                f"study '{study}' on device '{self.device}' in a file named {file_name}",
                f"the name {named}",
                "rename the file, or correct study and device",
            )
        blocks = self.value.get("case", [])
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            raise self.error("case", "is no array of tables", "[[case]] tables", "write [[case]]")
        self.refuse_doubled_blocks(blocks)
        floors = [
            floor for index, block in enumerate(blocks) for floor in self.read_case(block, index, study)
        ]
        return FloorFile(study=study, device=self.device, shown=self.shown, floors=tuple(floors))

    def refuse_doubled_blocks(self, blocks: list[Mapping[str, Any]]) -> None:
        """Refuse a second [[case]] for the same case and runtime: nobody would look for its floors twice."""
        first: dict[tuple[str, str], int] = {}
        for index, block in enumerate(blocks):
            key = (str(block.get("id")), str(block.get("runtime")))
            if first.setdefault(key, index) != index:
                raise self.error(
                    "id",
                    f"a second [[case]] for '{key[0]}' with '{key[1]}'",
                    f"one; the first is at {self.place('id', first[key])}",
                    "move these floors into the first one",
                    index,
                )

    def read_case(self, block: Mapping[str, Any], index: int, study: str) -> list[Floor]:
        self.check_keys(block, _CASE_KEYS, index)
        case = self.case(self.text(block, "id", index), "id", index, study)
        runtime = self.text(block, "runtime", index)
        package = runtime.split(" ")[0]
        if not _RUNTIME.match(runtime) or not (
            case.runtime == package or case.runtime.startswith(f"{package}-")
        ):
            raise self.error(
                "runtime",
                f"is {runtime!r} for a case that runs in '{case.runtime}'",
                "its package and major version, such as 'onnxruntime 1'",
                "write the runtime that the floors were measured with",
                index,
            )
        table = block.get("floor")
        if not isinstance(table, Mapping) or not table:
            raise self.error(
                "floor", "there is no floor", "a [case.floor] table", "add one, or remove the case", index
            )
        return [
            self.read_floor(block, index, case, runtime, metric, bounds)
            for metric, entry in table.items()
            for bounds in (entry if isinstance(entry, list) and entry else [entry])
        ]

    def read_floor(
        self, block: Mapping[str, Any], index: int, case: Case, runtime: str, metric: str, bounds: Any
    ) -> Floor:
        if not isinstance(bounds, Mapping):
            raise self.error(
                metric,
                f"is {bounds!r}",
                'a table such as { min = 0.9, slack = 0.01, unit = "fraction" }',
                "say which bound it is",
                index,
            )
        try:
            known = metric_for(metric)
        except UsageError as error:
            raise self.error(metric, error.found, error.expected, "correct the metric", index) from None
        self.check_keys(bounds, _FLOOR_KEYS, index, metric)
        strange = find_unit_fault(known, bounds)
        if strange:
            raise self.error(metric, strange.found, strange.expected, strange.action, index)
        if is_timed(metric) != (self.device != ANY_DEVICE):
            where = "a file with a device" if is_timed(metric) else "the file without a device"
            raise self.error(
                metric,
                f"in a file for device '{self.device}'",
                where,
                "move it: only times are of a device",
                index,
            )
        if is_timed(metric) and "relative_to" in bounds:
            raise self.error(
                metric,
                f"a time relative to {bounds['relative_to']!r}",
                "max: two times are only compared in interleaved pairs, and the interval of their ratio is judged",
                "bound latency_ratio_b1 (against FP32) or latency_ratio_same_b1 (against the same network in FP32)",
                index,
            )
        fault = find_bound_fault(known, bounds)
        if fault:
            raise self.error(metric, fault.found, fault.expected, fault.action, index)
        relative = bounds.get("relative_to")
        if relative == str(case):
            raise self.error(
                metric,
                f"is relative to its own case '{case}'",
                "another case of the same run",
                "name the case that it is to be held against, such as the FP32 one",
                index,
            )
        numbers = {key: bounds.get(key) for key in (*ABSOLUTE, *RELATIVE, "slack")}
        return Floor(
            case=case,
            metric=metric,
            unit=known.unit,
            runtime=runtime,
            device=self.device,
            relative_to=None
            if relative is None
            else self.case(relative, metric, index, case.study, named="relative_to "),
            reason=self.text({**block, **bounds}, "reason", index),
            date=self.date({**block, **bounds}, index),
            where=self.place(metric, index),
            **{key: None if number is None else float(number) for key, number in numbers.items()},
        )

    def check_keys(
        self, table: Mapping[str, Any], known: tuple[str, ...], block: int | None, within: str = ""
    ) -> None:
        for key in table:
            if key not in known:
                raise self.error(
                    within or key,
                    f"unknown key{f' {key!r}' if within else ''}{nearest_name(key, known)}",
                    f"one of {', '.join(known)}",
                    "correct or remove the key",
                    block,
                )

    def text(self, table: Mapping[str, Any], key: str, block: int | None) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {value!r}", "a text", f"write {key}", block)
        return value

    def date(self, table: Mapping[str, Any], block: int) -> date:
        value = table.get("date")
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.error(
                "date", f"is {value!r}", "a date such as 2026-11-22, unquoted", "write it", block
            )
        return value

    def case(self, text: Any, key: str, block: int, study: str, named: str = "") -> Case:
        try:
            case = Case.parse(str(text))
        except ValueError as error:
            raise self.error(
                key, f"{named}{error}", f"such as '{study}/int8@onnxruntime'", "write it out", block
            ) from None
        if case.study != study:
            raise self.error(
                key, f"{named}'{case}' is of study '{case.study}'", f"'{study}/...'", "correct it", block
            )
        return case
