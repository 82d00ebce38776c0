"""A picture of which every pixel is known, sent the way that all pictures go before anything is measured.

Swapped colours, a missing division by 255, another padding, a stretched picture, a way back that forgets the border:
torch is given the same wrong pixels, so parity sees none of them, and accuracy may hardly move (codes are nearly grey,
and a square picture has no border at all).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimgate.data.images import read_image
from slimgate.data.letterbox import Letterbox, batch_from_images
from slimgate.errors import InputError, name_offenders

Read = Callable[[Path], npt.NDArray[np.uint8]]
Prepare = Callable[
    [Sequence[npt.NDArray[np.uint8]], int], tuple[npt.NDArray[np.float32], Sequence[Letterbox]]
]

_WIDTH, _HEIGHT, _SIZE = 32, 16, 64
_GREY = (114, 114, 114)
_QUARTERS = {
    "upper left": (200, 40, 10),
    "upper right": (20, 180, 60),
    "lower left": (90, 30, 220),
    "lower right": (250, 240, 120),
}
"""RGB of the four quarters: a mirrored, turned or recoloured picture is another one."""

_EXPECTED = {
    **{
        name: ((24 if "upper" in name else 40, 16 if "left" in name else 48), colour)
        for name, colour in _QUARTERS.items()
    },
    "border above": ((8, 32), _GREY),
    "border below": ((56, 32), _GREY),
}
"""(row, column) in the network input, well inside each part, and the RGB that must be there."""

_BOX_ON_CANVAS = (16.0, 24.0, 48.0, 40.0)
_BOX_IN_PICTURE = (8.0, 4.0, 24.0, 12.0)


def require_known_pixels(*, read: Read = read_image, prepare: Prepare = batch_from_images) -> None:
    """Refuse to measure with pictures that do not become the network input they must become.

    A PNG of 32 x 16 pixels is written, read and letterboxed to 64 x 64. It must come out as RGB in 0..1, twice as
    large, upright, on a border of grey 114, and a box of the canvas must come back to where it was in the picture.

    Args:
        read: what reads pictures.
        prepare: what makes network input of them.

    Raises:
        InputError: something else comes out; the message says what is wrong with it.
    """
    with tempfile.TemporaryDirectory(prefix="slimgate-pixels-") as folder:
        path = Path(folder) / "known.png"
        _write(path)
        batch, placements = prepare([read(path)], _SIZE)
    fault = _find_fault(np.asarray(batch)) or _find_way_back_fault(placements[0])
    if fault:
        raise InputError(
            "network input",
            found=f"a known picture comes out wrong: {fault}",
            expected=f"RGB in 0..1, letterboxed to a square on grey {_GREY[0]}, and boxes that find their way back",
            action="mend what reads or letterboxes pictures, or install the OpenCV that slimgate asks for",
        )


def _write(path: Path) -> None:
    from PIL import Image

    picture = np.empty((_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    for name, colour in _QUARTERS.items():
        rows = slice(0, _HEIGHT // 2) if "upper" in name else slice(_HEIGHT // 2, _HEIGHT)
        columns = slice(0, _WIDTH // 2) if "left" in name else slice(_WIDTH // 2, _WIDTH)
        picture[rows, columns] = colour
    Image.fromarray(picture).save(path)


def _find_fault(batch: npt.NDArray[np.float32]) -> str:
    if batch.shape != (1, 3, _SIZE, _SIZE):
        return f"an array of shape {batch.shape} in place of {(1, 3, _SIZE, _SIZE)}"
    if batch.max() > 1:
        return f"values up to {batch.max():g}: not divided by 255"
    seen = {
        name: tuple(round(float(value) * 255, 1) for value in batch[0, :, row, column])
        for name, ((row, column), _) in _EXPECTED.items()
    }
    wanted = {name: tuple(float(value) for value in colour) for name, (_, colour) in _EXPECTED.items()}
    wrong = [name for name in wanted if seen[name] != wanted[name]]
    if wrong and all(seen[name] == wanted[name][::-1] for name in wanted):
        return "red and blue are exchanged"
    if wrong and all(name.startswith("border") for name in wrong):
        return f"the border is {seen[wrong[0]]} in place of {wanted[wrong[0]]}"
    if wrong:
        return name_offenders(f"{name} is {seen[name]} in place of {wanted[name]}" for name in wrong)
    return ""


def _find_way_back_fault(placement: Letterbox) -> str:
    found = placement.to_original(np.array([_BOX_ON_CANVAS], dtype=np.float32))[0]
    if np.array_equal(found, np.array(_BOX_IN_PICTURE, dtype=np.float32)):
        return ""
    return f"a box comes back as {tuple(found.tolist())} in place of {_BOX_IN_PICTURE}"
