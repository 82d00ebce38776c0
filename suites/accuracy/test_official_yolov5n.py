"""The two bars of the official COCO YOLOv5n, through the commands a user types."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from slimgate.cli import main

FOLDER = os.environ.get("SLIMGATE_DATA", "")
WEIGHTS = Path(FOLDER, "yolov5n.pt")
UPSTREAM_MAP50_95 = 0.29
"""YOLOv5's own continuous integration asks for this on coco128 at 320 pixels."""

pytestmark = pytest.mark.skipif(
    not (FOLDER and WEIGHTS.is_file() and Path(FOLDER, "coco128").is_dir()),
    reason="not proven: SLIMGATE_DATA does not name a folder with yolov5n.pt and coco128",
)


def test_four_persons_and_the_bus(tmp_path, capsys):
    from slimgate.model.ultralytics_env import ASSETS

    options = ["--imgsz", "640", "--conf", ".25", "--iou", ".45", "--out", str(tmp_path / "annotated")]
    assert main(["predict", str(WEIGHTS), str(ASSETS / "bus.jpg"), *options]) == 0
    assert capsys.readouterr().out.startswith("bus.jpg 810×1080: 4 person, 1 bus;")
    assert (tmp_path / "annotated" / "bus.jpg").is_file()


def test_upstreams_bar_on_coco128(tmp_path, capsys):
    out = tmp_path / "val.json"
    assert main(["val", str(WEIGHTS), "--data", "coco128", "--imgsz", "320", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.lstrip().startswith("Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]")
    assert json.loads(out.read_text())["accuracy"]["coco"]["AP"] >= UPSTREAM_MAP50_95
