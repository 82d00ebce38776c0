"""The picture of which every pixel is known: it passes as it is, and each wrong way is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from slimgate.data import Letterbox, batch_from_images, read_image, require_known_pixels
from slimgate.errors import InputError

EXPECTED = (
    "\n  expected: RGB in 0..1, letterboxed to a square on grey 114, and boxes that find their way back"
    "\n  what to do: mend what reads or letterboxes pictures, or install the OpenCV that slimgate asks for"
)


def complaint(**ways: Any) -> str:
    with pytest.raises(InputError) as raised:
        require_known_pixels(**ways)
    text = str(raised.value)
    assert text.startswith("network input: a known picture comes out wrong: ")
    assert text.endswith(EXPECTED)
    return text.removeprefix("network input: a known picture comes out wrong: ").removesuffix(EXPECTED)


def test_pictures_come_out_as_they_must() -> None:
    require_known_pixels()


def turned(change: Any) -> Any:
    return lambda path: np.ascontiguousarray(change(read_image(path)))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda image: image[..., ::-1], "red and blue are exchanged"),
        (lambda image: image[:, ::-1], "upper left is (20.0, 180.0, 60.0) in place of (200.0, 40.0, 10.0), "),
        (lambda image: image[::-1], "upper left is (90.0, 30.0, 220.0) in place of (200.0, 40.0, 10.0), "),
        (lambda image: image[..., [0, 0, 0]], "upper left is (200.0, 200.0, 200.0) in place of "),
    ],
)
def test_a_picture_read_wrongly(change: Any, found: str) -> None:
    assert complaint(read=turned(change)).startswith(found)


def changed(change: Any) -> Any:
    def prepare(images: Sequence[Any], size: int) -> Any:
        batch, placements = batch_from_images(images, size)
        return change(batch, placements)

    return prepare


def black(batch: Any, placements: Any) -> Any:
    batch[batch == np.float32(114) / np.float32(255)] = 0
    return batch, placements


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda batch, placements: (batch * 255, placements), "values up to 250: not divided by 255"),
        (black, "the border is (0.0, 0.0, 0.0) in place of (114.0, 114.0, 114.0)"),
        (
            lambda batch, placements: (batch[..., :32], placements),
            "an array of shape (1, 3, 64, 32) in place of (1, 3, 64, 64)",
        ),
        (
            lambda batch, placements: (batch, [NoBorder(**vars(one)) for one in placements]),
            "a box comes back as (8.0, 12.0, 24.0, 20.0) in place of (8.0, 4.0, 24.0, 12.0)",
        ),
    ],
)
def test_a_picture_letterboxed_wrongly(change: Any, found: str) -> None:
    assert complaint(prepare=changed(change)) == found


class NoBorder(Letterbox):
    def to_original(self, boxes: Any) -> Any:
        return boxes / np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
