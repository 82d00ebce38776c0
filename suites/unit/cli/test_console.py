"""Tables lose no column where there is no terminal."""

from __future__ import annotations

import sys

import pytest
from slimgate.cli.console import make_console


@pytest.fixture
def no_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.usefixtures("no_columns")
def test_a_pipe_is_wide_enough_for_every_table(capsys, monkeypatch):
    assert make_console().width == 200
    # GitHub's logs ask for colours; that makes them no wider.
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make_console().width == 200
    make_console().print("x" * 150)
    assert "x" * 150 in capsys.readouterr().out


@pytest.mark.usefixtures("no_columns")
def test_a_terminal_is_as_wide_as_it_is(monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert make_console().width == Console().width


def test_columns_are_obeyed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    assert make_console().width == 90
