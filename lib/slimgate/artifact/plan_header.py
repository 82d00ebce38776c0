"""What the first bytes of a serialised engine say, read without TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from slimgate.errors import InputError

HEADER_BYTES = 28

_TENSORRT = b"ftrt"
_VERSIONED = b"vtrt"
"""TensorRT-RTX, and version compatible TensorRT engines: their versions tell them apart."""
_OBJECT = b"ptrt"
"""TensorRT 8.4 and older, and timing caches."""
_OLDEST_TENSORRT = 8


class PlanHeader(NamedTuple):
    """Kind of engine (``tensorrt`` or ``tensorrt-rtx``) and the version that built it, such as ``10.9.0.34``."""

    kind: str
    version: str


def read_plan_header(path: Path, content: bytes) -> PlanHeader:
    """Return what an engine's header says.

    The tag and the place of the version are those that NVIDIA's own ``trtexec --getPlanVersionOnly`` reads
    (sampleEngines.cpp); TensorRT-RTX 1.7 writes the same layout under another tag, and the file's size before it.

    Args:
        path: of the file, for the message.
        content: the file, or at least its first ``HEADER_BYTES``.

    Raises:
        InputError: it is no engine, is cut off, or is a TensorRT object of another sort.
    """
    tag = content[:4]
    if tag == _OBJECT:
        raise _no_engine(path, "a timing cache, or an engine of TensorRT 8.4 or older")
    if tag not in (_TENSORRT, _VERSIONED):
        raise _no_engine(path, f"starts with {tag!r}")
    if len(content) < HEADER_BYTES:
        raise _no_engine(path, f"only {len(content)} bytes")
    version = tuple(content[24:28])
    rtx = tag == _VERSIONED and version[0] < _OLDEST_TENSORRT
    return PlanHeader("tensorrt-rtx" if rtx else "tensorrt", ".".join(str(part) for part in version))


def _no_engine(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected="a serialised TensorRT engine",
        action="build it with 'slimgate export --format engine'",
    )
