from __future__ import annotations

import ast
import os
from pathlib import Path

import cv2
import pytest
from slimgate.cli import main
from slimgate.data import load_dataset
from slimgate.flow import Detector, Precision
from slimgate.gate import load_floors
from slimgate.model import save_checkpoint
from slimgate.study import load_study

from fixtures.datasets import write_dataset


@pytest.fixture
def project(tmp_path: Path, tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: ``best.safetensors``, and a data.yaml whose train images are the val's negatives."""
    folder = tmp_path / "project"
    folder.mkdir()
    save_checkpoint(tiny_detector, folder / "best.safetensors")
    write_dataset(folder / "data")
    write_dataset(folder / "train")
    for path in (folder / "train" / "images").iterdir():
        cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    with (folder / "data" / "data.yaml").open("a") as file:
        file.write("train: ../train/images\n")
    # Above a real project there may be settings of pytest; here there are none.
    (folder / "setup.cfg").write_text("[metadata]\nname = theirs\n")
    monkeypatch.chdir(folder)
    return folder


def init(*options: str, model: str = "best.safetensors", data: str = "data/data.yaml") -> int:
    return main(["init", *options, "--model", model, "--data", data])


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refusal(capsys: pytest.CaptureFixture[str], project: Path, before: set[str], code: int) -> str:
    assert code == 2
    assert files(project) == before, "nothing is written by a refused init"
    message = capsys.readouterr().err
    assert "expected:" in message
    assert "what to do:" in message
    return message


def test_what_it_writes_is_a_study_and_floors_that_load(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(project)
    assert init("--runtimes", "onnxruntime", "torch") == 0
    written = {"best.toml", "golden/floors/best.toml", "test_best.py", "pytest.ini"}
    assert files(project) - before == written
    study = load_study("best.toml")
    assert [str(case) for case in study.cases] == [
        "best/fp32@onnxruntime",
        "best/fp32@torch",
        "best/int8@onnxruntime",
    ]
    assert study.image_size == 64
    assert study.calibration_images == 6
    # "datamatrix" is in the model and in no picture: a floor for its recall could never be measured.
    present = {
        name for name in ("qrcode", "datamatrix", "barcode") if f"recall/{name}" in study.required_metrics
    }
    dataset = load_dataset("data/data.yaml")
    assert present == {dataset.class_names[int(label)] for one in dataset.samples for label in one.classes}
    assert {"map50_95", "size_bytes", "int8_share"} < set(study.required_metrics)
    floors = load_floors(project / "golden", "best", device="cpu:any")
    assert floors.floors == ()
    assert floors.files == ("golden/floors/best.toml",)
    assert "slimgate accept RUN_DIR" in (project / "golden/floors/best.toml").read_text()
    ast.parse((project / "test_best.py").read_text())
    assert "slimgate_study = best.toml" in (project / "pytest.ini").read_text()
    output = capsys.readouterr().out
    assert "model        best.safetensors: ultralytics, 3 classes, 64 px" in output
    assert "data         data: 6 images" in output
    assert "calibration  data/data.yaml:train: 6 images, none of them evaluated" in output
    assert "  slimgate study best.toml --out runs/first" in output
    assert "  slimgate accept runs/first" in output


def test_paths_are_those_seen_from_the_study(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("gate", "--name", "mine", "--precisions", "fp16") == 0
    study = load_study("gate/mine.toml")
    assert study.weights == "../best.safetensors"
    assert Path(study.resolve(study.weights)) == project / "best.safetensors"
    assert len(load_dataset(study.resolve(study.evaluation))) == 6
    assert [variant.precision for variant in study.variants] == [Precision.FP32, Precision.FP16]
    assert "  cd gate\n" in capsys.readouterr().out


def test_a_train_split_beside_the_study_is_found(project: Path) -> None:
    assert init() == 0
    study = load_study("best.toml")
    assert study.calibration == "data/data.yaml:train"
    assert load_dataset(study.resolve(study.calibration)).name == "data:train"


def test_settings_of_pytest_that_are_there_are_not_touched(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    (project / "below").mkdir()
    os.chdir(project / "below")
    assert init(model="../best.safetensors", data="../data/data.yaml") == 0
    assert not (project / "below" / "pytest.ini").exists()
    output = capsys.readouterr().out
    assert "add to pytest's settings in ../pyproject.toml:\n" in output
    assert '  slimgate_study = "below/best.toml"\n' in output


def test_nothing_is_overwritten(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "best.toml").write_text("theirs")
    (project / "test_best.py").write_text("theirs")
    message = refusal(capsys, project, files(project), init())
    assert "exists already: best.toml, test_best.py" in message
    assert (project / "best.toml").read_text() == "theirs"


def test_a_place_that_cannot_be_written_leaves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "golden").write_text("a file where a folder must be")
    message = refusal(capsys, project, files(project), init())
    assert "golden/floors/best.toml: cannot be written" in message


def test_classes_that_differ_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = project / "data" / "data.yaml"
    config.write_text(config.read_text().replace("'datamatrix', 'qrcode'", "'qrcode', 'datamatrix'"))
    message = refusal(capsys, project, files(project), init())
    assert "class names differ between model and data" in message
    assert "0: 'datamatrix' in the model, 'qrcode' in the data" in message


def test_an_image_size_off_the_stride_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, project, files(project), init("--imgsz", "60"))
    assert "image size 60: not a multiple of the stride" in message


def test_data_without_train_images_asks_for_them(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = project / "data" / "data.yaml"
    config.write_text(config.read_text().replace("train: ../train/images\n", ""))
    message = refusal(capsys, project, files(project), init())
    assert "data/data.yaml: no train images to calibrate INT8 on" in message
    assert "--precisions fp32 fp16" in message
    assert init("--precisions", "fp32") == 0


def test_evaluated_images_are_no_calibration(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, project, files(project), init("--calibration", "data/instances.json"))
    assert "6 of 6 calibration images are also evaluated" in message


def test_a_calibration_set_that_is_named_and_not_there_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, project, files(project), init("--calibration", "absent.json"))
    assert "absent.json: no such dataset" in message


def test_data_without_objects_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (project / "data" / "labels").glob("*.txt"):
        path.unlink()
    message = refusal(capsys, project, files(project), init())
    assert "data/data.yaml: no labelled object in 6 images" in message


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--runtimes", "torch"), "--runtimes torch: none of them runs int8"),
        (("--runtimes", "openvino-bf16"), "--runtimes openvino-bf16: none of them runs fp32"),
        (("--precisions", "bf16"), "--runtimes onnxruntime: none of them runs bf16"),
        (("--runtimes", "onnxruntim"), "did you mean 'onnxruntime'?"),
        (("--name", "my study"), "--name my study: no name for case ids"),
        (("--name", "../up"), "--name ../up: no name for case ids"),
    ],
)
def test_wrong_options_are_named(
    project: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], found: str
) -> None:
    assert found in refusal(capsys, project, files(project), init(*options))


def test_a_model_that_is_no_detector_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "empty.pt").write_bytes(b"")
    message = refusal(capsys, project, files(project), init(model="empty.pt"))
    assert "empty.pt: an empty file" in message
