"""Failed tests of a session, from pytest's JUnit XML, as causes: those that no red verdict speaks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from slimgate.errors import InputError
from slimgate.gate.causes import Cause, cause_of_failed_tests, lasting_text

OF_GATE = "slimgate_of_gate"
"""Property of a test in the XML: it asserts verdicts of the study."""

_MOST_TESTS = 10
_REQUIRED = re.compile(r"^(?:\S+/\S+@\S+?(?: \S+)?: )?--require (?P<what>\w+): (?P<reason>.+)$")


@dataclass(frozen=True, kw_only=True)
class FailedTest:
    """A test that failed or broke.

    Attributes:
        name: class name and name, as in the XML.
        message: what it said, whole.
        of_gate: whether it asserts verdicts of the study.
    """

    name: str
    message: str
    of_gate: bool

    @property
    def first_line(self) -> str:
        """The first line of what it said."""
        return next((line.strip() for line in self.message.splitlines() if line.strip()), "no message")


def read_failed_tests(path: Path) -> list[FailedTest]:
    """Return the failed tests of a JUnit XML file, by name.

    Raises:
        InputError: the file is missing, or no whole XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(
            str(path),
            found="no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}",
            expected="the JUnit XML of a session that came to its end",
            action="look into the session's log: pytest writes the file last",
        ) from None
    failed = []
    for case in root.iter("testcase"):
        said = [one for one in case if one.tag in ("failure", "error")]
        if not said:
            continue
        properties = {one.get("name") for one in case.iter("property")}
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        message = "\n".join((one.text or one.get("message") or "").strip() for one in said)
        failed.append(FailedTest(name=name, message=message, of_gate=OF_GATE in properties))
    return sorted(failed, key=lambda test: test.name)


def causes_of_tests(tests: Sequence[FailedTest], *, lane: str, heads: Iterable[str]) -> list[Cause]:
    """Return the causes of failed tests that red verdicts do not explain.

    A gap that ``--require`` made red is one cause per reason, whatever the cases. A test of the gate that broke before
    any verdict is one per message. Any other test is one of its own; more than ten are one together: what breaks so
    much is one thing.

    Args:
        tests: the failed ones.
        lane: what the session is called.
        heads: first lines of the red verdicts, which are causes already.
    """
    known = set(heads)
    groups: dict[tuple[str, ...], tuple[str, list[str]]] = {}

    def add(key: tuple[str, ...], title: str, message: str) -> None:
        groups.setdefault(key, (title, []))[1].append(message)

    others = []
    for test in tests:
        lines = [line.strip() for line in test.message.splitlines()]
        gaps = [found for line in lines if (found := _REQUIRED.match(line))]
        for gap in gaps:
            reason = lasting_text(gap["reason"])
            add(("required", gap["what"], reason), f"{lane}: --require {gap['what']}: {reason}", gap[0])
        if gaps or (test.of_gate and not known.isdisjoint(lines)):
            continue
        if test.of_gate:
            key = ("gate", lane, lasting_text(test.first_line))
            add(key, f"{lane}: {test.first_line}", f"{test.name}\n{test.message}")
        else:
            others.append(test)
    if len(others) > _MOST_TESTS:
        names = "\n".join(test.name for test in others)
        add(("tests", lane), f"{lane}: {len(others)} tests failed", names)
    else:
        for test in others:
            add(("test", test.name), f"{test.name}: failed", f"{test.name}\n{test.message}")
    return [cause_of_failed_tests(title, key, messages) for key, (title, messages) in groups.items()]
