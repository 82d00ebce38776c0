from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slimgate.data import ImageCache, list_images, read_image
from slimgate.data.images import inspect_image
from slimgate.errors import InputError


def gradient(width: int, height: int) -> np.ndarray:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    return np.dstack(
        [
            np.tile(ramp, (height, 1)),
            np.full((height, width), 7, np.uint8),
            np.zeros((height, width), np.uint8),
        ]
    )


def test_png_is_read_as_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gradient(40, 30)).save(path)
    np.testing.assert_array_equal(read_image(path), gradient(40, 30))


def test_grey_and_transparent_pictures_become_three_channels(tmp_path: Path) -> None:
    Image.new("L", (8, 6), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 6), (10, 20, 30, 255)).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "grey.png")[0, 0].tolist() == [77, 77, 77]
    assert read_image(tmp_path / "alpha.png")[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_facts_agree_with_pixels_for_rotated_photographs(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gradient(40, 30)).save(path, exif=exif)
    facts = inspect_image(path)
    assert read_image(path).shape == (facts.height, facts.width, 3)
    assert (facts.width < facts.height) == (orientation in (6, 8))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert read_image(path).shape == (50, 60, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut\.\w+: (truncated or damaged|not an image)"):
        read_image(path)
    with pytest.raises(InputError, match="replace the file"):
        inspect_image(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "the file is empty"), (b"hello" * 50, "not an image"), (None, "no such image")],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_image(path)


def test_a_header_that_claims_more_pixels_than_can_be_decoded_is_refused_at_once(tmp_path: Path) -> None:
    header = struct.pack(">II5B", 2_000_000, 2_000_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    body = zlib.compress(b"")
    data = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + data)
    with pytest.raises(InputError, match="2000000 x 2000000 pixels by its header, more than"):
        inspect_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tiff_whose_tags_are_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    entries = [(256, 3, 1, 4), (257, 3, 1, 4), (273, 2, 4, 0x00313233)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path = tmp_path / "odd.tif"
    path.write_bytes(b"II*\x00" + struct.pack("<IH", 8, len(entries)) + table + bytes(4))
    with pytest.raises(InputError, match=r"odd\.tif: truncated or damaged"):
        read_image(path)


def test_what_is_kept_is_read_once_and_nothing_is_dropped_for_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        Image.fromarray(np.full((4, 5, 3), index, np.uint8)).save(path)
    reads: list[Path] = []

    def read(path: Path) -> np.ndarray:
        reads.append(path)
        return read_image(path)

    cache = ImageCache(limit_bytes=2 * 4 * 5 * 3)
    for _ in range(2):
        for index, path in enumerate(paths):
            np.testing.assert_array_equal(cache.get(path, read), read_image(path))
            assert (cache.get(path, read) == index).all()
    assert [path.name for path in reads] == ["0.png", "1.png", *["2.png"] * 4]
    with pytest.raises(ValueError, match="read-only"):
        cache.get(paths[0], read)[:] = 0


def test_folder_listing_takes_images_only_and_sorts(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.jpeg"]
