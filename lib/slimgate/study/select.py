"""The ``-k`` expression: which cases of a study run."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from slimgate.errors import UsageError
from slimgate.flow import Case

_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")


def select_cases(cases: Iterable[Case], expression: str) -> tuple[Case, ...]:
    """Return the cases whose id matches a ``-k`` expression, in their order.

    The expression is pytest's: substrings of the id (case-insensitive) joined by ``and``, ``or``, ``not`` and
    parentheses. A whole id means that case alone: ``codes/int8@onnxruntime`` is no part of
    ``codes/int8@onnxruntime-cuda``. An empty expression selects everything.

    Raises:
        UsageError: the expression cannot be read, or selects nothing.
    """
    known = tuple(cases)
    if not expression.strip():
        return known
    matches = _parse(expression, {str(case).lower() for case in known})
    chosen = tuple(case for case in known if matches(str(case).lower()))
    if not chosen:
        raise UsageError(
            f"-k '{expression}'",
            found=f"selects none of {len(known)} cases",
            expected=f"a part of a case id such as {', '.join(str(case) for case in known[:3])}",
            action="run without -k to see every case id",
        )
    return chosen


def _parse(expression: str, ids: Collection[str]) -> Callable[[str], bool]:
    tokens = _TOKEN.findall(expression)
    position = 0

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    def take() -> str:
        nonlocal position
        position += 1
        return str(tokens[position - 1])

    def either() -> Callable[[str], bool]:
        left = both()
        while peek() == "or":
            take()
            first, second = left, both()
            left = _any_of(first, second)
        return left

    def both() -> Callable[[str], bool]:
        left = one()
        while peek() == "and":
            take()
            first, second = left, one()
            left = _all_of(first, second)
        return left

    def one() -> Callable[[str], bool]:
        token = peek()
        if token == "not":
            take()
            inner = one()
            return lambda text: not inner(text)
        if token == "(":
            take()
            inner = either()
            if peek() != ")":
                raise _unreadable(expression, "a ')' is missing")
            take()
            return inner
        if token in ("", ")", "and", "or"):
            raise _unreadable(expression, f"a name is missing before '{token or 'the end'}'")
        part = take().lower()
        return (lambda text: text == part) if part in ids else (lambda text: part in text)

    result = either()
    if position != len(tokens):
        raise _unreadable(expression, f"'{peek()}' was not expected; join names with 'and' or 'or'")
    return result


def _any_of(first: Callable[[str], bool], second: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: first(text) or second(text)


def _all_of(first: Callable[[str], bool], second: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: first(text) and second(text)


def _unreadable(expression: str, found: str) -> UsageError:
    return UsageError(
        f"-k '{expression}'",
        found=found,
        expected="names joined by and, or, not and parentheses, such as 'int8 and not openvino'",
        action="correct the expression",
    )
