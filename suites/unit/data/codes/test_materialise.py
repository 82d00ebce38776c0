"""Writing splits: once, checked, rebuilt when damaged, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slimgate.data import load_dataset
from slimgate.data.codes import CLASS_NAMES, materialise, materialise_split
from slimgate.errors import InputError, UsageError

COUNT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialise_split("val", tmp_path_factory.mktemp("cache"), count=COUNT)


def test_the_folder_holds_both_formats_of_the_same_boxes(folder):
    coco = load_dataset(folder / "instances.json")
    yolo = load_dataset(folder)
    assert coco.class_names == yolo.class_names == CLASS_NAMES
    assert len(coco.samples) == len(yolo.samples) == COUNT
    for ours, theirs in zip(coco.samples, yolo.samples, strict=True):
        assert ours.path == theirs.path
        assert ours.classes.tolist() == theirs.classes.tolist()
        assert abs(ours.boxes - theirs.boxes).max(initial=0) < 0.002


def test_an_intact_folder_is_reused(folder, monkeypatch):
    monkeypatch.setattr(materialise, "draw_all", lambda *_: pytest.fail("drawn again"))
    assert materialise_split("val", folder.parent.parent, count=COUNT) == folder


@pytest.mark.parametrize(
    "victim", ["images/000002.jpg", "labels/000001.txt", "instances.json", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_folder_is_rebuilt(folder, victim, damage):
    path = folder / victim
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2] if len(whole) > 1 else b"x")
    else:
        path.unlink()
    seen: list[tuple[int, int]] = []
    materialise_split("val", folder.parent.parent, count=COUNT, progress=lambda *now: seen.append(now))
    assert path.read_bytes() == whole
    assert seen[-1] == (COUNT, COUNT)
    assert [entry.name for entry in folder.parent.iterdir() if entry.is_dir()] == [folder.name]


def test_the_cache_variable_names_the_root(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("SLIMGATE_CACHE", str(tmp_path))
    assert materialise.cache_root() == tmp_path
    monkeypatch.delenv("SLIMGATE_CACHE")
    assert materialise.cache_root().name == "slimgate"


def test_pictures_that_differ_from_the_record_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(materialise, "stored_digest", lambda *_: "0" * 64)
    with pytest.raises(InputError) as caught:
        materialise_split("val", tmp_path, count=2)
    assert "codes split 'val': pictures with digest " in str(caught.value)
    assert "expected: 000000000000, which data/codes/digests.json records" in str(caught.value)
    assert "install the versions of numpy, opencv-python-headless and zint-bindings" in str(caught.value)
    assert [entry for entry in (tmp_path / "codes").iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("count", [0, 501])
def test_a_count_that_does_not_fit_is_refused(tmp_path, count):
    with pytest.raises(UsageError) as caught:
        materialise_split("val", tmp_path, count=count)
    assert str(caught.value) == (
        f"codes split 'val': count {count}\n"
        "  expected: 1 to 500\n"
        "  what to do: ask for as many pictures as the split has"
    )


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "codes").write_text("a file where the folder should be")
    with pytest.raises(InputError) as caught:
        materialise_split("val", tmp_path, count=2)
    assert str(caught.value).startswith(f"{tmp_path / 'codes'}: cannot be written (")
    assert "set SLIMGATE_CACHE to another directory" in str(caught.value)


def test_a_failed_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialise_split("val", tmp_path, count=3, progress=stop)
    assert [entry for entry in (tmp_path / "codes").iterdir() if entry.is_dir()] == []


def test_the_manifest_tells_what_it_is(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "slimgate-codes/1"
    assert len(manifest["images"]) == COUNT


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__': "])
def test_a_script_without_a_guard_is_told_so_and_does_not_wait_for_itself(tmp_path, guard):
    script = tmp_path / "script.py"
    script.write_text(
        "from slimgate.data.codes import materialise, materialise_split\n"
        "materialise.os.cpu_count = lambda: 2\n"  # one core would draw without other processes
        f"{guard}print(materialise_split('val', count=32))\n"
    )
    environment = {**os.environ, "SLIMGATE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if guard:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert "the script reads it while the processes that draw it import the script" in done.stderr
        assert "what to do: put what the script does below: if __name__ == '__main__':" in done.stderr
