from __future__ import annotations

from pathlib import Path

import pytest
from slimgate.errors import InputError
from slimgate.gate.session import read_complaints, write_complaints


def test_complaints_are_read_back_and_none_is_none(tmp_path: Path) -> None:
    assert read_complaints(tmp_path) == []
    path = write_complaints(tmp_path, ("3 cases ran", "nothing was judged"))
    assert path == tmp_path / "session.json"
    assert read_complaints(tmp_path) == ["3 cases ran", "nothing was judged"]


def test_complaints_of_another_format_are_refused(tmp_path: Path) -> None:
    path = write_complaints(tmp_path, ())
    path.write_text(path.read_text().replace("session/1", "session/2"))
    with pytest.raises(InputError, match="format 'slimgate-session/2', newer than this slimgate reads"):
        read_complaints(tmp_path)
