"""The command as a whole: exit codes, one message, no traceback."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from slimgate import cli
from slimgate.cli import COMMANDS, build_parser, main
from slimgate.errors import InputError


@pytest.fixture
def study_raising(monkeypatch):
    """Return a function that makes ``slimgate study`` raise."""

    def make(error: BaseException) -> None:
        def run(args):
            raise error

        def add_parser(subparsers):
            subparsers.add_parser("study").set_defaults(run=run)

        monkeypatch.setattr(cli, "COMMANDS", ("study",))
        monkeypatch.setattr("slimgate.cli.study.add_parser", add_parser)

    return make


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: slimgate" in shown
    assert "example" in shown or "accept" in shown


def test_an_unknown_command_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as left:
        main(["stduy"])
    assert left.value.code == 2
    shown = capsys.readouterr().err
    assert "command 'stduy': unknown command; did you mean 'study'?" in shown
    assert "what to do: use one of them; 'slimgate --help' says more" in shown


def test_bad_input_is_one_message_and_exit_code_two(study_raising, capsys):
    study_raising(InputError("a.pt", found="empty", expected="a model", action="name another"))
    assert main(["study"]) == 2
    assert (
        capsys.readouterr().err == "slimgate: a.pt: empty\n  expected: a model\n  what to do: name another\n"
    )


def test_interrupting_is_one_message_and_exit_code_two(study_raising, capsys):
    study_raising(KeyboardInterrupt())
    assert main(["study"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("slimgate: interrupted")
    assert "finished artifacts are kept" in shown


@pytest.mark.parametrize(
    ("code", "text"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "Permission denied")]
)
def test_a_full_or_closed_disk_is_one_message_and_exit_code_two(study_raising, capsys, code, text):
    study_raising(OSError(code, "whatever", "/some/place"))
    assert main(["study"]) == 2
    assert f"slimgate: /some/place: {text}" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), KeyError("broken disk")])
def test_what_nobody_expected_is_no_failed_gate_and_hides_nothing(study_raising, capsys, error):
    study_raising(error)
    assert main(["study"]) == 3
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert f"slimgate: an error of slimgate itself: {type(error).__name__}: " in shown
    assert "broken disk" in shown
    assert "what to do: report it" in shown


def test_the_cases_of_the_built_in_study_can_be_listed(capsys):
    assert main(["study", "--list", "-k", "int8"]) == 0
    lines = capsys.readouterr().out.split()
    assert "codes/int8@onnxruntime" in lines
    assert all("int8" in line for line in lines)


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "slimgate", "study", "absent.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("slimgate: study absent.toml: no such file")
    assert "Traceback" not in done.stderr


def test_the_parser_holds_every_command():
    parsed = build_parser().parse_args(["study"])
    assert parsed.study == "codes"
