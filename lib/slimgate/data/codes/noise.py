"""Random fields the surfaces are made of, from integer noise and fixed-point resizing only."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a float in [low, high)."""
    return low + (high - low) * float(rng.random())


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a float in [low, high), even in its logarithm."""
    return float(np.float32(low * (high / low) ** float(rng.random())))


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return True in ``share`` of the calls."""
    return bool(rng.random() < share)


def patch_noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int) -> Pixels:
    """Return smooth noise 0..255, (size, size), with about that many bumps across."""
    grid = rng.integers(0, 256, (max(cells_y, 2), max(cells_x, 2)), dtype=np.uint8)
    result: Pixels = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    return result


def fractal(
    rng: np.random.Generator,
    size: int,
    *,
    first: int = 2,
    octaves: int = 5,
    falloff: float = 0.55,
    stretch: float = 1.0,
) -> Floats:
    """Return fractal noise in about -1..1, (size, size); ``stretch`` > 1 lengthens it along x."""
    total = np.zeros((size, size), np.float32)
    gain, weight = 1.0, 0.0
    for octave in range(octaves):
        cells = first * 2**octave
        bumps = patch_noise(rng, size, max(2, int(cells / stretch)), min(cells, size))
        total += bumps.astype(np.float32) * np.float32(gain / 127.5)
        weight += gain
        gain *= falloff
    total -= np.float32(weight)
    total *= np.float32(1.6 / weight)
    return total


def grain(rng: np.random.Generator, size: int) -> Floats:
    """Return fine grain in -1..1, (size, size)."""
    tile = rng.integers(0, 256, (size // 2, size // 2), dtype=np.uint8).astype(np.float32)
    tile = (tile - np.float32(127.5)) / np.float32(127.5)
    return np.tile(tile, (2, 2))


def random_colour(rng: np.random.Generator, low: float = 0, high: float = 255, chroma: float = 1.0) -> Colour:
    """Return an RGB colour between ``low`` and ``high``; ``chroma`` 0 is grey."""
    grey = uniform(rng, low, high)
    r, g, b = (grey + chroma * (uniform(rng, low, high) - grey) for _ in range(3))
    return r, g, b


def tint(field: Floats, dark: Colour, light: Colour) -> Pixels:
    """Return RGB pixels (h, w, 3): ``dark`` where the field is -1, ``light`` where it is 1."""
    table = np.empty((1, 256, 3), np.float64)
    t = np.arange(256) / 255.0
    for channel in range(3):
        table[0, :, channel] = dark[channel] + (light[channel] - dark[channel]) * t
    index = np.clip(field * np.float32(127.5) + np.float32(127.5), 0, 255).astype(np.uint8)
    colours = np.clip(table, 0, 255).astype(np.uint8)
    result: Pixels = cv2.LUT(cv2.merge([index, index, index]), colours)
    return result


def around(field: Floats, colour: Colour, depth: float) -> Pixels:
    """Return RGB pixels of one colour modulated by ``depth`` (share of full scale) times the field."""
    d = depth * 255
    r, g, b = colour
    return tint(field, (r - d, g - d, b - d), (r + d, g + d, b + d))


def ramp(rng: np.random.Generator, size: int) -> Floats:
    """Return a linear gradient -1..1 in a random direction, (size, size)."""
    angle = uniform(rng, 0, 6.2831853)
    t = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    field = t[None, :] * c + t[:, None] * s
    return np.asarray(field / (abs(c) + abs(s)), dtype=np.float32)
