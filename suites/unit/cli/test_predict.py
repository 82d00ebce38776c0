from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
from slimgate.cli import predict
from slimgate.data import read_image
from slimgate.errors import InputError
from slimgate.flow import Detector
from slimgate.model import save_checkpoint

LINE = re.compile(
    r"^\d{4}\.jpg \d+×\d+: (nothing|\d+ \w+(, \d+ \w+)*); "
    r"pre-process \d+\.\d ms, inference \d+\.\d ms, NMS \d+\.\d\d ms$"
)


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    predict.add_parser(parser.add_subparsers())
    return parser.parse_args(["predict", *argv])


@pytest.fixture
def model(tiny_detector: Detector, tmp_path: Path) -> Path:
    return save_checkpoint(tiny_detector, tmp_path / "tiny")


def test_one_line_per_image_then_the_mean_and_the_pictures(
    model: Path, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "annotated"
    args = parse(str(model), str(dataset_folder / "images"), "--out", str(out))
    assert args.run(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all(LINE.match(line) for line in lines[:6])
    assert lines[0].startswith("0001.jpg 64×48: ")
    assert lines[6].startswith("mean of 6 images: ")
    copies = sorted(out.iterdir())
    assert [path.name for path in copies] == [f"{number:04d}.jpg" for number in range(1, 7)]
    original = read_image(dataset_folder / "images" / "0001.jpg")
    drawn = read_image(copies[0])
    assert drawn.shape == original.shape
    assert np.abs(drawn.astype(int) - original).max() > 100


def test_nothing_is_found_above_confidence_one(
    model: Path, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(dataset_folder / "images" / "0002.jpg")
    args = parse(str(model), image, "--conf", "1", "--out", str(tmp_path / "o"))
    assert args.run(args) == 0
    assert "0002.jpg 48×64: nothing; " in capsys.readouterr().out


def test_files_folders_and_patterns_each_once_in_order(dataset_folder: Path) -> None:
    images = dataset_folder / "images"
    given = [str(images / "0003.jpg"), str(images / "000[12].jpg"), str(images)]
    names = [path.name for path in predict.find_images(given)]
    assert names == ["0003.jpg", "0001.jpg", "0002.jpg", "0004.jpg", "0005.jpg", "0006.jpg"]


def test_paths_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\*\.jpg: no such file, folder or pattern"):
        predict.find_images([str(tmp_path / "nowhere*.jpg")])
    with pytest.raises(InputError, match="no images in this folder"):
        predict.find_images([str(tmp_path)])


def test_copies_have_names_of_their_own_and_never_overwrite_an_input(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.jpg", tmp_path / "out" / "y.jpg"]
    copies = predict.name_copies(paths, tmp_path / "out")
    assert [path.name for path in copies] == ["x.jpg", "x-2.jpg", "y-2.jpg"]


def test_damaged_image_is_refused_by_name(model: Path, dataset_folder: Path, tmp_path: Path) -> None:
    broken = dataset_folder / "images" / "0001.jpg"
    broken.write_bytes(broken.read_bytes()[:150])
    args = parse(str(model), str(broken), "--out", str(tmp_path / "o"))
    with pytest.raises(InputError, match=r"0001\.jpg: truncated or damaged"):
        args.run(args)
    assert not (tmp_path / "o").exists()


def test_a_damaged_image_among_good_ones_leaves_no_pictures(
    model: Path, dataset_folder: Path, tmp_path: Path
) -> None:
    last = dataset_folder / "images" / "zzzz.jpg"
    last.write_bytes(b"no image")
    args = parse(str(model), str(dataset_folder / "images"), "--out", str(tmp_path / "annotated"))
    with pytest.raises(InputError, match=r"zzzz\.jpg"):
        args.run(args)
    assert not (tmp_path / "annotated").exists()
