"""Image files: read whole or refused, never half a picture."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.errors import InputError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File endings, lower case, that count as images when a folder is listed."""

_EXIF_ORIENTATION = 0x0112
_TIFF_SIZE = (256, 257)
_JPEG_END = b"\xff\xd9"
_ROTATED = frozenset({5, 6, 7, 8})
_MOST_PIXELS = 1 << 30
"""What OpenCV decodes; a file of some hundred bytes can claim more, and would be decoded for minutes to be refused."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image file without decoding it twice.

    Attributes:
        width: pixels, after the EXIF orientation.
        height: pixels, after the EXIF orientation.
        sha256: of the file.
    """

    width: int
    height: int
    sha256: str


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Return the image ``(h, w, 3)`` uint8 RGB, turned upright by its EXIF orientation.

    Raises:
        InputError: the file is missing, empty, truncated or not an image.
    """
    import cv2

    encoded = _read_bytes(path)
    _require_whole(path, encoded)
    image: Any = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise _unreadable(path, "not an image that OpenCV can decode")
    rgb: npt.NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


class ImageCache:
    """Keeps decoded images for a second pass over the same files: every case of a study reads them all.

    The first that fit are kept and none is dropped for a later one: a set that is read in order and does not fit
    would otherwise push out what is asked for next.

    Args:
        limit_bytes: how much is kept at most.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self._free_bytes = limit_bytes
        self._kept: dict[Path, npt.NDArray[np.uint8]] = {}

    def get(self, path: Path, read: Callable[[Path], npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Return what ``read`` makes of a file, which nobody can write to; read again only if it was not kept."""
        if path in self._kept:
            return self._kept[path]
        image = read(path)
        if image.nbytes <= self._free_bytes:
            image.flags.writeable = False
            self._free_bytes -= image.nbytes
            self._kept[path] = image
        return image


def inspect_image(path: Path) -> ImageFacts:
    """Return size and sha256 of an image file that is there and whole.

    Raises:
        InputError: as for ``read_image``.
    """
    encoded = _read_bytes(path)
    width, height = _require_whole(path, encoded)
    return ImageFacts(width=width, height=height, sha256=hashlib.sha256(encoded).hexdigest())


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _read_bytes(path: Path) -> bytes:
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            str(path), found="no such image", expected="an image file", action="check the path"
        ) from None
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    if not encoded:
        raise _unreadable(path, "the file is empty")
    return encoded


def _require_whole(path: Path, encoded: bytes) -> tuple[int, int]:
    """Return ``(width, height)`` of an image whose last byte is there.

    OpenCV pads a truncated JPEG with grey and says nothing, so completeness is checked before it decodes. A
    JPEG that ends in its end marker needs no second decoding; anything else is decoded once by Pillow,
    which is strict.
    """
    # Not Image.open: once ultralytics is imported, that function installs packages for a file it does not know.
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    signatures = (
        (b"\xff\xd8\xff", JpegImageFile),
        (b"\x89PNG\r\n", PngImageFile),
        (b"BM", BmpImageFile),
        (b"II*\x00", TiffImageFile),
        (b"MM\x00*", TiffImageFile),
        (b"RIFF", WebPImageFile),
    )
    decoder = next((kind for signature, kind in signatures if encoded.startswith(signature)), None)
    if decoder is None:
        raise _unreadable(path, "not an image")
    try:
        with decoder(io.BytesIO(encoded)) as image:
            # Of a TIFF, newer Pillow has turned the size already; its tags have not been.
            width, height = (
                [int(image.tag_v2[tag]) for tag in _TIFF_SIZE]
                if isinstance(image, TiffImageFile)
                else image.size
            )
            if width * height > _MOST_PIXELS:
                raise _unreadable(path, f"{width} x {height} pixels by its header, more than {_MOST_PIXELS}")
            # Of a PNG, this decodes.
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in _ROTATED
            if not (decoder is JpegImageFile and encoded.rstrip(b"\x00").endswith(_JPEG_END)):
                image.load()
    except InputError:
        raise
    except Exception as error:
        # Decoders raise whatever damaged bytes lead them to.
        raise _unreadable(path, f"truncated or damaged ({error})") from error
    return (height, width) if turned else (width, height)


def _unreadable(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected=f"a whole image file ({', '.join(sorted(s[1:] for s in IMAGE_SUFFIXES))})",
        action="replace the file, or leave it out",
    )
