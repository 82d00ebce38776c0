from __future__ import annotations

import errno
import hashlib
import json
import zipfile
from importlib import resources
from pathlib import Path

import platformdirs
import pooch
import pytest
import requests
from slimgate.data import fetch, load_dataset
from slimgate.data import fetch as fetch_function
from slimgate.data.cache import CACHE_VARIABLE
from slimgate.data.fetch import DATA_VARIABLE, coco128_digests, coco128_images, find_model
from slimgate.errors import InputError, UnavailableError, UsageError


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Forget SLIMGATE_DATA and use an empty cache folder; return it."""
    for name in (DATA_VARIABLE, CACHE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_: str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        UsageError, match=r"did you mean 'yolov5n.pt'.*\n  expected: one of coco128, yolov5n.pt"
    ):
        fetch("yolov5.pt")


def test_without_network_the_message_says_how_to_go_on(
    no_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    for name, address in (
        ("yolov5n.pt", "https://github.com/ultralytics/yolov5/releases/download/v7.0/yolov5n.pt"),
        ("coco128", "https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip"),
    ):
        with pytest.raises(UnavailableError, match=f"{address} cannot be downloaded") as caught:
            fetch(name)
        assert f"set {DATA_VARIABLE} to the folder it is in" in str(caught.value)
    assert [path for path in no_data.rglob("*") if path.is_file()] == []


def test_download_with_another_hash_is_refused(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(*_: object, **__: object) -> None:
        raise ValueError("SHA256 hash of downloaded file does not match")

    monkeypatch.setattr(pooch, "retrieve", deliver)
    with pytest.raises(
        UnavailableError, match=r"does not deliver the published file.*\n  expected: sha256 4f180cf2"
    ):
        fetch("yolov5n.pt")


def test_given_file_with_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "yolov5n.pt").write_bytes(b"something else")
    digest = hashlib.sha256(b"something else").hexdigest()[:12]
    with pytest.raises(InputError, match=f"sha256 {digest}….*\n  expected: the official YOLOv5n checkpoint"):
        fetch("yolov5n.pt")
    (tmp_path / "coco128" / "images").mkdir(parents=True)
    (tmp_path / "coco128" / "images" / "000000000009.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"128 of 128 images.*000000000009.jpg \(other content\)") as caught:
        fetch("coco128")
    assert "000000000025.jpg (not there)" in str(caught.value)
    assert "and 118 more" in str(caught.value)


def test_archive_is_unpacked_flat_and_checked(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(_: str, *, known_hash: str | None, path: Path, fname: str, downloader: object) -> str:
        with zipfile.ZipFile(path / fname, "w") as archive:
            archive.writestr("coco128/README.txt", "hello")
            archive.writestr("coco128/images/train2017/a.jpg", b"picture")
            archive.writestr("coco128/labels/train2017/a.txt", b"0 .5 .5 1 1")
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", deliver)
    # The function hides the module of its name in slimgate.data; its globals are the module's.
    module = fetch_function.__globals__
    monkeypatch.setitem(module, "coco128_digests", lambda: {"a.jpg": hashlib.sha256(b"picture").hexdigest()})
    folder = fetch("coco128")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "images/a.jpg",
        "labels/a.txt",
    ]
    assert [path.name for path in no_data.iterdir()] == ["coco128"]
    monkeypatch.setitem(module, "coco128_digests", lambda: {"a.jpg": "0" * 64})
    with pytest.raises(InputError, match=r"a\.jpg \(other content\)"):
        fetch("coco128")


def test_manifest_names_128_images() -> None:
    digests = coco128_digests()
    assert len(digests) == 128
    assert all(len(digest) == 64 for digest in digests.values())


COCO128_SHA256 = "b1fc8b4188602691df9d06ee7b92bd5aa6a9291c3a9a4035b648170f05d8837d"
"""What every record of the study coco128-yolov5n was measured on."""


@pytest.mark.usefixtures("coco128_folder")
def test_coco128_has_its_annotations_and_crowds() -> None:
    dataset = load_dataset("coco128")
    assert len(dataset) == 128
    assert sum(len(sample.boxes) for sample in dataset.samples) == 939
    assert sum(int(sample.crowd.sum()) for sample in dataset.samples) == 10
    assert sum(len(sample.boxes) == 0 for sample in dataset.samples) == 2
    assert (len(dataset.class_names), dataset.category_ids[-1], dataset.notes) == (80, 90, "")
    assert dataset.sha256 == COCO128_SHA256


@pytest.mark.parametrize("layout", ["images", "images/train2017"])
def test_images_alone_are_the_whole_of_coco128_flat_or_as_the_archive_unpacks(
    layout: str, coco128_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "coco128" / layout
    place.parent.mkdir(parents=True)
    place.symlink_to(coco128_images(coco128_folder).resolve())
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load_dataset("coco128").sha256 == COCO128_SHA256


def test_the_records_of_coco128_were_measured_on_what_is_shipped() -> None:
    records = Path(__file__).parents[3] / "golden" / "records" / "coco128-yolov5n"
    found = {json.loads(file.read_text())["provenance"]["dataset_sha256"] for file in records.rglob("*.json")}
    assert found == {COCO128_SHA256}


def test_the_shipped_annotations_are_of_the_published_images() -> None:
    text = resources.files("slimgate.data").joinpath("coco128_instances.json").read_text(encoding="utf-8")
    assert {image["file_name"] for image in json.loads(text)["images"]} == set(coco128_digests())
    assert len(text) < 100_000


def test_an_image_of_another_content_is_found_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    place = tmp_path / "coco128" / "images" / "train2017"
    place.mkdir(parents=True)
    (place / "000000000009.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"train2017: 128 of 128.*000000000009.jpg \(other content\)"):
        fetch("coco128")


def test_what_is_fetched_lies_in_the_cache_that_is_named(
    no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def deliver(*_: object, path: Path, **__: object) -> None:
        asked.append(path)
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", deliver)
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path / "mine"))
    with pytest.raises(UnavailableError):
        fetch("yolov5n.pt")
    assert asked == [tmp_path / "mine" / "data"]
    assert not no_data.exists()


@pytest.mark.parametrize("name", ["yolov5n.pt", "coco128"])
def test_a_cache_that_cannot_be_written_is_no_network_that_is_down(
    name: str, no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path / "taken"))
    with pytest.raises(InputError, match=r"data: cannot be written \(Not a directory\)") as caught:
        fetch(name)
    assert "set SLIMGATE_CACHE to another folder" in str(caught.value)


def test_a_disk_that_fills_up_is_no_network_that_is_down(
    no_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch, "retrieve", fill)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        fetch("yolov5n.pt")


def test_a_model_may_be_a_published_file(tmp_path: Path, official_yolov5n: Path) -> None:
    assert find_model(tmp_path / "best.pt") == tmp_path / "best.pt"
    assert find_model(Path("fetch:yolov5n.pt")) == official_yolov5n
    with pytest.raises(UsageError, match=r"did you mean 'yolov5n\.pt'"):
        find_model("fetch:yolov5.pt")
