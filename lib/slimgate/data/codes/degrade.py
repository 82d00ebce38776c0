"""Light and camera: what happens between a printed thing and the file of its photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.clutter import blob
from slimgate.data.codes.noise import Floats, Pixels, chance, log_uniform, patch_noise, ramp, uniform

_LEAST_CONTRAST = 15.0  # grey levels, see contrast_of


@dataclass(frozen=True, kw_only=True)
class View:
    """What the camera needs to know about a scene.

    Attributes:
        finest_module: the smallest module in the picture, in picture pixels; it bounds the blur, so
            that what is labelled can be seen. Infinite without symbols.
        boxes: (n, 4) boxes of the symbols, xyxy picture pixels; glare likes them, and they must stay visible.
        metal: whether the surface is bare metal.
    """

    finest_module: float
    boxes: npt.NDArray[np.float64]
    metal: bool


def _glare(rng: np.random.Generator, size: int, boxes: npt.NDArray[np.float64]) -> Floats:
    """Return a burnt-out spot or band 0..1, (size, size)."""
    if len(boxes) and chance(rng, 0.6):
        box = boxes[int(rng.integers(0, len(boxes)))]
        x, y = (box[:2] + box[2:]) / 2 + (rng.random(2) - 0.5) * size * 0.3
    else:
        x, y = rng.random(2) * size
    angle = uniform(rng, 0, 3.1415926)
    long, short = log_uniform(rng, 12, 160), log_uniform(rng, 5, 36)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    dx = (np.arange(size) + 0.5 - x)[None, :]
    dy = (np.arange(size) + 0.5 - y)[:, None]
    u, v = (dx * c + dy * s) / long, (dy * c - dx * s) / short
    fall = 1.0 / (1.0 + (u * u + v * v) ** 2)
    result: Floats = fall.astype(np.float32)
    return result


def light(rng: np.random.Generator, pixels: Pixels, view: View) -> Pixels:
    """Return the pixels under uneven light: gradients, shadows, vignette, glare."""
    size = pixels.shape[0]
    gain = np.ones((size, size), np.float32)
    if chance(rng, 0.6):
        gain += ramp(rng, size) * np.float32(uniform(rng, 0.05, 0.55))
    if chance(rng, 0.35):
        bumps = patch_noise(rng, size, int(rng.integers(2, 6)), int(rng.integers(2, 6))).astype(np.float32)
        gain += (bumps / np.float32(127.5) - np.float32(1)) * np.float32(uniform(rng, 0.05, 0.4))
    if chance(rng, 0.30):
        gain *= _shadow(rng, size)
    if chance(rng, 0.25):
        t = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
        gain *= np.float32(1) - (t[None, :] ** 2 + t[:, None] ** 2) * np.float32(uniform(rng, 0.05, 0.4))
    out = pixels * np.clip(gain, 0.08, 2)[:, :, None]
    if chance(rng, 0.40 if view.metal else 0.16):
        out += _glare(rng, size, view.boxes)[:, :, None] * np.float32(uniform(rng, 40, 280))
    result: Pixels = np.clip(out, 0, 255).astype(np.uint8)
    return result


def _shadow(rng: np.random.Generator, size: int) -> Floats:
    mask = np.full((size, size), 255, np.uint8)
    dark = int(uniform(rng, 70, 210))
    if chance(rng, 0.5):
        x, y = (float(v) for v in rng.random(2) * size)
        cv2.fillPoly(mask, [blob(rng, x, y, log_uniform(rng, 60, 350))], dark, cv2.LINE_AA)
    else:
        ends = rng.integers(-size // 2, size + size // 2, (2, 2))
        cv2.line(
            mask,
            tuple(int(v) for v in ends[0]),
            tuple(int(v) for v in ends[1]),
            dark,
            int(log_uniform(rng, 8, 200)),
        )
    k = int(log_uniform(rng, 1, 40)) | 1
    result: Floats = cv2.blur(mask, (k, k)).astype(np.float32) * np.float32(1 / 255)
    return result


def blur(rng: np.random.Generator, pixels: Pixels, view: View) -> Pixels:
    """Return the pixels out of focus or moved, never beyond what leaves the finest symbol visible."""
    limit = float(np.clip(view.finest_module * 0.55, 0.4, 2.6))
    kind = rng.random()
    if kind < 0.40:
        return pixels
    if kind < 0.80:
        sigma = min(log_uniform(rng, 0.3, 2.6), limit)
        soft: Pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)
        return soft
    length = min(log_uniform(rng, 1.5, 11), limit * 2.8)
    side = int(length) // 2 * 2 + 3
    angle = uniform(rng, 0, 3.1415926)
    kernel = np.zeros((side * 4, side * 4), np.uint8)
    mid = side * 2
    dx, dy = float(np.cos(angle)) * length * 2, float(np.sin(angle)) * length * 2
    cv2.line(kernel, (int(mid - dx), int(mid - dy)), (int(mid + dx), int(mid + dy)), 255, 4, cv2.LINE_AA)
    weights = kernel.reshape(side, 4, side, 4).sum(axis=(1, 3), dtype=np.int64).astype(np.float64)
    result: Pixels = cv2.filter2D(pixels, -1, weights / weights.sum())
    return result


def expose(rng: np.random.Generator, pixels: Pixels, metal: bool) -> Pixels:
    """Return the pixels after exposure, contrast, gamma and white balance, or in grey."""
    t = np.arange(256) / 255.0
    contrast = uniform(rng, 0.25, 0.8) if chance(rng, 0.18) else uniform(rng, 0.8, 1.15)
    pivot = uniform(rng, 0.25, 0.75)
    gamma = log_uniform(rng, 0.55, 1.8) if chance(rng, 0.5) else 1.0
    gain = log_uniform(rng, 0.45, 1.45) if chance(rng, 0.5) else 1.0
    table = np.empty((1, 256, 3))
    cast = 0.18 if chance(rng, 0.4) else 0.03
    grey = chance(rng, 0.40 if metal else 0.07)
    for channel in range(3):
        tone = np.float32(np.clip(t * gain * uniform(rng, 1 - cast, 1 + cast), 0, 1) ** gamma)
        table[0, :, channel] = np.clip(pivot + (tone - pivot) * contrast, 0, 1) * 255
    out: Pixels = cv2.LUT(pixels, np.rint(table).astype(np.uint8))
    if grey:
        mixed = (out.astype(np.uint16) * np.array([77, 150, 29], np.uint16)).sum(axis=2, dtype=np.uint16) >> 8
        one = mixed.astype(np.uint8)
        out = cv2.merge([one, one, one])
    return out


def contrast_of(pixels: Pixels, view: View) -> float:
    """Return the fine contrast, in grey levels, of the symbol that is hardest to see; infinite without symbols.

    It is the 90 % quantile, within a symbol's box, of the difference to the picture's local mean: gradients and
    glare do not count, and a thin bar lying across its box does.
    """
    if not len(view.boxes):
        return float("inf")
    side = int(min(max(view.finest_module * 6, 9), 61)) | 1
    green = np.ascontiguousarray(pixels[:, :, 1])
    detail = cv2.absdiff(green, cv2.blur(green, (side, side)))
    found = []
    for x0, y0, x1, y1 in view.boxes:
        part = detail[int(y0) : max(int(y1), int(y0) + 1), int(x0) : max(int(x1), int(x0) + 1)].ravel()
        place = min(part.size * 9 // 10, part.size - 1)
        found.append(float(np.partition(part, place)[place]))
    return min(found)


def sense(rng: np.random.Generator, pixels: Pixels, contrast: float) -> Pixels:
    """Return the pixels with shot and read noise; grey noise for most, coloured for some."""
    if chance(rng, 0.35):
        return pixels
    height, width = pixels.shape[:2]
    level = min(log_uniform(rng, 0.8, 16), contrast * 0.4)
    planes = 3 if chance(rng, 0.35) else 1
    raw = rng.integers(0, 256, (2, height, width, planes), dtype=np.uint8).astype(np.float32)
    bell = (raw[0] + raw[1] - np.float32(255)) * np.float32(1 / 104)
    if chance(rng, 0.3):
        bell = np.asarray(cv2.blur(bell, (2, 2)), np.float32).reshape(height, width, planes) * np.float32(1.7)
    shot = np.sqrt(pixels * np.float32(0.7 / 255) + np.float32(0.3))
    result: Pixels = np.clip(pixels + bell * shot * np.float32(level) + np.float32(0.5), 0, 255).astype(
        np.uint8
    )
    return result


def encode(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Return the pixels after in-camera sharpening and JPEG compression."""
    if chance(rng, 0.25):
        soft = cv2.GaussianBlur(pixels, (0, 0), uniform(rng, 0.7, 1.8)).astype(np.float32)
        amount = np.float32(uniform(rng, 0.3, 1.6))
        pixels = np.clip(pixels + (pixels - soft) * amount, 0, 255).astype(np.uint8)
    if chance(rng, 0.5):
        quality = int(rng.integers(28, 95))
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        compressed: Pixels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
        return compressed
    return pixels


def photograph(rng: np.random.Generator, pixels: Pixels, view: View) -> Pixels:
    """Return the photograph of a lit scene, (size, size, 3) RGB."""
    for _ in range(4):
        seen = expose(rng, blur(rng, light(rng, pixels, view), view), view.metal)
        contrast = contrast_of(seen, view)
        if contrast >= _LEAST_CONTRAST and (len(view.boxes) > 0 or _is_exposed(seen)):
            break
    else:
        seen, contrast = pixels, contrast_of(pixels, view)
    return encode(rng, sense(rng, seen, contrast))


def _is_exposed(pixels: Pixels) -> bool:
    mean = float(pixels[::4, ::4].sum(dtype=np.int64)) / pixels[::4, ::4].size
    return 18 < mean < 240
