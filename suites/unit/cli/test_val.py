from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from slimgate.cli import val
from slimgate.data import load_dataset
from slimgate.detect import Protocol
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector
from slimgate.measure import confusion_at, evaluate_coco, predict_protocols
from slimgate.model import save_checkpoint
from slimgate.runtime import open_model


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    val.add_parser(parser.add_subparsers())
    return parser.parse_args(["val", *argv])


@pytest.fixture
def model(tiny_detector: Detector, tmp_path: Path) -> Path:
    return save_checkpoint(tiny_detector, tmp_path / "tiny")


def test_prints_the_twelve_lines_the_table_and_writes_every_number(
    model: Path, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "val.json"
    args = parse(
        str(model), "--data", str(dataset_folder), "--batch", "4", "--conf", "0.6", "--json", str(out)
    )
    assert args.run(args) == 0
    lines = capsys.readouterr().out.splitlines()

    dataset = load_dataset(dataset_folder)
    protocol = Protocol(image_size=64, deployed_conf=0.6)
    with open_model(model).runner as runner:
        every, deployed = predict_protocols(runner, dataset, [protocol, protocol.deployed()], batch=4)
    assert lines[:12] == evaluate_coco(dataset, every).lines()
    assert lines[13] == "at conf 0.6, IoU 0.5:"
    assert " ".join(lines[14].split()) == "class objects TP FP FN precision recall F1 miss rate partial"
    counts = confusion_at(dataset, deployed, conf=0.6, iou=0.5)
    table = {line.split()[0]: line.split()[1:5] for line in lines[15:] if line}
    overall = counts.overall
    assert table["all"] == [str(n) for n in (overall.instances, overall.tp, overall.fp, overall.fn)]
    assert set(dataset.class_names) <= set(table)

    written = json.loads(out.read_text())
    assert written["confusion"] == counts.to_json()
    assert written["protocol"] == protocol.to_json()
    assert written["data"]["sha256"] == dataset.sha256
    assert [path.name for path in out.parent.iterdir()] == ["val.json"]


def test_count_evaluates_only_the_first_images(
    model: Path, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parse(str(model), "--data", str(dataset_folder), "--count", "2")
    assert args.run(args) == 0
    assert "2 images at 64" in capsys.readouterr().out


def test_data_of_other_classes_is_refused_before_anything_runs(
    model: Path, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset_folder / "data.yaml").write_text("val: images\nnames: [datamatrix, barcode, qrcode]\n")
    args = parse(str(model), "--data", str(dataset_folder))
    with pytest.raises(InputError, match="class names differ between model and data"):
        args.run(args)
    assert capsys.readouterr().out == ""


def test_image_size_that_is_no_multiple_of_the_stride_is_refused(model: Path, dataset_folder: Path) -> None:
    args = parse(str(model), "--data", str(dataset_folder), "--imgsz", "70")
    with pytest.raises(UsageError, match="stride"):
        args.run(args)


def test_batch_below_one_is_refused(model: Path, dataset_folder: Path) -> None:
    args = parse(str(model), "--data", str(dataset_folder), "--batch", "0")
    with pytest.raises(UsageError, match=r"--batch: 0\n  expected: at least 1 image"):
        args.run(args)


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("--help")
    assert left.value.code == 0
    assert "slimgate val best.pt --data data.yaml" in capsys.readouterr().out
