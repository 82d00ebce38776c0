"""What the system refuses: one message, worded for what was to be done, and never exit code 1."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from slimgate.cli import main
from slimgate.cli.failures import describe_os_error
from slimgate.cli.outputs import require_file_place, require_folder_place
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector
from slimgate.model import save_checkpoint

NO_PLACE = Path("/proc")
on_linux = pytest.mark.skipif(not NO_PLACE.is_dir(), reason="a folder that nobody can write to: /proc")


@pytest.mark.parametrize(
    ("code", "said", "action"),
    [
        (errno.EEXIST, "File exists", "name another place"),
        (errno.ENOTDIR, "Not a directory", "correct the path"),
        (errno.EISDIR, "Is a directory", "name a file in that folder"),
        (errno.ENOENT, "No such file", "correct the path"),
        (errno.ENOSPC, "No space left", "free space, or name another directory"),
        (errno.EACCES, "Permission denied", "free space, or name another directory"),
    ],
)
def test_a_refused_path_is_one_message(code: int, said: str, action: str) -> None:
    message = describe_os_error(OSError(code, "whatever", "/some/place"))
    assert message is not None
    assert message.startswith(f"/some/place: {said}")
    assert "\n  expected: " in message
    assert f"\n  what to do: {action}" in message


def test_a_file_that_may_not_be_read_is_worded_for_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "best.pt"
    file.touch()
    error = PermissionError(errno.EACCES, "Permission denied", str(file))
    assert "a writable place" in str(describe_os_error(error))
    # Whoever runs the tests may be allowed to read everything.
    monkeypatch.setattr("slimgate.cli.failures.os.access", lambda path, mode: False)
    assert describe_os_error(error) == (
        f"{file}: Permission denied\n  expected: a file that this user may read\n"
        "  what to do: correct its permissions, or name another file"
    )


def test_what_is_about_no_path_is_not_explained_away() -> None:
    assert describe_os_error(OSError(errno.EIO, "broken disk", "/x")) is None
    assert describe_os_error(OSError(errno.ENOENT, "nothing")) is None


def test_predictions_do_not_go_into_a_file(
    dataset_folder: Path, tiny_detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    model = save_checkpoint(tiny_detector, tmp_path / "tiny")
    image = str(dataset_folder / "images" / "0001.jpg")
    assert main(["predict", str(model), image, "--out", str(taken)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(
        f"slimgate: --out {taken}: a file\n  expected: a folder, or the name of a new one"
    )
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    "place", ["folder", "taken/val.json", pytest.param("/proc/val.json", marks=on_linux)]
)
def test_val_tries_its_output_before_it_evaluates(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").touch()
    # There is no model and there are no data: it does not come that far.
    out = tmp_path / place
    assert main(["val", "absent.pt", "--data", "absent", "--json", str(out)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"slimgate: --json {out}: ")
    assert "what to do: " in shown
    assert "absent" not in shown


def test_a_place_for_a_file_is_made_and_left_empty(tmp_path: Path) -> None:
    require_file_place("--json", tmp_path / "new" / "val.json", example="val.json")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(
        UsageError, match=r"--json .*new: a folder\n.*\n  what to do: write --json .*new/val.json"
    ):
        require_file_place("--json", tmp_path / "new", example="val.json")


def test_a_place_for_a_folder_is_made(tmp_path: Path) -> None:
    require_folder_place("--out", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@on_linux
def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    for place in (NO_PLACE, NO_PLACE / "new"):
        with pytest.raises(
            InputError, match=r"--out /proc.*: cannot be written \(.+\)\n  expected: a folder with"
        ):
            require_folder_place("--out", place)
