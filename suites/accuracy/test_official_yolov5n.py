"""The two bars of the official COCO YOLOv5n, through the commands a user types."""

from __future__ import annotations

import json

from slimgate.cli import main

UPSTREAM_MAP50_95 = 0.29
"""YOLOv5's own continuous integration asks for this on coco128 at 320 pixels."""


def test_four_persons_and_the_bus(official_yolov5n, tmp_path, capsys):
    from slimgate.model.ultralytics_env import ASSETS

    options = ["--imgsz", "640", "--conf", ".25", "--iou", ".45", "--out", str(tmp_path / "annotated")]
    assert main(["predict", str(official_yolov5n), str(ASSETS / "bus.jpg"), *options]) == 0
    assert capsys.readouterr().out.startswith("bus.jpg 810×1080: 4 person, 1 bus;")
    assert (tmp_path / "annotated" / "bus.jpg").is_file()


def test_upstreams_bar_on_coco128(official_yolov5n, coco128_folder, tmp_path, capsys):
    out = tmp_path / "val.json"
    command = ["val", str(official_yolov5n), "--data", "coco128", "--imgsz", "320", "--json", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert shown.lstrip().startswith("Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]")
    assert json.loads(out.read_text())["accuracy"]["coco"]["AP"] >= UPSTREAM_MAP50_95
