"""Training: starts from a detector's own weights, keeps every epoch, resumes exactly, refuses what makes no sense."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from slimgate.compress.recipe import Recipe
from slimgate.compress.sparsify import Sparsity
from slimgate.compress.start import check_init, fresh_detector, inherit_tensors
from slimgate.compress.train import BEST, BEST_F1, LAST, Stage, TrainSettings, train_detector
from slimgate.compress.trainer import best_f1
from slimgate.compress.training_data import TrainingData
from slimgate.compress.training_request import earlier_stages
from slimgate.compress.training_run import Trained
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model import hash_weights, load_detector

from fixtures.detectors import CLASS_NAMES, tiny_architecture
from fixtures.specs import NetworkSpec, build_from_spec

SETTINGS = TrainSettings(epochs=2, batch=4, mosaic=0.5, plain_epochs=1, statistics=4, workers=0, threads=1)


def _detector() -> Detector:
    return fresh_detector(
        tiny_architecture(Family.ULTRALYTICS), class_names=CLASS_NAMES, image_size=64, name="tiny", seed=0
    )


def _train(data: TrainingData, folder: Path, *, kill: int | None = None, **changes: object) -> Trained:
    """Train with a recipe, for what it keeps must resume as well; ``kill``: in this epoch."""

    def step(epoch: int, done: int, total: int) -> None:
        if epoch == kill:
            raise KeyboardInterrupt

    arguments = {
        "settings": SETTINGS,
        "recipes": [Sparsity(strength=0.5, ramp=0.5)],
        "stage": Stage(operation="sparsify", settings={"strength": 0.5}, notes={"seen": 1}),
        "step": step,
    } | changes
    return train_detector(arguments.pop("detector", _detector()), data, folder, **arguments)


@pytest.fixture(scope="module")
def whole(pictures: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a run that was never interrupted."""
    return _train(pictures, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def run(pictures: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was killed in its first and in its second epoch and resumed."""
    folder = tmp_path_factory.mktemp("train") / "run"
    with pytest.raises(KeyboardInterrupt):
        _train(pictures, folder, kill=1)
    with pytest.raises(KeyboardInterrupt):
        _train(pictures, folder, kill=2, resume=True)
    assert [row["epoch"] for row in load_detector(folder / LAST).training["curve"]] == [1]
    _train(pictures, folder, resume=True)
    return folder


def _without_times(training: dict[str, object]) -> dict[str, object]:
    curve = [{k: v for k, v in row.items() if k != "seconds"} for row in training["curve"]]
    return {k: v for k, v in training.items() if k not in ("wall_s", "started")} | {"curve": curve}


@pytest.mark.parametrize(("file", "policy"), [(LAST, "last"), (BEST, "map"), (BEST_F1, "f1")])
def test_a_killed_run_gives_the_same_weights_and_record(
    run: Path, whole: Trained, file: str, policy: str
) -> None:
    killed = load_detector(run / file)
    assert killed.weights_sha256 == whole.by_policy[policy].weights_sha256
    assert _without_times(killed.training) == _without_times(whole.by_policy[policy].training)
    assert killed.lineage == whole.by_policy[policy].lineage


def test_the_record_says_what_it_was_trained_on_and_how(whole: Trained) -> None:
    training = whole.best.training
    assert whole.best.class_names == CLASS_NAMES
    assert training["data"] == {"train": "digest"}
    assert training["settings"] == dataclasses.asdict(SETTINGS)
    assert training["init_weights_sha256"] == _detector().weights_sha256
    assert (training["operation"], training["seen"], training["epochs_done"]) == ("sparsify", 1, 2)
    assert training["wall_s"] > 0
    assert [row["epoch"] for row in training["curve"]] == [1, 2]
    losses = {"box_loss", "class_loss", "dfl_loss"}
    assert losses | {f"val_{name}" for name in losses} | {"map50", "map50_95", "f1", "f1_threshold"} <= set(
        training["curve"][0]
    )


def test_the_best_epochs_are_named_with_policy_epoch_value_and_threshold(whole: Trained) -> None:
    training = whole.best_f1.training
    curve = training["curve"]
    by_f1 = max(reversed(curve), key=lambda row: row["f1"])
    assert training["kept"] == {
        "policy": "f1",
        "epoch": by_f1["epoch"],
        "value": by_f1["f1"],
        "threshold": by_f1["f1_threshold"],
    }
    assert training["best"]["f1"] == training["kept"]
    assert training["best"]["map"]["value"] == max(row["map50_95"] for row in curve)
    assert whole.last.training["kept"] == {"policy": "last", "epoch": 2}


def test_the_step_is_in_the_lineage(whole: Trained) -> None:
    (step,) = whole.last.lineage
    assert (step.operation, step.settings) == ("sparsify", {"strength": 0.5})
    assert step.notes["seen"] == 1
    assert step.notes["kept"] == {"policy": "last", "epoch": 2}


class Watching(Recipe):
    """Notes the sides of the pictures that are trained on."""

    def __init__(self) -> None:
        self.sides: set[tuple[int, ...]] = set()

    def begin(self, trainer: Any) -> None:
        trainer.model.register_forward_pre_hook(
            lambda module, given: (
                self.sides.add(tuple(given[0]["img"].shape[-2:])) if module.training else None
            )
        )


def test_pictures_are_of_the_detectors_own_size(tmp_path: Path, pictures: TrainingData) -> None:
    """A multiple of its stride need not be one of 32, which ultralytics trains at."""
    detector = fresh_detector(
        tiny_architecture(Family.ULTRALYTICS), class_names=CLASS_NAMES, image_size=40, name="tiny", seed=0
    )
    watching = Watching()
    one = dataclasses.replace(SETTINGS, epochs=1, plain_epochs=0)
    _train(pictures, tmp_path / "run", detector=detector, settings=one, recipes=[watching])
    assert watching.sides == {(40, 40)}


def test_the_weights_have_moved_and_are_finite(whole: Trained) -> None:
    state = whole.last.module.state_dict()
    assert whole.last.weights_sha256 != _detector().weights_sha256
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_a_finished_run_is_handed_over_again(run: Path, whole: Trained, pictures: TrainingData) -> None:
    again = _train(pictures, run, resume=True, kill=1)
    assert again.last.weights_sha256 == whole.last.weights_sha256


def test_a_run_is_not_overwritten(run: Path, pictures: TrainingData) -> None:
    before = json.loads((run / "run.json").read_text())
    with pytest.raises(UsageError, match=r"a run is already there\n(.|\n)*continue it with --resume"):
        _train(pictures, run)
    assert json.loads((run / "run.json").read_text()) == before


def test_two_processes_do_not_train_in_one_folder(run: Path, pictures: TrainingData) -> None:
    from filelock import FileLock

    with (
        FileLock(run / ".lock"),
        pytest.raises(UsageError, match="another process is training in it"),
    ):
        _train(pictures, run, resume=True)
    assert _train(pictures, run, resume=True).by_policy


@pytest.mark.parametrize(
    ("file", "content"),
    [("run.json", b"{"), ("run.json", b"[]"), ("state.pt", b"PK torn"), ("state.pt", b"")],
)
def test_a_damaged_run_is_refused_by_the_name_of_its_file(
    run: Path, pictures: TrainingData, tmp_path: Path, file: str, content: bytes
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"{file}: damaged \(.*\n.*\n.*start again in another folder"):
        _train(pictures, folder, resume=True)
    assert (folder / file).read_bytes() == content


def test_another_run_is_not_resumed(run: Path, pictures: TrainingData) -> None:
    others = {
        "settings epochs: 2, not 3": {"settings": dataclasses.replace(SETTINGS, epochs=3)},
        "data train: 'digest', not 'x'": {"data": dataclasses.replace(pictures, facts={"train": "x"})},
        "operation: 'sparsify', not 'train'": {"stage": Stage(notes={"seen": 1})},
        "start init_weights_sha256: ": {
            "detector": dataclasses.replace(_detector(), weights_sha256="another")
        },
    }
    for message, changes in others.items():
        data = changes.pop("data", pictures)
        with pytest.raises(UsageError, match="a run of another training") as caught:
            _train(data, run, resume=True, **changes)
        assert message in str(caught.value)


def test_a_run_of_equal_weights_in_another_network_is_not_resumed(run: Path, pictures: TrainingData) -> None:
    tiny = _detector()
    relu = dataclasses.replace(tiny, architecture={**tiny.architecture, "activation": "nn.ReLU()"})
    assert relu.weights_sha256 == tiny.weights_sha256
    with pytest.raises(UsageError, match=r"another training \(architecture: another activation\)"):
        _train(pictures, run, resume=True, detector=relu)


def test_data_of_other_classes_is_refused(tmp_path: Path, pictures: TrainingData) -> None:
    other = dataclasses.replace(pictures, class_names=("cat", "dog"))
    with pytest.raises(InputError) as caught:
        _train(other, tmp_path / "run")
    assert "the classes cat, dog\n  expected: those of tiny: datamatrix, qrcode, barcode" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_legacy_detector_is_refused(
    tmp_path: Path, pictures: TrainingData, tiny_legacy_detector: Detector
) -> None:
    with pytest.raises(InputError, match=r"operation 'sparsify' on tiny-yolov5-anchor: (.|\n)*transfer-head"):
        _train(pictures, tmp_path / "run", detector=tiny_legacy_detector)


def test_a_training_that_diverges_says_so(tmp_path: Path, pictures: TrainingData) -> None:
    detector = _detector()
    detector.module.state_dict()["model.0.conv.weight"][:] = float("nan")
    with pytest.raises(InputError, match="training, epoch 1: weights or losses that are not finite"):
        _train(pictures, tmp_path / "run", detector=detector, recipes=[])


def test_stages_form_a_flat_list() -> None:
    # As the first release wrote them: nested.
    old = {"operation": "b", "curve": [2], "init_training": {"operation": "a", "curve": [1]}}
    assert earlier_stages(old) == [{"operation": "a", "curve": [1]}, {"operation": "b", "curve": [2]}]
    new = {"operation": "c", "earlier": earlier_stages(old)}
    assert [stage["operation"] for stage in earlier_stages(new)] == ["a", "b", "c"]
    assert not any("earlier" in stage or "init_training" in stage for stage in earlier_stages(new))
    assert earlier_stages({}) == []


def test_the_best_f1_by_hand() -> None:
    class Box:
        f1_curve = ((0.2, 0.8, 0.1), (0.4, 0.4, 0.9))
        px = (0.0, 0.5, 1.0)

    f1, threshold = best_f1(Box())
    assert (round(f1, 9), threshold) == (0.6, 0.5)
    assert best_f1(object()) == (0.0, 0.0)


def test_fresh_weights_follow_the_seed_alone() -> None:
    assert _detector().weights_sha256 == _detector().weights_sha256
    other = fresh_detector(
        tiny_architecture(Family.ULTRALYTICS), class_names=CLASS_NAMES, image_size=64, name="t", seed=1
    )
    assert other.weights_sha256 != _detector().weights_sha256


@pytest.mark.parametrize(
    ("size", "found"), [(100, "use 96 or 104"), (0, "use 8 or 16"), (-64, "use 8 or 16")]
)
def test_an_image_size_that_no_checkpoint_could_be_loaded_with_is_refused(size: int, found: str) -> None:
    with pytest.raises(
        UsageError, match=rf"image size {size}: not a multiple of the stride of t\n(.|\n)*{found}"
    ):
        fresh_detector(
            tiny_architecture(Family.ULTRALYTICS), class_names=CLASS_NAMES, image_size=size, name="t", seed=0
        )


def test_a_detector_of_which_no_layer_fits_is_not_inherited_from(tiny_detector: Detector) -> None:
    wide = build_from_spec(NetworkSpec(widths=(24, 24, 24)))
    message = r"tensors of drawn for tiny(.|\n)*no weight before the head fits(.|\n)*leave --init out"
    with pytest.raises(InputError, match=message):
        inherit_tensors(tiny_detector, wide)


def test_matching_tensors_are_inherited(tiny_detector: Detector) -> None:
    two = fresh_detector(
        tiny_architecture(Family.ULTRALYTICS), class_names=("a", "b"), image_size=64, name="t", seed=0
    )
    inherited, count = inherit_tensors(two, tiny_detector)
    own, theirs, fresh = (d.module.state_dict() for d in (inherited, tiny_detector, two))
    # The class branches are as wide as there are classes at most, and end in as many outputs.
    differing = {key for key in own if own[key].shape != theirs[key].shape}
    assert differing
    assert count == len(own) - len(differing)
    assert all(torch.equal(own[key], (fresh if key in differing else theirs)[key]) for key in own)
    assert inherited.weights_sha256 == hash_weights(inherited.module)


def test_the_start_weights_are_checked_by_hash(tmp_path: Path) -> None:
    path = tmp_path / "init.pt"
    with pytest.raises(InputError, match="no such file"):
        check_init(path, None)
    path.write_bytes(b"weights")
    assert check_init(path, "9a129038") == path
    with pytest.raises(InputError) as caught:
        check_init(path, "00" * 32)
    assert "sha256 " in str(caught.value)
    assert "fetch the file again" in str(caught.value)
