"""Waivers: what people tolerate for a while. TOML with an owner, a reason and an end; no program writes it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, UsageError, nearest_name
from slimgate.flow import Case
from slimgate.gate.bounds import find_percent
from slimgate.gate.formats import find_other_format
from slimgate.gate.tomlfile import TomlFile, read_toml
from slimgate.measure import is_metric, metric_for

WAIVERS_FORMAT = "slimgate-waivers/1"
WAIVERS_FILE = "waivers.toml"

DEFAULT_MOST = 5
"""Waivers that a file may hold unless it says otherwise; a gate with many holes is none."""
HIGHEST_MOST = 20
LONGEST_DAYS = 366
"""How far ahead a waiver may end: what is tolerated for longer is policy, and belongs into a floor."""

_FILE_KEYS = ("format", "most", "waiver")
_KEYS = ("case", "metric", "check", "owner", "reason", "expires", "worst", "devices")
_DEVICE = re.compile(r"(cpu|gpu):.*\S")
_CHECK = re.compile(r"[a-z0-9][a-z0-9_./-]*")


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """One red verdict that is tolerated until a day.

    Attributes:
        case: exactly this case.
        subject: exactly this metric, or this check: what the verdict calls its metric.
        owner: who answers for it.
        reason: why it is tolerated.
        expires: the last day on which it holds.
        worst: the worst value that it covers; None: any.
        devices: the exact keys of the devices on which it holds; empty: on any.
        where: file and line.
    """

    case: Case
    subject: str
    owner: str
    reason: str
    expires: date
    worst: float | None = None
    devices: tuple[str, ...] = ()
    where: str = ""

    def has_expired(self, today: date) -> bool:
        """Return whether its last day is over."""
        return today > self.expires

    def is_of(self, devices: Collection[str]) -> bool:
        """Return whether it holds on a machine with these devices."""
        return not self.devices or not set(self.devices).isdisjoint(devices)

    def overlaps(self, other: Waiver) -> bool:
        """Return whether a verdict could be waived by this one and by the other."""
        same = (self.case, self.subject) == (other.case, other.subject)
        return same and (self.is_of(other.devices) or not other.devices)

    def __str__(self) -> str:
        return f"until {self.expires} by {self.owner}, {self.where}: {self.reason}"


def load_waivers(golden: Path, *, today: date) -> tuple[Waiver, ...]:
    """Return the waivers of ``golden/waivers.toml``, of every study, in the file's order; none without the file.

    Args:
        golden: the ``golden`` folder.
        today: a waiver may end at most a year from here.

    Raises:
        InputError: the file breaks the schema, or holds more waivers than it may; names file, line and key.
    """
    path = golden / WAIVERS_FILE
    if not path.is_file():
        return ()
    return _Reader(
        read_toml(path, shown=f"{golden.name}/{path.name}", expected="a waivers file"), today
    ).read()


class _Reader:
    def __init__(self, file: TomlFile, today: date) -> None:
        self.file, self.today = file, today
        self.headers = file.find_blocks("waiver")

    def error(self, key: str, found: str, expected: str, action: str, block: int | None = None) -> InputError:
        return InputError(
            f"{self.file.place(key, self.headers, block)}: {key}",
            found=found,
            expected=expected,
            action=action,
        )

    def read(self) -> tuple[Waiver, ...]:
        value = self.file.value
        strange = find_other_format(
            value.get("format"),
            WAIVERS_FORMAT,
            older="write its waivers as golden/README.md shows them, then the format line",
            other="write that format line",
        )
        if strange is not None:
            raise self.error("format", f"is {strange.found}", strange.expected, strange.action)
        self.check_keys(value, _FILE_KEYS, None)
        blocks = value.get("waiver", [])
        if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
            raise self.error("waiver", "is no array of tables", "[[waiver]] tables", "write [[waiver]]")
        self.refuse_many(len(blocks))
        waivers = tuple(self.read_waiver(block, index) for index, block in enumerate(blocks))
        self.refuse_doubles(waivers)
        return waivers

    def refuse_many(self, count: int) -> None:
        most = self.file.value.get("most", DEFAULT_MOST)
        if type(most) is not int or not 1 <= most <= HIGHEST_MOST:
            raise self.error(
                "most",
                f"is {most!r}",
                f"a whole number from 1 to {HIGHEST_MOST}",
                "correct it, and mend what is waived",
            )
        if count > most:
            raise self.error(
                "waiver",
                f"there are {count}",
                f"at most {most}",
                f"mend what is waived, or set most, up to {HIGHEST_MOST}, above the first [[waiver]]",
                most,
            )

    def refuse_doubles(self, waivers: tuple[Waiver, ...]) -> None:
        for index, waiver in enumerate(waivers):
            first = next((one for one in waivers[:index] if one.overlaps(waiver)), None)
            if first is not None:
                raise self.error(
                    "case",
                    f"a second waiver for {waiver.subject} of {waiver.case}",
                    f"one on each device; the first is at {first.where}",
                    "remove one of the two, or name devices in both",
                    index,
                )

    def read_waiver(self, block: Mapping[str, Any], index: int) -> Waiver:
        self.check_keys(block, _KEYS, index)
        try:
            case = Case.parse(self.text(block, "case", index))
        except ValueError as error:
            raise self.error(
                "case",
                str(error),
                "such as 'codes/int8@onnxruntime'",
                "write it out, without patterns",
                index,
            ) from None
        return Waiver(
            case=case,
            subject=self.subject(block, index),
            owner=self.text(block, "owner", index),
            reason=self.text(block, "reason", index),
            expires=self.expires(block, index),
            worst=self.worst(block, index),
            devices=self.devices(block, index),
            where=self.file.place("case", self.headers, index),
        )

    def subject(self, block: Mapping[str, Any], index: int) -> str:
        if ("metric" in block) == ("check" in block):
            found = "metric and check" if "metric" in block else "neither metric nor check"
            raise self.error(
                "case", f"has {found}", "one of the two", "name the one verdict that is waived", index
            )
        if "metric" in block:
            metric = self.text(block, "metric", index)
            try:
                metric_for(metric)
            except UsageError as error:
                raise self.error("metric", error.found, error.expected, "correct the metric", index) from None
            return metric
        check = self.text(block, "check", index)
        if is_metric(check):
            raise self.error("check", f"'{check}' is a metric", "a check", f"write metric = '{check}'", index)
        if not _CHECK.fullmatch(check):
            raise self.error(
                "check", f"is {check!r}", "a check's name, as verdicts show it", "write it out", index
            )
        return check

    def expires(self, block: Mapping[str, Any], index: int) -> date:
        value = block.get("expires")
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.error(
                "expires", f"is {value!r}", "a date such as 2026-12-31, unquoted", "write it", index
            )
        days = (value - self.today).days
        if days > LONGEST_DAYS:
            raise self.error(
                "expires",
                f"{value} is {days} days ahead",
                f"at most {LONGEST_DAYS} days from {self.today}",
                "choose an earlier day; what is tolerated for longer belongs into a floor",
                index,
            )
        return value

    def worst(self, block: Mapping[str, Any], index: int) -> float | None:
        value = block.get("worst")
        if value is None:
            return None
        if "check" in block:
            raise self.error(
                "worst", "stands beside a check", "worst only beside a metric", "remove worst", index
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(
                "worst", f"is {value!r}", "a finite number in the metric's unit", "correct it", index
            )
        percent = find_percent(metric_for(block["metric"]), "worst", float(value))
        if percent is not None:
            raise self.error(
                "worst", percent.found.removeprefix("worst = "), percent.expected, percent.action, index
            )
        return float(value)

    def devices(self, block: Mapping[str, Any], index: int) -> tuple[str, ...]:
        value = block.get("devices")
        if value is None:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise self.error(
                "devices",
                f"is {value!r}",
                "a list of device keys, each in quotes",
                "write them as floors files do, or leave devices out",
                index,
            )
        strange = next((one for one in value if not _DEVICE.match(one)), None)
        if strange is not None:
            raise self.error(
                "devices",
                f"has {strange!r}",
                "a device key, which begins with cpu: or gpu:",
                "copy the line that begins with device = from the floors file of that device",
                index,
            )
        return tuple(value)

    def check_keys(self, table: Mapping[str, Any], known: tuple[str, ...], block: int | None) -> None:
        for key in table:
            if key not in known:
                raise self.error(
                    key,
                    f"unknown key{nearest_name(key, known)}",
                    f"one of {', '.join(known)}",
                    "correct or remove the key",
                    block,
                )

    def text(self, table: Mapping[str, Any], key: str, block: int) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {value!r}", "a text", f"write {key}", block)
        return value
