"""Getting published files: from ``SLIMGATE_DATA`` if they are there, else from their official address."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from slimgate.data.cache import CACHE_VARIABLE, cache_folder
from slimgate.errors import InputError, UnavailableError, name_offenders, unknown_name

DATA_VARIABLE = "SLIMGATE_DATA"

_YOLOV5N = "https://github.com/ultralytics/yolov5/releases/download/v7.0/yolov5n.pt"
_YOLOV5N_SHA256 = "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"
_PREFIX = "fetch:"
_CONNECT_S, _READ_S = 5, 30
_COCO128 = "https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip"


def fetch(name: str) -> Path:
    """Return the path of a published file or folder, checked against its known sha256.

    Args:
        name: ``yolov5n.pt`` (the official YOLOv5n COCO checkpoint, release v7.0) or ``coco128`` (a folder
            of images: ``coco128_images`` says where in it they lie).

    Raises:
        UsageError: no file of that name is known.
        InputError: the file is there, and it is not the published one; or the cache cannot be written.
        UnavailableError: it is nowhere, and it cannot be downloaded.
    """
    if name not in FETCHABLE:
        raise unknown_name("published file", name, FETCHABLE)
    given = os.environ.get(DATA_VARIABLE)
    if given and (Path(given) / name).exists():
        path = Path(given) / name
        _VERIFY[name](path)
        return path
    return FETCHABLE[name](_cache_folder())


def find_model(given: str | Path) -> Path:
    """Return the path of a MODEL: a file as it is, or ``fetch:yolov5n.pt``, which is fetched.

    Raises:
        UsageError: no published file has that name.
        UnavailableError: it is neither here nor to be downloaded.
    """
    text = str(given)
    return fetch(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else Path(given)


def coco128_digests() -> dict[str, str]:
    """Return the sha256 of each of the 128 images, by file name."""
    text = resources.files("slimgate.data").joinpath("coco128.json").read_text(encoding="utf-8")
    digests: dict[str, str] = json.loads(text)["images"]
    return digests


def coco128_images(folder: Path) -> Path:
    """Return the folder of the images in a copy of coco128: where the official archive unpacks them, else flat."""
    unpacked = folder / "images" / "train2017"
    return unpacked if unpacked.is_dir() else folder / "images"


def _cache_folder() -> Path:
    return cache_folder() / "data"


def _verify_yolov5n(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _YOLOV5N_SHA256:
        raise InputError(
            str(path),
            found=f"sha256 {found[:12]}…",
            expected=f"the official YOLOv5n checkpoint, sha256 {_YOLOV5N_SHA256[:12]}…",
            action=f"replace it with {_YOLOV5N}",
        )


def _verify_coco128(folder: Path) -> None:
    offenders = []
    images = coco128_images(folder)
    for name, digest in sorted(coco128_digests().items()):
        path = images / name
        if not path.exists():
            offenders.append(f"{name} (not there)")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            offenders.append(f"{name} (other content)")
    if offenders:
        raise InputError(
            str(images),
            found=f"{len(offenders)} of 128 images are not the published ones: {name_offenders(offenders)}",
            expected="the 128 images of coco128, byte for byte",
            action=f"remove the folder to download it again, or unpack {_COCO128} there",
        )


def _download_yolov5n(cache: Path) -> Path:
    path = cache / "yolov5n.pt"
    if not path.exists():
        _download(_YOLOV5N, path, sha256=_YOLOV5N_SHA256)
    _verify_yolov5n(path)
    return path


def _download_coco128(cache: Path) -> Path:
    folder = cache / "coco128"
    if not folder.exists():
        with _scratch_folder(cache) as scratch:
            archive = Path(scratch) / "coco128.zip"
            _download(_COCO128, archive, sha256=None)
            unpacked = Path(scratch) / "coco128"
            _unpack_coco128(archive, unpacked)
            _verify_coco128(unpacked)
            try:
                unpacked.rename(folder)
            except OSError:
                # Another process unpacked it first; its copy is verified below like ours was.
                if not folder.exists():
                    raise
    _verify_coco128(folder)
    return folder


def _unpack_coco128(archive: Path, target: Path) -> None:
    """Write the images and labels of the official archive flat into ``images/`` and ``labels/``."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.namelist():
            parts = Path(member).parts
            kind = next((part for part in parts if part in ("images", "labels")), None)
            if kind is None or member.endswith("/"):
                continue
            place = _make_folder(target / kind) / parts[-1]
            with packed.open(member) as source, place.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def _scratch_folder(cache: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(dir=_make_folder(cache))
    except OSError as error:
        raise _unwritable(cache, error) from None


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        str(folder),
        found=f"cannot be written ({error.strerror or error})",
        expected="a folder that downloaded files can be kept in, with room for them",
        action=f"free space, or set {CACHE_VARIABLE} to another folder",
    )


def _download(address: str, path: Path, *, sha256: str | None) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    # Without a network the answer is to come at once, not after a minute for each file.
    downloader = pooch.HTTPDownloader(timeout=(_CONNECT_S, _READ_S))
    folder = _make_folder(path.parent)
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            path=folder,
            fname=path.name,
            downloader=downloader,
        )
    except (requests.RequestException, ConnectionError, TimeoutError) as error:
        raise UnavailableError(
            path.name,
            found=f"not on this machine, and {address} cannot be downloaded ({type(error).__name__})",
            expected=f"network access, or a copy in the folder named by {DATA_VARIABLE}",
            action=f"download {address} elsewhere, and set {DATA_VARIABLE} to the folder it is in"
            + (" (unpacked)" if address.endswith(".zip") else ""),
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from None
    except ValueError as error:
        raise UnavailableError(
            path.name,
            found=f"{address} does not deliver the published file ({error})",
            expected=f"sha256 {sha256}",
            action=f"get the file elsewhere, and set {DATA_VARIABLE} to the folder it is in",
        ) from error


FETCHABLE: Mapping[str, Callable[[Path], Path]] = {
    "yolov5n.pt": _download_yolov5n,
    "coco128": _download_coco128,
}
"""Published files by name: how each gets into the cache folder."""

_VERIFY: Mapping[str, Callable[[Path], Any]] = {"yolov5n.pt": _verify_yolov5n, "coco128": _verify_coco128}
