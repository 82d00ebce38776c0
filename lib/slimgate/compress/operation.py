"""What an operation is: its settings, what may follow it, and how it changes a detector."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slimgate.errors import UsageError, unknown_name
from slimgate.flow import Detector, Json

REQUIRED: Json = object()
"""The default of a setting that has none."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of an operation.

    Attributes:
        read: turns text or a JSON value into the setting's value; raises UsageError for anything else. Its
            arguments are the subject of the message and the value.
        default: its value when it is not given, or ``REQUIRED``.
        meaning: one line for ``--help``.
        fingerprint: for a value that names something outside (a file, a folder): what decides the result, as
            a JSON value, such as the file's sha256.
    """

    read: Callable[[str, Json], Json]
    meaning: str
    default: Json = REQUIRED
    fingerprint: Callable[[Json], Json] | None = None


def _say_nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where an operation that trains does its work, and whom it tells how far it is. Others ignore it.

    Attributes:
        run: folder of resumable runs; ``enter`` narrows it to the folder of one operation. None: nothing that
            trains can be applied.
        resume: continue or reuse what is in the folder, if it was made with the same settings.
        progress: called after every epoch with the operation's folder name and its row of the curve.
        step: called after every step with the same name, the epoch (from 1), steps done, steps an epoch has.
        latency: measures two detectors, an original and another one, on a runtime of a name, and returns the ratio
            of the other's latency to the original's. None: nothing can be slimmed to a latency.
    """

    run: Path | None = None
    resume: bool = False
    progress: Callable[[str, Mapping[str, float]], None] = _say_nothing
    step: Callable[[str, int, int, int], None] = _say_nothing
    latency: Callable[[Detector, Detector, str], float] | None = None

    def enter(self, index: int, operation: str) -> Workspace:
        """Return the workspace of the operation at a position (from 1): the folder ``<index>-<operation>``."""
        return self if self.run is None else dataclasses.replace(self, run=self.run / f"{index}-{operation}")

    def folder(self, operation: str) -> Path:
        """Return the folder to train in.

        Raises:
            UsageError: there is none.
        """
        if self.run is None:
            raise UsageError(
                f"operation '{operation}'",
                found="no folder to train in",
                expected="a workspace with a folder that keeps every epoch, so that a killed run resumes",
                action="pass Workspace(run=...), or --run DIR on the command line",
            )
        return self.run


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A registered way to compress a detector.

    Attributes:
        name: its key in ``OPERATIONS``.
        summary: one line for ``--help``.
        example: such as ``prune:0.3``.
        positional: the setting that may be written without its name, right after the colon.
        settings: all settings by name.
        successors: the operations that may come next.
        apply: returns the changed detector with one more step in its lineage; never changes its argument. It is
            given the checked settings and the operation's own workspace.
    """

    name: str
    summary: str
    example: str
    positional: str
    settings: Mapping[str, Setting]
    successors: frozenset[str]
    apply: Callable[[Detector, Mapping[str, Json], Workspace], Detector]

    def check(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return all settings, read and with defaults filled in.

        Raises:
            UsageError: a setting is unknown, missing or out of its range.
        """
        for key in given:
            if key not in self.settings:
                raise unknown_name(f"setting of {self.name}", key, self.settings)
        missing = [
            k for k, setting in self.settings.items() if setting.default is REQUIRED and k not in given
        ]
        if missing:
            raise UsageError(
                f"operation '{self.name}'",
                found=f"no {', '.join(missing)}",
                expected=f"a text such as {self.example}",
                action=f"write {self.example}",
            )
        return {
            key: setting.read(f"{self.name} {key}", given[key]) if key in given else setting.default
            for key, setting in self.settings.items()
        }

    def fingerprints(self, settings: Mapping[str, Json]) -> dict[str, Json]:
        """Return, by setting, what decides the result of settings that name something outside."""
        return {
            key: setting.fingerprint(settings[key])
            for key, setting in self.settings.items()
            if setting.fingerprint is not None
        }


OUTSIDE = frozenset({"data", "teacher", "weights"})
"""Settings that name a file or folder."""


def recorded(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return settings as a lineage holds them: files by name only.

    Where a file lay on one machine says nothing elsewhere, and is nobody's business; notes hold what was in it.
    """
    return {k: Path(v).name if k in OUTSIDE and isinstance(v, str) else v for k, v in settings.items()}


def read_ratio(subject: str, value: Json) -> float:
    """Return a ratio in 0..1 from a number or its text.

    Raises:
        UsageError: it is not a number from 0 to 1; percentages are recognised and the ratio is suggested.
    """
    text = str(value).strip()
    try:
        number = float("nan") if isinstance(value, bool) else float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if 0 <= number <= 1 and not text.endswith("%"):
        return number
    percent = 0 <= number <= 100
    raise UsageError(
        f"{subject} '{text}'",
        found=f"not a ratio from 0 to 1{f'; did you mean {number / 100:g}?' if percent else ''}",
        expected="a number such as 0.3 for 30 %",
        action=f"write {number / 100:g}" if percent else "write a number from 0 to 1",
    )


def _name_of(subject: str) -> str:
    """Return the setting's name out of ``operation setting``."""
    return subject.rpartition(" ")[2]


def read_number(low: float, high: float) -> Callable[[str, Json], float]:
    """Return a reader of numbers from ``low`` to ``high`` that raises UsageError for any other value."""

    def read(subject: str, value: Json) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not low <= number <= high:
            raise UsageError(
                f"{subject} '{value}'",
                found="not a number" if math.isnan(number) else "too small" if number < low else "too large",
                expected=f"a number from {low:g} to {high:g}",
                action=f"write {_name_of(subject)}={low if math.isnan(number) else min(max(number, low), high):g}",
            )
        return number

    return read


def read_count(low: int, high: int = 1_000_000_000) -> Callable[[str, Json], int]:
    """Return a reader of whole numbers from ``low`` to ``high`` that raises UsageError for any other value."""

    def read(subject: str, value: Json) -> int:
        text = str(value).strip()
        whole = not isinstance(value, bool) and text.isascii() and text.isdigit()
        number = int(text) if whole else low
        if not whole or not low <= number <= high:
            raise UsageError(
                f"{subject} '{value}'",
                found="not a whole number" if not whole else "too small" if number < low else "too large",
                expected=f"a whole number from {low:,} to {high:,}",
                action=f"write {_name_of(subject)}={min(max(number, low), high)}",
            )
        return number

    return read


def read_text(subject: str, value: Json) -> str:
    """Return a text that is not empty.

    Raises:
        UsageError: it is empty, or no text.
    """
    if not isinstance(value, str) or not value.strip():
        raise UsageError(
            f"{subject} '{value}'",
            found="no text",
            expected="a name or a path",
            action=f"write {_name_of(subject)}=..., or leave the setting out",
        )
    return value.strip()


def read_choice(*choices: str) -> Callable[[str, Json], str]:
    """Return a reader that takes one of the given texts and raises UsageError for any other value."""

    def read(subject: str, value: Json) -> str:
        if value not in choices:
            raise unknown_name(subject, str(value), choices)
        return str(value)

    return read
