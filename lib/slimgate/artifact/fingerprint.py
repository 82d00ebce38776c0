"""What identifies a file, and how small it can travel."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compressed_bytes(path: Path) -> int:
    """Return the size of a file after zlib at level 6, in bytes.

    Zeros that pruning left in dense weights show here and nowhere else in the file's size.
    """
    packer = zlib.compressobj(6)
    size_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size_bytes += len(packer.compress(chunk))
    return size_bytes + len(packer.flush())
