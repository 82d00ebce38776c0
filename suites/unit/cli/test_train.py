"""``slimgate train``: what is refused before any picture is read."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from slimgate.cli import build_parser, main, train
from slimgate.compress.train import TrainSettings
from slimgate.compress.training_request import FORMAT, RUN_FILE
from slimgate.compress.training_run import START
from slimgate.errors import UsageError
from slimgate.flow import Detector
from slimgate.model import save_checkpoint


@pytest.fixture
def started(tmp_path: Path, tiny_detector: Detector) -> Path:
    """Return the folder of a run as it is before its first epoch."""
    folder = tmp_path / "run"
    save_checkpoint(tiny_detector, folder / START)
    first = hashlib.sha256((folder / START).read_bytes()).hexdigest()
    run = {
        "format": FORMAT,
        "operation": "train",
        "settings": dataclasses.asdict(TrainSettings(epochs=3, batch=4)),
        "image_size": 64,
        "data": {"train": {"images": 6}, "val": {"images": 2}},
        "source": str(tmp_path / "data.yaml"),
        "start": {"init": "tiny", "init_weights_sha256": "x", "init_sha256": first},
    }
    (folder / RUN_FILE).write_text(json.dumps(run))
    return folder


def _parsed(*arguments: object) -> argparse.Namespace:
    return build_parser().parse_args(["train", "--run", *map(str, arguments)])


def test_the_usual_settings_are_those_of_a_training() -> None:
    assert train._settings(_parsed("x")) == TrainSettings(epochs=12)
    asked = _parsed("x", "--epochs", 2, "--batch", 8, "--learning-rate", 0.01, "--seed", 3, "--fp32")
    assert train._settings(asked) == TrainSettings(epochs=2, batch=8, learning_rate=0.01, seed=3, half=False)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--epochs", 3, "--batch", 4, "--count", 6, "--val-count", 0, "--image-size", 64),
        ("--model", START),
    ],
)
def test_a_run_goes_on_with_its_own_settings(started: Path, options: tuple[Any, ...]) -> None:
    options = tuple(started / option if option == START else option for option in options)
    detector, settings, stage, (_, count, val_count) = train._from_run(_parsed(started, "--resume", *options))
    assert (settings.epochs, settings.batch, count, val_count) == (3, 4, 6, 2)
    assert detector.image_size == 64
    assert "init" not in stage.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", 50), "--epochs 50, the run has 3"),
        (("--learning-rate", 0.5), "--learning-rate 0.5, the run has 0.001"),
        (("--data", "other.yaml"), "--data other.yaml, the run has "),
        (("--image-size", 96), "--image-size 96, the run has 64"),
        (("--val-count", 5), "--val-count 5, the run has 2"),
        (("--fp32",), "--fp32 float32, the run has bfloat16"),
        (("--init", "other"), "--init "),
        (("--architecture", "yolov8n"), "--architecture yolov8n, the run has another"),
    ],
)
def test_a_run_is_not_resumed_with_others(
    started: Path, tmp_path: Path, options: tuple[Any, ...], message: str
) -> None:
    (tmp_path / "other").write_bytes(b"other weights")
    options = tuple(tmp_path / option if option == "other" else option for option in options)
    with pytest.raises(UsageError) as raised:
        train._from_run(_parsed(started, "--resume", *options))
    assert message in str(raised.value)
    assert "expected: the settings that the run was started with, or none" in str(raised.value)


def test_the_data_may_be_written_in_another_way(
    started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train._from_run(_parsed(started, "--resume", "--data", "./data.yaml"))[1].epochs == 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epochs", "0", "'0' is not a whole number of 1 or more"),
        ("--batch", "-4", "'-4' is not a whole number of 1 or more"),
        ("--learning-rate", "nan", "'nan' is not a number above 0, and 1 at most, such as 0.001"),
        ("--learning-rate", "fast", "'fast' is not a number above 0"),
        ("--seed", "-1", "'-1' is not a whole number of 0 or more"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    option: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "--run", str(tmp_path / "run"), f"{option}={value}"])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_hash_without_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--run", str(tmp_path / "run"), "--init-sha256", "4f18"]) == 2
    assert capsys.readouterr().err.startswith("slimgate: --init-sha256: no --init beside it\n")


def test_the_place_of_the_checkpoint_is_tried_before_anything_is_read(
    tmp_path: Path, tiny_detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = save_checkpoint(tiny_detector, tmp_path / "taken")
    (tmp_path / "file").write_text("")
    for output, message in (
        (taken, "taken.safetensors and taken.json exists already"),
        (tmp_path, "a directory"),
        (tmp_path / "file" / "trained", "cannot be written ("),
    ):
        assert (
            main(["train", "--run", str(tmp_path / "run"), "--data", "nowhere.yaml", "-o", str(output)]) == 2
        )
        assert f"slimgate: --output {output}: {message}" in capsys.readouterr().err
    assert (
        main(["train", "--run", str(tmp_path / "run"), "--data", "nowhere.yaml", "-o", str(taken), "--force"])
        == 2
    )
    assert "nowhere.yaml" in capsys.readouterr().err
