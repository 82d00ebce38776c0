"""Training: starts from given weights, keeps every epoch, resumes a killed run, refuses what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from slimgate.compress.train import BEST, LAST, TrainSettings, check_init, train_detector
from slimgate.data.codes import CLASS_NAMES, materialise_split
from slimgate.errors import InputError, UsageError
from slimgate.model import load_detector

SETTINGS = TrainSettings(epochs=2, batch=4, image_size=64, mosaic=0.0, plain_epochs=0, workers=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialise_split("train", tmp_path_factory.mktemp("cache"), count=8)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two epochs that was killed in the second and resumed."""
    folder = tmp_path_factory.mktemp("train") / "run"

    def kill(epoch: int, done: int, total: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    arguments = {
        "class_names": CLASS_NAMES,
        "settings": SETTINGS,
        "name": "tiny",
        "data": {"train": "digest"},
    }
    with pytest.raises(KeyboardInterrupt):
        train_detector(pictures, pictures, folder, **arguments, step=kill)
    assert [row["epoch"] for row in load_detector(folder / LAST).training["curve"]] == [1]
    train_detector(pictures, pictures, folder, **arguments, resume=True)
    return folder


def test_a_killed_run_resumes_and_its_curve_is_whole(run):
    training = load_detector(run / LAST).training
    assert [row["epoch"] for row in training["curve"]] == [1, 2]
    assert training["epochs_done"] == 2
    assert training["wall_s"] > 0


def test_the_record_says_what_it_was_trained_on_and_how(run):
    detector = load_detector(run / BEST)
    assert detector.class_names == CLASS_NAMES
    assert detector.image_size == SETTINGS.image_size
    assert detector.training["data"] == {"train": "digest"}
    assert detector.training["settings"]["seed"] == SETTINGS.seed
    assert detector.training["init_sha256"] is None
    assert {"box_loss", "class_loss", "dfl_loss", "map50", "map50_95", "precision", "recall"} <= set(
        detector.training["curve"][0]
    )


def test_the_weights_have_moved_and_are_finite(run):
    state = load_detector(run / LAST).module.state_dict()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_a_finished_run_is_not_resumed(run, pictures):
    with pytest.raises(InputError) as caught:
        train_detector(
            pictures, pictures, run, class_names=CLASS_NAMES, settings=SETTINGS, name="t", resume=True
        )
    assert "a finished run of 2 epochs" in str(caught.value)


def test_a_run_is_not_overwritten(run, pictures):
    before = json.loads((run / "run.json").read_text())
    with pytest.raises(UsageError) as caught:
        train_detector(pictures, pictures, run, class_names=CLASS_NAMES, settings=SETTINGS, name="t")
    assert "a run is already there" in str(caught.value)
    assert json.loads((run / "run.json").read_text()) == before


def test_resuming_needs_a_run(tmp_path, pictures):
    with pytest.raises(UsageError) as caught:
        train_detector(
            pictures,
            pictures,
            tmp_path / "none",
            class_names=CLASS_NAMES,
            settings=SETTINGS,
            name="t",
            resume=True,
        )
    assert "no whole epoch to resume from" in str(caught.value)


def test_the_start_weights_are_checked_by_hash(tmp_path):
    path = tmp_path / "init.pt"
    with pytest.raises(InputError, match="no such file"):
        check_init(path, None)
    path.write_bytes(b"weights")
    assert check_init(path, "9a129038") == path
    with pytest.raises(InputError) as caught:
        check_init(path, "00" * 32)
    assert "sha256 " in str(caught.value)
    assert "fetch the file again" in str(caught.value)
