"""The exceptions slimgate raises on purpose, and nothing else.

::

    SlimgateError              exit code 2, one message, no traceback
    ├── UsageError             an option, key or combination that does not exist
    ├── InputError             a file, dataset, model or golden that cannot be used as it is
    └── UnavailableError       a device, runtime or package this machine does not have

A failed gate is not an exception: it is a verdict, and exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_NAMED = 10


class SlimgateError(Exception):
    """One clear message: subject; what was found; what was expected; what to do.

    Args:
        subject: the thing the message is about: a path, an option, a key.
        found: what is wrong with it, with the offending values.
        expected: what would have been right, or what is known.
        action: what the user can do now.
    """

    exit_code = 2

    def __init__(self, subject: str, *, found: str, expected: str, action: str) -> None:
        self.subject = subject
        self.found = found
        self.expected = expected
        self.action = action
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling that process pools and xdist rely on.
        return _rebuild, (type(self), self.subject, self.found, self.expected, self.action)

    def __str__(self) -> str:
        return f"{self.subject}: {self.found}\n  expected: {self.expected}\n  what to do: {self.action}"


class UsageError(SlimgateError):
    """An option, key or combination that does not exist."""


class InputError(SlimgateError):
    """A file, dataset, model or golden that cannot be used as it is."""


class UnavailableError(SlimgateError):
    """A device, runtime or package that this machine does not have."""


def _rebuild(
    kind: type[SlimgateError], subject: str, found: str, expected: str, action: str
) -> SlimgateError:
    return kind(subject, found=found, expected=expected, action=action)


def name_offenders(offenders: Iterable[object]) -> str:
    """Return up to ten offenders, comma separated, and how many more there are."""
    shown = [str(offender) for offender in offenders]
    more = len(shown) - _MOST_NAMED
    return ", ".join(shown[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a key that a registry does not hold; it lists the known ones."""
    listed = sorted(known)
    return UsageError(
        f"{kind} '{name}'",
        found=f"unknown {kind}{nearest_name(name, listed)}",
        expected=f"one of {', '.join(listed)}",
        action=f"use a known {kind}",
    )
