from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate.formats import find_other_format
from slimgate.gate.tomlfile import last_line_of, read_toml


def complain(folder: Path, content: bytes) -> str:
    (folder / "a.toml").write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_toml(folder / "a.toml", shown="golden/a.toml", expected="a floors file")
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a = 1\nb ==\n", "golden/a.toml:2: not TOML: Invalid value: b =="),
        (
            b"a = 1\nb = 2\na = 3\n",
            "golden/a.toml:3: not TOML: this key, or this table, stands here a second",
        ),
        (
            b"[a]\nb = 1\n[a]\n",
            "golden/a.toml:3: not TOML: this table, or this key, stands here a second time",
        ),
        (b"a = { b = 1 }\n[a.c]\n", "golden/a.toml:2: not TOML: "),
        (b"a = [1,\n2", "golden/a.toml:2: not TOML: Unclosed array: 2"),
        ("a = 'x\u2028y\x85z'\nb ==\n".encode(), "golden/a.toml:2: not TOML: Invalid value: b =="),
        (b"a = [1,\n\n", "golden/a.toml:2: not TOML: Invalid value\n"),
        (b"a", "golden/a.toml:1: not TOML: "),
        (b"", ""),
    ],
)
def test_the_line_is_named_and_shown(tmp_path: Path, content: bytes, complaint: str) -> None:
    if not content:
        (tmp_path / "a.toml").write_bytes(content)
        assert read_toml(tmp_path / "a.toml", shown="a", expected="x").value == {}
        return
    message = complain(tmp_path, content)
    assert message.startswith(complaint)
    assert message.endswith("\n  expected: a floors file\n  what to do: correct that line")


def test_another_encoding_is_named(tmp_path: Path) -> None:
    message = complain(tmp_path, "a = 'é'".encode("latin-1"))
    assert "golden/a.toml: not TOML: 'utf-8' codec can't decode" in message
    assert "what to do: save it as UTF-8" in message


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("a = 1\nb = 2", 1, 1),
        ("a = [\n  { b = 1 },\n]\nc = 1", 1, 3),
        ('a = { b = "]}" }\nc = 1', 1, 1),
        ("X = [\n  { b = 1 },\n]\nc = 1", 1, 3),
        ("a = [ # ]\n 1,\n]\nc = 1", 1, 3),
        ("a = [\n 1", 1, 2),
    ],
)
def test_where_a_value_ends(text: str, first: int, last: int) -> None:
    assert last_line_of(tuple(text.splitlines()), first) == last


@pytest.mark.parametrize(
    ("found", "says", "action"),
    [
        ("slimgate-record/1", "'slimgate-record/1', older than this slimgate reads", "older"),
        (
            "slimgate-record/3",
            "'slimgate-record/3', newer than this slimgate reads",
            "install the slimgate that",
        ),
        ("slimgate-run/2", "'slimgate-run/2'", "other"),
        (None, "None", "other"),
        (2, "2", "other"),
    ],
)
def test_an_older_a_newer_and_another_format_ask_for_different_things(
    found: object, says: str, action: str
) -> None:
    strange = find_other_format(found, "slimgate-record/2", older="older", other="other")
    assert strange is not None
    assert (strange.found, strange.expected) == (says, "'slimgate-record/2'")
    assert strange.action.startswith(action)


def test_the_format_that_is_understood_is_fine() -> None:
    assert find_other_format("a/2", "a/2", older="", other="") is None
