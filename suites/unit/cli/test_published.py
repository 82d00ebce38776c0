"""``fetch:yolov5n.pt`` is a MODEL wherever one is taken."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pytest
from slimgate.cli import build_parser, export, main, train
from slimgate.runtime import open_model


def test_a_published_model_opens_and_is_inspected_by_name(
    official_yolov5n: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_model("fetch:yolov5n.pt", image_size=64)
    with opened.runner:
        assert (len(opened.class_names), opened.label) == (80, "yolov5n.pt @ torch")
    assert main(["inspect", "fetch:yolov5n.pt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "yolov5n.pt"


def test_what_is_exported_of_a_published_model_goes_to_the_current_folder() -> None:
    args = argparse.Namespace(
        out=None, model=Path("fetch:yolov5n.pt"), precision="fp16", format="onnx", target=None
    )
    assert export._output_path(args) == Path("yolov5n-fp16.onnx")


def test_a_training_starts_from_a_published_model(
    official_yolov5n: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = build_parser().parse_args(
        ["train", "--run", str(tmp_path), "--init", "fetch:yolov5n.pt", "--init-sha256", "4f180cf2"]
    )
    _, stage = train._start(args, ("a", "b"))
    assert stage.notes["init_sha256"] == hashlib.sha256(official_yolov5n.read_bytes()).hexdigest()
    assert stage.notes["init_tensors"] > 300


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "line",
    [
        "predict fetch:yolov5n.pt {image}",
        "val fetch:yolov5n.pt --data {image}",
        "export fetch:yolov5n.pt -o {out}.onnx",
        "compress fetch:yolov5n.pt --op prune:0.3 -o {out}",
        "align fetch:yolov5n.pt --multiple 8 -o {out}",
        "rederive fetch:yolov5n.pt -o {out}.yaml",
        "search fetch:yolov5n.pt -o {out}",
        "inspect fetch:yolov5n.pt",
        "init {out} --model fetch:yolov5n.pt --data {image}",
    ],
)
def test_every_command_fetches_its_model(
    line: str, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = dataset_folder / "images" / "0001.jpg"
    assert main(line.format(image=image, out=tmp_path / "out").split()) == 2
    assert capsys.readouterr().err.splitlines()[-3].startswith("slimgate: yolov5n.pt: not on this machine")
