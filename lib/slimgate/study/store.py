"""The artifact store: what was built once from the same inputs is not built again, and never trusted unread."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from slimgate.errors import SlimgateError
from slimgate.flow import Artifact, Json, Precision, Step

ENTRY_FORMAT = "slimgate-store/2"

_Kept = TypeVar("_Kept")

SHAPING_SOURCE = (
    "flow.py",
    "model",
    "data",
    "detect",
    "compress",
    "artifact",
    *(f"study/{name}.py" for name in ("build", "half", "int8", "keys", "operations")),
)
"""Source that shapes every artifact, below ``slimgate``: folders and files."""

_SOURCE_SUFFIXES = (".json", ".py", ".yaml")


class Store:
    """Files under keys: sha256 of everything that went in.

    Each entry is a folder holding ``entry.json`` and, of an artifact, its file and what belongs to it (the JSON of a
    checkpoint, the manifest of an engine); every file and every value is checked before it is used. An entry is built
    in a temporary folder and renamed, under a lock of its own, so that two processes never build the same thing twice;
    what a killed build leaves behind goes when the same entry is built next.

    Args:
        root: the folder; made when missing. Default: ``SLIMGATE_CACHE``, else the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        from slimgate.data.cache import cache_folder

        self.root = root or cache_folder() / "store"

    def artifact(self, inputs: Mapping[str, Json], build: Callable[[Path], Artifact]) -> Artifact:
        """Return the artifact for these inputs, building it with ``build(folder)`` when it is not there intact.

        Args:
            inputs: everything that decides the result, as JSON values; the source of the rooms that shape
                artifacts is added.
            build: writes its file into the folder it is given and returns the artifact.

        Raises:
            OSError: the store cannot be written.
        """

        def describe(folder: Path) -> dict[str, Json]:
            built = build(folder)
            files = {
                path.relative_to(folder).as_posix(): path
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            return {
                "file": built.path.name,
                "artifact": artifact_to_json(built),
                "files": {name: _file_sha256(path) for name, path in files.items()},
            }

        return self._entry(inputs, describe, _read_artifact)

    def values(
        self, inputs: Mapping[str, Json], work_out: Callable[[], Mapping[str, Json]]
    ) -> dict[str, Json]:
        """Return the JSON values for these inputs, working them out when they are not there intact.

        Args:
            inputs: as for ``artifact``.
            work_out: returns the values.

        Raises:
            OSError: the store cannot be written.
        """

        def describe(folder: Path) -> dict[str, Json]:
            return {"values": dict(work_out())}

        return self._entry(inputs, describe, _read_values)

    def _entry(
        self,
        inputs: Mapping[str, Json],
        describe: Callable[[Path], dict[str, Json]],
        read: Callable[[Path, Mapping[str, Json]], _Kept],
    ) -> _Kept:
        """Return what ``read(folder, entry)`` makes of an entry, after ``describe(folder)`` where it is not intact."""
        from filelock import FileLock

        key = hash_json({**inputs, "source": source_sha256()})
        entry = self.root / key[:2] / key
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            kept = _read_entry(entry, key, read)
            if kept is not None:
                return kept
            shutil.rmtree(entry, ignore_errors=True)
            # Whoever holds the lock is the only builder of this key: what else is there was left by a killed one.
            for left in entry.parent.glob(f"{key[:16]}-*"):
                shutil.rmtree(left, ignore_errors=True)
            working = Path(tempfile.mkdtemp(prefix=f"{key[:16]}-", dir=entry.parent))
            try:
                described = {"format": ENTRY_FORMAT, "key": key, "inputs": dict(inputs), **describe(working)}
                # Hashed as it will be read: JSON turns tuples into lists and numbers that are keys into texts.
                described["sha256"] = hash_json(json.loads(json.dumps(described)))
                (working / "entry.json").write_text(json.dumps(described, indent=1))
                working.rename(entry)
            except BaseException:
                shutil.rmtree(working, ignore_errors=True)
                raise
            kept = _read_entry(entry, key, read)
        if kept is None:
            raise SlimgateError(
                str(entry),
                found="the entry does not read back as it was written",
                expected="a store on a disk that keeps what it is given",
                action="check the disk, or name another folder with SLIMGATE_CACHE",
            )
        return kept


def hash_json(value: Json) -> str:
    """Return the sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def source_sha256(parts: tuple[str, ...] = SHAPING_SOURCE) -> str:
    """Return the sha256 over parts of slimgate's source, architectures included: changed code rebuilds artifacts."""
    package = Path(__file__).resolve().parents[1]
    places = [package / part for part in parts]
    files = [
        file
        for place in places
        for file in ([place] if place.is_file() else place.rglob("*"))
        if file.suffix in _SOURCE_SUFFIXES and file.is_file()
    ]
    digest = hashlib.sha256()
    for name, file in sorted((file.relative_to(package).as_posix(), file) for file in files):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def artifact_to_json(artifact: Artifact) -> dict[str, Json]:
    """Return everything about an artifact but its place."""
    return {
        "format": artifact.format,
        "target": artifact.target,
        "precision": artifact.precision.value,
        "class_names": list(artifact.class_names),
        "image_size": artifact.image_size,
        "batch": artifact.batch,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "build_s": artifact.build_s,
        "shares": dict(artifact.shares),
        "facts": dict(artifact.facts),
        "lineage": [step.to_json() for step in artifact.lineage],
    }


def _read_entry(entry: Path, key: str, read: Callable[[Path, Mapping[str, Json]], _Kept]) -> _Kept | None:
    """Return what is kept in an intact entry, or None: a corrupted entry is rebuilt, not trusted."""
    try:
        value = json.loads((entry / "entry.json").read_text())
        written = {name: part for name, part in value.items() if name != "sha256"}
        if value["format"] != ENTRY_FORMAT or value["key"] != key or hash_json(written) != value["sha256"]:
            return None
        return read(entry, value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_values(entry: Path, value: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = value["values"]
    return kept


def _read_artifact(entry: Path, value: Mapping[str, Json]) -> Artifact:
    kept = value["artifact"]
    path = entry / value["file"]
    if value["files"][path.name] != kept["sha256"]:
        raise ValueError("the artifact says another hash than its file has")
    if any(_file_sha256(entry / name) != sha256 for name, sha256 in value["files"].items()):
        raise ValueError("another file than was written")
    return Artifact(
        path=path,
        format=kept["format"],
        target=kept["target"],
        precision=Precision(kept["precision"]),
        class_names=tuple(kept["class_names"]),
        image_size=kept["image_size"],
        batch=kept["batch"],
        sha256=kept["sha256"],
        size_bytes=kept["size_bytes"],
        build_s=kept["build_s"],
        shares=kept["shares"],
        facts=kept["facts"],
        lineage=tuple(Step.from_json(step) for step in kept["lineage"]),
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
