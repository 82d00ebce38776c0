"""How modules become marks: coverage maps of printed, dotted, rounded, etched and peened symbols."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.symbols import BARCODE, QRCODE, Symbol

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def render_squares(symbol: Symbol, px: int) -> Pixels:
    """Return crisp coverage 0..255, (height, width) at ``px`` pixels a module."""
    tall = np.repeat(symbol.pattern, np.rint(symbol.row_heights * px).astype(np.int64), axis=0)
    return np.repeat(tall, px, axis=1).astype(np.uint8) * np.uint8(255)


def bleed(coverage: Pixels, px: int, spread: float, softness: float = 0.25) -> Pixels:
    """Return coverage with corners rounded and ink grown (``spread`` > 0) or thinned (< 0).

    A blur of a third of a module, then a soft threshold moved by ``spread`` (in -0.3..0.3).
    """
    kernel = max(3, (px * 2 // 3) | 1)
    soft = cv2.blur(cv2.blur(coverage, (kernel, kernel), borderType=cv2.BORDER_CONSTANT), (3, 3))
    table = np.clip((np.arange(256) / 255.0 - (0.5 - spread)) / max(softness, 0.02) + 0.5, 0, 1)
    result: Pixels = cv2.LUT(soft, np.rint(table * 255).astype(np.uint8))
    return result


def _offsets(
    rng: np.random.Generator, shape: tuple[int, int], px: int, jitter: float
) -> tuple[Floats, Floats]:
    """Return per-pixel offsets (dx, dy) from the jittered centre of each module, in modules."""
    t = ((np.arange(px) + 0.5) / px - 0.5).astype(np.float32)
    jx = (rng.random(shape, dtype=np.float32) - np.float32(0.5)) * np.float32(2 * jitter)
    jy = (rng.random(shape, dtype=np.float32) - np.float32(0.5)) * np.float32(2 * jitter)
    dx = np.broadcast_to(t[None, None, None, :] - jx[:, None, :, None], (shape[0], px, shape[1], px))
    dy = np.broadcast_to(t[None, :, None, None] - jy[:, None, :, None], (shape[0], px, shape[1], px))
    size = (shape[0] * px, shape[1] * px)
    return dx.reshape(size), dy.reshape(size)


def _cells(values: npt.NDArray[np.float32], px: int) -> Floats:
    return np.repeat(np.repeat(values, px, axis=0), px, axis=1)


def render_dots(
    rng: np.random.Generator, pattern: npt.NDArray[np.bool_], px: int, *, radius: float, jitter: float
) -> Pixels:
    """Return coverage of round dots (radius and jitter in modules), as inkjet and styled QR codes have."""
    dx, dy = _offsets(rng, pattern.shape, px, jitter)
    spread = (rng.random(pattern.shape, dtype=np.float32) - np.float32(0.5)) * np.float32(radius * 0.3)
    radii = np.where(pattern, np.float32(radius) + spread * np.float32(jitter > 0), np.float32(-1.0))
    edge = (_cells(radii.astype(np.float32), px) - np.sqrt(dx * dx + dy * dy)) * np.float32(px) + np.float32(
        0.5
    )
    result: Pixels = (np.clip(edge, 0, 1) * np.float32(255)).astype(np.uint8)
    return result


def render_gapped(
    rng: np.random.Generator, pattern: npt.NDArray[np.bool_], px: int, *, side: float
) -> Pixels:
    """Return coverage of square modules that do not touch (``side`` in modules)."""
    dx, dy = _offsets(rng, pattern.shape, px, 0.03)
    far = np.maximum(np.abs(dx), np.abs(dy))
    edge = (np.float32(side / 2) - far) * np.float32(px) + np.float32(0.5)
    cells = _cells(pattern.astype(np.float32), px).astype(np.uint8)
    result: Pixels = (np.clip(edge, 0, 1) * np.float32(255)).astype(np.uint8) * cells
    return result


def render_peened(rng: np.random.Generator, pattern: npt.NDArray[np.bool_], px: int) -> Floats:
    """Return the signed relief -1..1 of dot-peened craters, (height, width): light above 0, shadow below.

    A crater lit from one side has a bright crescent and a dark one; lit along the axis it is a dark
    disc with a bright centre; in dark field it is a bright ring.
    """
    radius = 0.26 + 0.24 * float(rng.random())
    jitter = 0.02 + 0.08 * float(rng.random())
    dx, dy = _offsets(rng, pattern.shape, px, jitter)
    sizes = np.float32(radius) * (
        np.float32(0.85) + np.float32(0.3) * rng.random(pattern.shape, dtype=np.float32)
    )
    kept = pattern & (rng.random(pattern.shape) > 0.03 * float(rng.random()))
    gains = np.where(kept, np.float32(0.6) + np.float32(0.4) * rng.random(pattern.shape, dtype=np.float32), 0)
    sizes_px = _cells(sizes, px)
    rho = np.sqrt(dx * dx + dy * dy) / sizes_px
    disc = np.clip((np.float32(1.0) - rho) * sizes_px * np.float32(px) + np.float32(0.5), 0, 1)
    angle = float(rng.random()) * 6.2831853
    side = (dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))) / sizes_px
    look = rng.random()
    if look < 0.40:
        relief = side * np.float32(1.3) * disc
        relief += disc * np.float32((float(rng.random()) - 0.6) * 0.8)
    elif look < 0.65:
        glint = np.clip(np.float32(0.4) - np.sqrt(dx * dx + dy * dy) / sizes_px, 0, 1)
        relief = disc * np.float32(-0.85) + glint * np.float32(3.0 * rng.random())
    elif look < 0.85:
        relief = disc * (np.float32(0.75) + np.float32(0.3) * side)
    else:
        ring = np.clip(np.float32(1) - np.abs(rho - np.float32(0.8)) * np.float32(3.5), 0, 1)
        relief = ring * np.float32(0.9) - disc * np.float32(0.35)
    return np.clip(relief * _cells(gains.astype(np.float32), px), -1, 1)


def render_engraved(rng: np.random.Generator, coverage: Pixels, px: int) -> Floats:
    """Return the signed relief -1..1 of cut modules: one lit wall, one shaded wall, a darker floor."""
    step = max(1, px // 4)
    soft = cv2.blur(coverage, (step | 1, step | 1)).astype(np.float32) / np.float32(255)
    sx, sy = (int(v) * step for v in rng.integers(-1, 2, 2))
    if sx == 0 and sy == 0:
        sx = step
    wall = soft - np.roll(soft, (sy, sx), axis=(0, 1))
    floor = np.float32(float(rng.random()) * 0.7 - 0.45)
    result: Floats = np.clip(wall * np.float32(0.8) + soft * floor, -1, 1)
    return result


def render_finders(coverage: Pixels, px: int, rounding: float) -> Pixels:
    """Return a QR coverage whose three finder patterns are redrawn with rounded corners or circles."""
    side = 7 * px
    tile = np.zeros((side, side), np.uint8)
    t = (np.arange(side) + 0.5) / px - 3.5
    x, y = np.abs(t)[None, :], np.abs(t)[:, None]

    def inside(half: float) -> npt.NDArray[np.bool_]:
        corner = half * rounding
        far_x = np.maximum(x - (half - corner), 0)
        far_y = np.maximum(y - (half - corner), 0)
        within: npt.NDArray[np.bool_] = (far_x * far_x + far_y * far_y <= corner * corner + 1e-9) & (
            np.maximum(x, y) <= half
        )
        return within

    tile[inside(3.5)] = 255
    tile[inside(2.5)] = 0
    tile[inside(1.5)] = 255
    out = coverage.copy()
    height, width = out.shape
    out[:side, :side] = tile
    out[:side, width - side :] = tile
    out[height - side :, :side] = tile
    return out


def render_coverage(rng: np.random.Generator, symbol: Symbol, px: int) -> Pixels:
    """Return the coverage 0..255 of a printed symbol in a random printing style."""
    square = render_squares(symbol, px)
    if symbol.category == BARCODE:
        if px >= 3 and rng.random() < 0.4:
            return bleed(square, px, float(rng.random()) * 0.4 - 0.2)
        return square
    style = rng.random()
    is_full_qr = (
        symbol.category == QRCODE and symbol.pattern.shape[0] >= 21 and len(set(symbol.pattern.shape)) == 1
    )
    if px < 4 or style < 0.50:
        out = square
        if px >= 4 and rng.random() < 0.25:
            out = bleed(square, px, float(rng.random()) * 0.4 - 0.2)
    elif style < 0.68:
        out = bleed(square, px, float(rng.random()) * 0.5 - 0.25, 0.1 + 0.4 * float(rng.random()))
    elif style < 0.86:
        out = render_dots(
            rng,
            symbol.pattern,
            px,
            radius=0.34 + 0.22 * float(rng.random()),
            jitter=0.06 * float(rng.random()),
        )
    else:
        out = render_gapped(rng, symbol.pattern, px, side=0.68 + 0.28 * float(rng.random()))
    if (
        is_full_qr
        and px >= 4
        and rng.random() < (0.6 if style >= 0.68 and symbol.category == QRCODE else 0.1)
    ):
        out = render_finders(out, px, float(rng.random()))
    return out
