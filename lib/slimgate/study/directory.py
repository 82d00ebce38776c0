"""A run directory: written beside its place and moved there whole."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from slimgate.errors import InputError
from slimgate.flow import Case, Json, Measurement
from slimgate.gate import Judgement, write_judgement, write_measurements

if TYPE_CHECKING:
    from slimgate.data import Sample
    from slimgate.measure import Matches

_JPEG_QUALITY = 88
_LOCK = ".lock"


class RunWriter:
    """Context manager: files go to ``directory`` inside, and to ``out`` when the block ends well.

    Raises:
        InputError: the place cannot be written to, another run is being written to it, or something else is there when
            the block ends: then the message names the folder in which the run is.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(out)
            self.directory = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
            self._lock = FileLock(self.directory / _LOCK)
            self._lock.acquire()
        except OSError as error:
            raise InputError(
                str(out),
                found=f"cannot be written ({error.strerror})",
                expected="a writable folder for the run",
                action="choose another place with --out",
            ) from None
        (self.directory / "cases").mkdir()
        (self.directory / "pictures").mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._lock.release()
            return
        self._lock.release()
        (self.directory / _LOCK).unlink(missing_ok=True)
        self.directory.chmod(0o755)
        try:
            self.directory.rename(self.out)
        except OSError as refused:
            raise InputError(
                str(self.out),
                found=f"the run is finished and cannot be moved here ({refused.strerror}); it is whole in "
                f"{self.directory}",
                expected="a place that stays free while the run goes on",
                action=f"move it to another name yourself: mv {self.directory} NAME",
            ) from None

    def write_case(self, case: Case, record: Mapping[str, Json]) -> None:
        """Write one case record."""
        self._write(f"cases/{case.variant}@{case.runtime}.json", record)

    def write_matches(self, case: Case, matches: Mapping[str, Matches]) -> dict[str, Json]:
        """Write the matches of a case and return their entry in its record."""
        from slimgate.artifact import hash_file
        from slimgate.measure import write_matches

        path = self.directory / "cases" / f"{case.variant}@{case.runtime}.matches.npz"
        write_matches(path, matches)
        return {"file": path.name, "sha256": hash_file(path), "size_bytes": path.stat().st_size}

    def write_run(
        self, run: Mapping[str, Json], measurements: Sequence[Measurement], judgement: Judgement
    ) -> None:
        """Write ``run.json``, the measurements and the verdicts."""
        write_measurements(self.directory, measurements)
        write_judgement(self.directory, judgement)
        self._write("run.json", run)

    def write_picture(self, sample: Sample) -> dict[str, Json]:
        """Copy an image as JPEG and return its entry in ``run.json``, ground truth included."""
        from PIL import Image

        from slimgate.data import read_image

        name = f"pictures/{sample.image_id}.jpg"
        Image.fromarray(read_image(sample.path)).save(self.directory / name, quality=_JPEG_QUALITY)
        return {
            "file": name,
            "width": sample.width,
            "height": sample.height,
            "ground_truth": [
                {"class": int(label), "box": [round(float(edge), 2) for edge in box], "crowd": bool(crowd)}
                for label, box, crowd in zip(sample.classes, sample.boxes, sample.crowd, strict=True)
            ],
        }

    def _write(self, name: str, value: Mapping[str, Json]) -> None:
        (self.directory / name).write_text(json.dumps(value, indent=1, allow_nan=False), encoding="utf-8")


def _remove_leftovers(out: Path) -> None:
    """Remove what killed runs to the same place left: a run that lives holds the lock in its folder.

    Raises:
        InputError: one lives. Of two runs to one place the second would have none when it ends.
    """
    # What tempfile adds has no hyphen, so runs to "out-2" are not taken for runs to "out".
    own = re.compile(rf"\.{re.escape(out.name)}-[^-]+")
    for left in out.parent.iterdir():
        if not own.fullmatch(left.name) or not (left / _LOCK).is_file():
            continue
        try:
            with FileLock(left / _LOCK, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        except Timeout:
            raise InputError(
                str(out),
                found="another run is being written to this place",
                expected="a place of its own for every run",
                action="choose another --out, or wait for the other run",
            ) from None
