"""Busy backgrounds: packages, rooms, screens, and shapes of every size."""

from __future__ import annotations

import cv2
import numpy as np

from slimgate.data.codes.noise import (
    Colour,
    Pixels,
    around,
    chance,
    fractal,
    grain,
    log_uniform,
    ramp,
    random_colour,
    tint,
    uniform,
)
from slimgate.data.codes.text import random_words, text_mask


def stamp(pixels: Pixels, mask: Pixels, x: int, y: int, colour: Colour, opacity: float = 1.0) -> None:
    """Paint a coverage mask (h, w) at (x, y) of RGB pixels in place, cut at the borders."""
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], pixels.shape[1]), min(y + mask.shape[0], pixels.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part = mask[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32)[:, :, None] * np.float32(opacity / 255)
    roi = pixels[y0:y1, x0:x1]
    roi[:] = (roi + (np.array(colour, np.float32) - roi) * part).astype(np.uint8)


def blob(
    rng: np.random.Generator, x: float, y: float, radius: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Return a rounded random polygon (n, 2) about a point."""
    count = int(rng.integers(3, 14))
    angles = np.sort(rng.random(count)) * 6.2831853
    radii = radius * (0.4 + 0.6 * rng.random(count))
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1).astype(np.int32)


def draw_shapes(rng: np.random.Generator, pixels: Pixels, count: int) -> None:
    """Paint random polygons, ellipses, rectangles and lines in place."""
    size = pixels.shape[0]
    for _ in range(count):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        reach = log_uniform(rng, 8, size * 0.6)
        colour = random_colour(rng)
        kind = int(rng.integers(0, 5))
        if kind == 0:
            cv2.fillPoly(pixels, [blob(rng, x, y, reach)], colour, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(reach), int(reach * uniform(rng, 0.2, 1)))
            cv2.ellipse(pixels, (x, y), axes, uniform(rng, 0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 2:
            box = cv2.boxPoints(((x, y), (reach, reach * uniform(rng, 0.1, 1)), uniform(rng, 0, 180)))
            cv2.fillPoly(pixels, [box.astype(np.int32)], colour, cv2.LINE_AA)
        elif kind == 3:
            end = tuple(int(v) for v in rng.integers(0, size, 2))
            cv2.line(pixels, (x, y), end, colour, int(log_uniform(rng, 1, 24)), cv2.LINE_AA)
        else:
            cv2.circle(pixels, (x, y), int(reach / 2), colour, int(log_uniform(rng, 1, 10)), cv2.LINE_AA)


def _textured(rng: np.random.Generator, size: int) -> Pixels:
    field = fractal(
        rng,
        size,
        octaves=int(rng.integers(3, 7)),
        falloff=uniform(rng, 0.4, 0.9),
        stretch=log_uniform(rng, 0.5, 4),
    )
    return tint(field, random_colour(rng, 0, 150), random_colour(rng, 80, 255))


def draw_clutter(rng: np.random.Generator, size: int) -> Pixels:
    """Return a photograph-like tangle: 1/f texture, shapes, a second texture inside some of them."""
    out = _textured(rng, size)
    draw_shapes(rng, out, int(rng.integers(3, 30)))
    for _ in range(int(rng.integers(0, 3))):
        mask = np.zeros((size, size), np.uint8)
        x, y = (float(v) for v in rng.integers(0, size, 2))
        cv2.fillPoly(mask, [blob(rng, x, y, log_uniform(rng, 60, size * 0.7))], 255)
        other = _textured(rng, size)
        out[mask > 0] = other[mask > 0]
    if chance(rng, 0.5):
        k = int(rng.integers(1, 12)) * 2 + 1
        out = cv2.blur(out, (k, k))
    draw_shapes(rng, out, int(rng.integers(0, 12)))
    return out


def draw_room(rng: np.random.Generator, size: int) -> Pixels:
    """Return shaded planes and boxes, as walls, floors, tables and shelves look."""
    out = around(
        fractal(rng, size, octaves=4) + ramp(rng, size),
        random_colour(rng, 40, 230, 0.3),
        uniform(rng, 0.02, 0.12),
    )
    horizon = int(uniform(rng, 0.2, 0.9) * size)
    low = around(
        fractal(rng, size, octaves=5, stretch=3) + ramp(rng, size), random_colour(rng, 20, 200, 0.5), 0.12
    )
    slope = int(uniform(rng, -0.3, 0.3) * size)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(
        mask, [np.array([[0, horizon], [size, horizon + slope], [size, size], [0, size]], np.int32)], 255
    )
    out[mask > 0] = low[mask > 0]
    for _ in range(int(rng.integers(2, 14))):
        x, y = (int(v) for v in rng.integers(-60, size, 2))
        w, h = int(log_uniform(rng, 20, 300)), int(log_uniform(rng, 20, 300))
        skew = int(uniform(rng, -0.25, 0.25) * w)
        colour = random_colour(rng, 10, 250, 0.8)
        face = np.array([[x, y], [x + w, y + skew], [x + w, y + h + skew], [x, y + h]], np.int32)
        cv2.fillPoly(out, [face], colour, cv2.LINE_AA)
        d = int(uniform(rng, 0.1, 0.5) * w)
        shade = uniform(rng, 0.4, 0.85)
        side = np.array(
            [[x + w, y + skew], [x + w + d, y - d // 2], [x + w + d, y + h - d // 2], [x + w, y + h + skew]],
            np.int32,
        )
        cv2.fillPoly(out, [side], tuple(c * shade for c in colour), cv2.LINE_AA)
        if chance(rng, 0.4):
            mask_text = text_mask(random_words(rng, 2), int(log_uniform(rng, 8, 40)), weight=700)
            stamp(out, mask_text, x + 4, y + h // 3, random_colour(rng))
    if chance(rng, 0.6):
        k = int(rng.integers(1, 10)) * 2 + 1
        out = cv2.blur(out, (k, k))
    return out


def draw_packaging(rng: np.random.Generator, size: int) -> Pixels:
    """Return a printed package: colour fields, gradients, large and small type, pictures."""
    first, second = random_colour(rng, 0, 255), random_colour(rng, 0, 255)
    out = tint(
        ramp(rng, size) + fractal(rng, size, octaves=2) * np.float32(uniform(rng, 0, 0.5)), first, second
    )
    for _ in range(int(rng.integers(0, 6))):
        colour = random_colour(rng)
        if chance(rng, 0.5):
            y = int(rng.integers(0, size))
            cv2.rectangle(out, (0, y), (size, y + int(log_uniform(rng, 6, 200))), colour, -1)
        else:
            left, top = (float(v) for v in rng.integers(0, size, 2))
            cv2.fillPoly(out, [blob(rng, left, top, log_uniform(rng, 30, 250))], colour, cv2.LINE_AA)
    ink = random_colour(rng)
    for _ in range(int(rng.integers(1, 6))):
        height = int(log_uniform(rng, 10, 90))
        mask = text_mask(
            random_words(rng, int(rng.integers(1, 3))),
            height,
            italic=chance(rng, 0.2),
            weight=int(rng.integers(300, 900)),
        )
        stamp(
            out,
            mask,
            int(rng.integers(-80, size)),
            int(rng.integers(-10, size)),
            ink if chance(rng, 0.6) else random_colour(rng),
        )
    if chance(rng, 0.6):
        paragraph(
            rng,
            out,
            int(rng.integers(0, size * 2 // 3)),
            int(rng.integers(0, size * 2 // 3)),
            random_colour(rng),
        )
    if chance(rng, 0.3):
        out = around(grain(rng, size), (0, 0, 0), 0.02) + out // 2 + out // 4
    return out


def paragraph(rng: np.random.Generator, pixels: Pixels, x: int, y: int, colour: Colour) -> None:
    """Paint a block of small text lines in place."""
    height = int(log_uniform(rng, 6, 16))
    words = int(rng.integers(2, 9))
    for line in range(int(rng.integers(3, 14))):
        stamp(pixels, text_mask(random_words(rng, words), height), x, y + int(line * height * 1.5), colour)


def draw_screen(rng: np.random.Generator, size: int) -> Pixels:
    """Return a display: windows, text, and the pixel grid seen through the camera."""
    bright = uniform(rng, 20, 250)
    out = np.empty((size, size, 3), np.uint8)
    out[:] = np.array(random_colour(rng, max(bright - 30, 0), bright, 0.3), np.uint8)
    for _ in range(int(rng.integers(1, 7))):
        x, y = (int(v) for v in rng.integers(-40, size, 2))
        w, h = (int(v) for v in rng.integers(60, 420, 2))
        cv2.rectangle(out, (x, y), (x + w, y + h), random_colour(rng, 0, 255, 0.5), -1)
        cv2.rectangle(out, (x, y), (x + w, y + 16), random_colour(rng, 0, 255, 0.5), -1)
        paragraph(rng, out, x + 8, y + 26, random_colour(rng))
    pitch = int(rng.integers(2, 5))
    out[::pitch] = (out[::pitch] * np.float32(uniform(rng, 0.6, 1))).astype(np.uint8)
    return out
