"""A checkpoint is data: nothing in it runs, and everything it wants is checked by name."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from slimgate.errors import InputError
from slimgate.model.inert_pickle import StandIn, read_inert
from slimgate.model.load import load_detector

from fixtures import yolov5


class _Runs:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def bomb(tmp_path: Path) -> tuple[_Runs, Path]:
    proof = tmp_path / "it-ran"
    return _Runs(f"touch {proof}"), proof


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_bare_pickle_is_refused_by_name_and_not_run(
    tmp_path: Path, bomb: tuple[_Runs, Path], protocol: int
) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps({"model": bomb[0]}, protocol=protocol))
    with pytest.raises(InputError, match=r"its pickle wants (posix|nt)\.system; nothing in it was run"):
        load_detector(file)
    assert not bomb[1].exists()


def test_the_bomb_is_live(tmp_path: Path, bomb: tuple[_Runs, Path]) -> None:
    pickle.loads(pickle.dumps(bomb[0]))
    assert bomb[1].exists()


def test_a_checkpoint_with_a_bomb_is_refused_by_name_and_not_run(
    tmp_path: Path, bomb: tuple[_Runs, Path]
) -> None:
    model = yolov5.network("v7.0")
    file = yolov5.save_checkpoint(model, tmp_path / "best.pt", extra=bomb[0])
    with pytest.raises(
        InputError, match=r"best.pt: its pickle wants (posix|nt)\.system; nothing in it was run"
    ):
        load_detector(file)
    assert not bomb[1].exists()


def test_every_refused_name_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": [pickle.PickleError, zipfile.ZipFile, StandIn]}, file)
    with pytest.raises(
        InputError, match=r"wants pickle\.PickleError, slimgate\.model\.inert_pickle\.StandIn, zip"
    ):
        read_inert(file)


def test_builtins_that_run_things_are_not_on_the_list(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": [eval, getattr, __import__]}, file)
    with pytest.raises(InputError, match=r"__builtin__\.__import__, __builtin__\.eval, __builtin__\.getattr"):
        read_inert(file)


def test_allowed_classes_become_stand_ins_that_never_call_the_class(tmp_path: Path) -> None:
    file = yolov5.save_checkpoint(yolov5.network("v5.0"), tmp_path / "best.pt", folder=Path("runs/exp"))
    loaded = read_inert(file)
    assert isinstance(loaded, dict)
    assert isinstance(loaded["model"], StandIn)
    assert loaded["model"].global_name == "models.yolo.Model"
    assert loaded["model"].class_name == "Model"
    # Even standard library classes are not built.
    assert isinstance(loaded["folder"], StandIn)
    assert loaded["folder"].arguments == ("runs", "exp")


@pytest.mark.filterwarnings("ignore:Couldn.t retrieve source code")
def test_the_format_before_the_zip_container_is_named(tmp_path: Path) -> None:
    file = tmp_path / "old.pt"
    with yolov5.published():
        torch.save({"model": yolov5.network("v4.0")}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"old.pt: a checkpoint in the format of PyTorch before 1\.6"):
        load_detector(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"hello, I am a text file\n", "not a PyTorch checkpoint"),
        (b"\x00\x01\x02\x03" * 100, "not a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4062133\n", "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"PK\x03\x04", r"damaged or cut-off checkpoint \(4 bytes\)"),
        (b"\x80\x02", r"damaged or cut-off checkpoint \(2 bytes\)"),
    ],
)
def test_what_is_no_checkpoint_is_told_apart(tmp_path: Path, content: bytes, found: str) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=found):
        load_detector(file)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_cut_off_checkpoint_says_its_size(tmp_path: Path, share: float) -> None:
    file = yolov5.save_checkpoint(yolov5.network("v7.0"), tmp_path / "best.pt")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(
        InputError, match=rf"best.pt: a damaged or cut-off checkpoint \({int(len(whole) * share):,}"
    ):
        load_detector(file)


def test_a_flipped_byte_in_the_pickle_never_escapes_as_another_error(tmp_path: Path) -> None:
    file = yolov5.save_checkpoint(yolov5.network("v7.0"), tmp_path / "best.pt")
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in parts if name.endswith("/data.pkl"))
    refused = 0
    for position in range(2, len(parts[name]), len(parts[name]) // 40):
        damaged = bytearray(parts[name])
        damaged[position] ^= 0x55
        with zipfile.ZipFile(file, "w") as archive:
            for part, content in parts.items():
                archive.writestr(part, bytes(damaged) if part == name else content)
        try:
            load_detector(file)
        except InputError:
            refused += 1
    assert refused > 10


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "archive.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"a zip archive without a PyTorch pickle in it"):
        load_detector(file)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    file = tmp_path / "locked.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"x")
    content = bytearray(file.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"locked\.pt: an archive whose pickle cannot be read \(.*encrypted"):
        load_detector(file)


def test_a_torchscript_file(tmp_path: Path) -> None:
    file = tmp_path / "best.torchscript.pt"
    archive = tmp_path / "archive"
    archive.mkdir()
    # What torch.jit.save writes; torch.jit itself warns that it is deprecated.
    with zipfile.ZipFile(file, "w") as written:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            written.writestr(f"best/{name}", b"\x80\x02}.")
    with pytest.raises(InputError, match=r"a TorchScript file, whose architecture cannot be compressed"):
        load_detector(file)


def test_a_bare_state_dict(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    state = yolov5.network("v7.0").state_dict()
    torch.save(state, file)
    with pytest.raises(InputError, match=rf"weights.pt: a bare state dict of {len(state)} tensors"):
        load_detector(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "an empty dictionary"),
        ({"epoch": 3, "model": None}, "a dictionary with the keys epoch, model"),
        ([1, 2], "a list"),
    ],
)
def test_a_checkpoint_without_a_network(tmp_path: Path, content: object, found: str) -> None:
    file = tmp_path / "model.pt"
    torch.save(content, file)
    with pytest.raises(InputError, match=found):
        load_detector(file)
