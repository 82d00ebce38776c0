"""Writing a split to disk: once, atomically, checked before it is used again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import current_process, get_context
from pathlib import Path

import cv2
from filelock import FileLock

from slimgate.data.cache import cache_folder
from slimgate.data.codes.annotations import Box, coco_document, yolo_lines
from slimgate.data.codes.splits import CLASS_NAMES, Split, digest_of, render_index, split_named, stored_digest
from slimgate.errors import InputError, UsageError

FORMAT = "slimgate-codes/1"
_QUALITY = 95
_CHUNK = 8


def materialise_split(
    split: str,
    root: Path | None = None,
    *,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Return the folder of a split, generated on first use and reused while its bytes are intact.

    The folder holds ``images/*.jpg``, ``labels/*.txt`` (YOLO), ``data.yaml``, ``instances.json`` (COCO) and
    ``manifest.json`` (the sha256 of every picture, in order).

    Args:
        split: ``train``, ``val``, ``test`` or ``calib``.
        root: where the folder ``codes`` lies; ``SLIMGATE_CACHE`` or the user's cache when None.
        count: the first pictures only.
        progress: called with (pictures done, pictures in all).

    Raises:
        UsageError: there is no such split, or ``count`` does not fit it; or a script asks for it while it is imported.
        InputError: the folder cannot be written, or the pictures drawn are not those on record.
    """
    chosen = split_named(split)
    number = chosen.count if count is None else count
    if not 1 <= number <= chosen.count:
        raise UsageError(
            f"codes split '{split}'",
            found=f"count {number}",
            expected=f"1 to {chosen.count}",
            action="ask for as many pictures as the split has",
        )
    if getattr(current_process(), "_inheriting", False):
        # What multiprocessing itself looks at: this worker still imports the script, and the one that waits for it
        # holds the lock.
        raise _imported_by_workers(
            split, "the script reads it while the processes that draw it import the script"
        )
    base = (cache_root() if root is None else root) / "codes"
    suffix = "" if number == chosen.count else f"-first{number}"
    expected = stored_digest(chosen, number)
    folder = base / f"{split}{suffix}-{(expected or 'v1')[:12]}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        with FileLock(base / f".{folder.name}.lock"):
            if not is_intact(folder, chosen, number):
                _write(chosen, number, folder, expected, progress)
    except BrokenProcessPool:
        raise _imported_by_workers(split, "a process that draws it ended before it was done") from None
    except OSError as error:
        raise InputError(
            str(base),
            found=f"cannot be written ({error})",
            expected="a directory that can be written to, with room for the pictures",
            action="free space, or set SLIMGATE_CACHE to another directory",
        ) from error
    return folder


def cache_root() -> Path:
    """Return where generated data is kept: ``SLIMGATE_CACHE``, or the user's cache directory."""
    return cache_folder()


def is_intact(folder: Path, split: Split, count: int) -> bool:
    """Return whether a folder holds exactly the pictures its manifest names."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        digests = manifest["images"]
        if manifest["format"] != FORMAT or manifest["seed"] != split.seed or len(digests) != count:
            return False
        if hashlib.sha256((folder / "instances.json").read_bytes()).hexdigest() != manifest["instances"]:
            return False
        for index, digest in enumerate(digests):
            picture = (folder / "images" / f"{index:06d}.jpg").read_bytes()
            label = (folder / "labels" / f"{index:06d}.txt").read_bytes()
            if _digest(picture, label) != digest:
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    expected = stored_digest(split, count)
    return expected is None or digest_of(digests) == expected


def _digest(picture: bytes, label: bytes) -> str:
    return hashlib.sha256(picture + b"\0" + label).hexdigest()


def draw_one(split: Split, index: int) -> tuple[bytes, list[Box], str]:
    """Return one picture as JPEG bytes, its boxes, and the sha256 of picture and label."""
    scene = render_index(split, index)
    _, packed = cv2.imencode(".jpg", scene.pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    boxes = [
        Box(category=int(category), xyxy=(float(x0), float(y0), float(x1), float(y1)))
        for category, (x0, y0, x1, y1) in zip(scene.categories, scene.boxes, strict=True)
    ]
    picture = packed.tobytes()
    return picture, boxes, _digest(picture, yolo_lines(boxes).encode("ascii"))


def draw_all(split: Split, count: int) -> Iterator[tuple[bytes, list[Box], str]]:
    """Yield ``draw_one`` of the first pictures in order, from as many processes as there are cores."""
    workers = min(os.cpu_count() or 1, max(count // (2 * _CHUNK), 1))
    draw = partial(draw_one, split)
    if workers == 1:
        yield from map(draw, range(count))
        return
    # Forking a process with threads (torch, OpenCV) can deadlock, so the workers start afresh.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_serial) as pool:
        yield from pool.map(draw, range(count), chunksize=_CHUNK)


def _imported_by_workers(split: str, found: str) -> UsageError:
    return UsageError(
        f"codes split '{split}'",
        found=found,
        expected="a script that does nothing when it is imported, and memory for one process per core",
        action="put what the script does below: if __name__ == '__main__':",
    )


def _serial() -> None:
    cv2.setNumThreads(1)


def _write(
    split: Split,
    count: int,
    folder: Path,
    expected: str | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        draft = Path(temporary) / "draft"
        (draft / "images").mkdir(parents=True)
        (draft / "labels").mkdir()
        digests: list[str] = []
        labels: list[list[Box]] = []
        for index, (picture, boxes, digest) in enumerate(draw_all(split, count)):
            (draft / "images" / f"{index:06d}.jpg").write_bytes(picture)
            (draft / "labels" / f"{index:06d}.txt").write_bytes(yolo_lines(boxes).encode("ascii"))
            digests.append(digest)
            labels.append(boxes)
            if progress is not None:
                progress(index + 1, count)
        total = digest_of(digests)
        if expected is not None and total != expected:
            raise InputError(
                f"codes split '{split.name}'",
                found=f"pictures with digest {total[:12]}",
                expected=f"{expected[:12]}, which data/codes/digests.json records",
                action="install the versions of numpy, opencv-python-headless and zint-bindings that slimgate asks for",
            )
        document = json.dumps(coco_document(labels, CLASS_NAMES)).encode("ascii")
        (draft / "instances.json").write_bytes(document)
        names = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASS_NAMES))
        (draft / "data.yaml").write_text(f"train: images\nval: images\nnames:\n{names}", encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "split": split.name,
            "seed": split.seed,
            "digest": total,
            "instances": hashlib.sha256(document).hexdigest(),
            "images": digests,
        }
        (draft / "manifest.json").write_text(json.dumps(manifest, indent=0), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
