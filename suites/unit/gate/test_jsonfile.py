from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate.jsonfile import read_json, write_json


def complaint(path: Path, **options: str) -> str:
    with pytest.raises(InputError) as raised:
        read_json(path, format_name="slimgate-record/2", **options)
    return str(raised.value)


def test_an_older_file_says_what_its_reader_says_or_else_what_is_done_about_any(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"format": "slimgate-record/1"})
    assert complaint(path) == (
        f"{path}: format 'slimgate-record/1', older than this slimgate reads\n"
        "  expected: format 'slimgate-record/2'\n"
        "  what to do: restore it from version control"
    )
    assert complaint(path, action="run it again").endswith("what to do: run it again")
    assert complaint(path, action="run it again", older="convert it").endswith("what to do: convert it")


def test_a_file_reads_as_people_write(tmp_path: Path) -> None:
    path = write_json(tmp_path / "folder" / "a.json", {"format": "slimgate-record/2", "reason": "für Ada"})
    assert path.read_text(encoding="utf-8").splitlines()[2] == ' "reason": "für Ada"'
    assert path.read_text(encoding="utf-8").endswith('"\n}\n')
    assert read_json(path, format_name="slimgate-record/2")["reason"] == "für Ada"
