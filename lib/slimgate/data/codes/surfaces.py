"""What symbols lie on: each function returns RGB pixels (size, size, 3)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.clutter import draw_clutter, draw_packaging, draw_room, draw_screen
from slimgate.data.codes.noise import (
    Floats,
    Pixels,
    around,
    chance,
    fractal,
    grain,
    log_uniform,
    patch_noise,
    ramp,
    random_colour,
    tint,
    uniform,
)


def _paper(rng: np.random.Generator, size: int) -> Pixels:
    field = fractal(rng, size, octaves=4) * np.float32(0.6) + grain(rng, size) * np.float32(0.3)
    return around(field, random_colour(rng, 120, 250, 0.3), uniform(rng, 0.005, 0.06))


def _cardboard(rng: np.random.Generator, size: int) -> Pixels:
    stripes = patch_noise(rng, size, 3, int(rng.integers(30, 90))).astype(np.float32) / np.float32(127.5)
    field = fractal(rng, size, octaves=5, stretch=4) * np.float32(0.5) + grain(rng, size) * np.float32(0.35)
    field += (stripes - np.float32(1)) * np.float32(0.3)
    base = uniform(rng, 90, 190)
    return around(field, (base, base * uniform(rng, 0.72, 0.85), base * uniform(rng, 0.5, 0.65)), 0.07)


def _fabric(rng: np.random.Generator, size: int) -> Pixels:
    period = int(rng.integers(4, 14))
    t = np.abs(np.arange(period) - (period - 1) / 2).astype(np.float32) * np.float32(2 / period)
    if chance(rng, 0.5):
        tile = np.where(
            (np.add.outer(np.arange(period), np.arange(period)) // max(period // 2, 1)) % 2,
            t[None, :],
            t[:, None],
        )
    else:
        tile = np.roll(t, int(period // 2))[None, :] * t[:, None]
    count = size // period + 1
    field = np.tile(tile, (count, count))[:size, :size] * np.float32(1.4) - np.float32(0.7)
    field = (
        field.astype(np.float32)
        + fractal(rng, size, octaves=5) * np.float32(0.6)
        + grain(rng, size) * np.float32(0.3)
    )
    return around(field, random_colour(rng, 20, 220, 0.7), uniform(rng, 0.04, 0.14))


def _plastic(rng: np.random.Generator, size: int) -> Pixels:
    field = ramp(rng, size) * np.float32(uniform(rng, 0, 0.8)) + fractal(rng, size, octaves=2) * np.float32(
        0.5
    )
    out = around(field, random_colour(rng, 5, 245, 0.9), uniform(rng, 0.02, 0.15))
    if chance(rng, 0.5):
        shine = np.clip(fractal(rng, size, first=2, octaves=2, stretch=uniform(rng, 0.4, 3)) * 3 - 1.8, 0, 1)
        out = _lighten(out, shine.astype(np.float32), uniform(rng, 0.3, 1))
    return out


def _lighten(pixels: Pixels, mask: Floats, strength: float) -> Pixels:
    weight = (mask * np.float32(strength))[:, :, None]
    return (pixels + (np.float32(255) - pixels) * weight).astype(np.uint8)


def _metal_colours(rng: np.random.Generator) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    low = uniform(rng, 5, 120)
    high = min(low + uniform(rng, 40, 150), 252)
    warm = uniform(rng, -10, 14)
    return (low + warm, low, low - warm), (high + warm, high, high - warm)


def _brushed(rng: np.random.Generator, size: int) -> Pixels:
    lines = rng.integers(0, 256, (size, int(rng.integers(2, 9))), dtype=np.uint8)
    streaks = cv2.resize(lines, (size, size), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.float32)
    field = (streaks / np.float32(127.5) - np.float32(1)) * np.float32(uniform(rng, 0.1, 0.6))
    field += fractal(rng, size, first=1, octaves=3) * np.float32(uniform(rng, 0.2, 0.9))
    field += grain(rng, size) * np.float32(uniform(rng, 0, 0.2))
    if chance(rng, 0.5):
        field = np.ascontiguousarray(field.T)
    dark, light = _metal_colours(rng)
    out = tint(field, dark, light)
    if chance(rng, 0.5):
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), uniform(rng, 0, 180), 1.45)
        out = cv2.warpAffine(out, turn, (size, size), borderMode=cv2.BORDER_REFLECT)
    return out


def _turned(rng: np.random.Generator, size: int) -> Pixels:
    """Lathe-turned or milled metal: fine arcs about a centre, with fans of light."""
    reach = uniform(rng, 0, 1.5) * size
    angle = uniform(rng, 0, 6.2831853)
    cx, cy = size / 2 + reach * float(np.cos(angle)), size / 2 + reach * float(np.sin(angle))
    x = (np.arange(size) + 0.5 - cx).astype(np.float32)[None, :]
    y = (np.arange(size) + 0.5 - cy).astype(np.float32)[:, None]
    rho2 = x * x + y * y + np.float32(1)
    rho = np.sqrt(rho2)
    rings = rng.integers(0, 256, 4096, dtype=np.uint8).astype(np.float32) / np.float32(127.5) - np.float32(1)
    pitch = np.float32(uniform(rng, 0.3, 1.5))
    field = rings[(rho * pitch).astype(np.int64) % 4096] * np.float32(uniform(rng, 0.15, 0.5))
    fan = (x * y) / rho2 if chance(rng, 0.5) else (x * x - y * y) / rho2
    field += fan * np.float32(uniform(rng, 0.2, 1.2)) + fractal(rng, size, octaves=3) * np.float32(0.25)
    dark, light = _metal_colours(rng)
    return tint(field.astype(np.float32), dark, light)


def _cast(rng: np.random.Generator, size: int) -> Pixels:
    first = int(rng.integers(4, 24))
    field = fractal(rng, size, first=first, octaves=5, falloff=uniform(rng, 0.6, 0.95)) * np.float32(
        uniform(rng, 0.5, 1.2)
    )
    field += ramp(rng, size) * np.float32(uniform(rng, 0, 0.7)) + grain(rng, size) * np.float32(0.2)
    dark, light = _metal_colours(rng)
    return tint(field, dark, light)


def _scratch(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    size = pixels.shape[0]
    for _ in range(int(rng.integers(3, 40))):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        reach = log_uniform(rng, 10, size)
        angle = uniform(rng, 0, 6.2831853)
        end = (x + int(reach * float(np.cos(angle))), y + int(reach * float(np.sin(angle))))
        shade = uniform(rng, 30, 255)
        cv2.line(pixels, (x, y), end, (shade, shade, shade), int(rng.integers(1, 3)), cv2.LINE_AA)
    return pixels


def _metal(rng: np.random.Generator, size: int) -> Pixels:
    out = (_brushed, _turned, _cast)[int(rng.integers(0, 3))](rng, size)
    return _scratch(rng, out) if chance(rng, 0.4) else out


def _circuit(rng: np.random.Generator, size: int) -> Pixels:
    hue = ((20, 90, 40), (15, 50, 110), (25, 25, 28), (120, 20, 25), (200, 200, 195), (60, 130, 60))
    r, g, b = (max(c + uniform(rng, -15, 15), 0) for c in hue[int(rng.integers(0, len(hue)))])
    out = around(fractal(rng, size, octaves=4), (r, g, b), 0.02)
    trace = (r + uniform(rng, 8, 40), g + uniform(rng, 8, 45), b + uniform(rng, 5, 40))
    for _ in range(int(rng.integers(8, 40))):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        points = [(x, y)]
        for _ in range(int(rng.integers(1, 4))):
            sx, sy = (int(v) for v in rng.integers(-1, 2, 2))
            step = int(rng.integers(20, 160))
            x, y = x + sx * step, y + sy * step
            points.append((x, y))
        cv2.polylines(out, [np.array(points, np.int32)], False, trace, int(rng.integers(2, 8)), cv2.LINE_AA)
    pad = random_colour(rng, 150, 235, 0.25)
    for _ in range(int(rng.integers(10, 90))):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        if chance(rng, 0.5):
            cv2.circle(out, (x, y), int(rng.integers(3, 11)), pad, -1, cv2.LINE_AA)
            cv2.circle(out, (x, y), 2, (25, 25, 25), -1, cv2.LINE_AA)
        else:
            w, h = (int(v) for v in rng.integers(4, 26, 2))
            for k in range(int(rng.integers(1, 7))):
                cv2.rectangle(out, (x + k * (w + 4), y), (x + k * (w + 4) + w, y + h), pad, -1)
    return out


def _wood(rng: np.random.Generator, size: int) -> Pixels:
    bands = fractal(rng, size, first=6, octaves=5, falloff=0.7, stretch=uniform(rng, 6, 16))
    field = bands + grain(rng, size) * np.float32(0.1)
    if chance(rng, 0.5):
        field = np.ascontiguousarray(field.T)
    base = uniform(rng, 60, 200)
    return around(
        field,
        (base, base * uniform(rng, 0.65, 0.85), base * uniform(rng, 0.4, 0.65)),
        uniform(rng, 0.06, 0.2),
    )


def _concrete(rng: np.random.Generator, size: int) -> Pixels:
    field = fractal(rng, size, first=int(rng.integers(2, 20)), octaves=6, falloff=uniform(rng, 0.5, 0.95))
    return around(field, random_colour(rng, 30, 220, 0.35), uniform(rng, 0.05, 0.25))


_SURFACES: dict[str, tuple[float, Callable[[np.random.Generator, int], Pixels]]] = {
    "paper": (0.09, _paper),
    "cardboard": (0.07, _cardboard),
    "fabric": (0.05, _fabric),
    "plastic": (0.11, _plastic),
    "metal": (0.16, _metal),
    "circuit": (0.07, _circuit),
    "wood": (0.05, _wood),
    "concrete": (0.05, _concrete),
    "packaging": (0.13, draw_packaging),
    "clutter": (0.10, draw_clutter),
    "room": (0.08, draw_room),
    "screen": (0.04, draw_screen),
}


def draw_surface(rng: np.random.Generator, size: int, kind: str | None = None) -> tuple[str, Pixels]:
    """Return the kind of a surface and its RGB pixels, (size, size, 3)."""
    if kind is None:
        shares: npt.NDArray[np.float64] = np.cumsum([share for share, _ in _SURFACES.values()])
        kinds = list(_SURFACES)
        kind = kinds[min(int(np.searchsorted(shares, rng.random() * shares[-1])), len(kinds) - 1)]
    return kind, _SURFACES[kind][1](rng, size)
