"""Flat drawings with transparency: symbols as they are printed, stuck on or cut into things."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.ink import (
    bleed,
    render_coverage,
    render_dots,
    render_engraved,
    render_peened,
    render_squares,
)
from slimgate.data.codes.noise import Colour, Pixels, chance, log_uniform, patch_noise, random_colour, uniform
from slimgate.data.codes.symbols import BARCODE, DATAMATRIX, Symbol
from slimgate.data.codes.text import text_mask

Rect = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labelled symbol in a drawing: its category, and its rectangle (xyxy, drawing pixels)."""

    category: int
    rect: Rect


@dataclass(kw_only=True)
class Decal:
    """A drawing: RGB premultiplied by alpha, (h, w, 4), and the symbols in it."""

    rgba: Pixels
    marks: list[Mark] = field(default_factory=list)


def opaque(rgb: Pixels, marks: list[Mark] | None = None) -> Decal:
    """Return a decal that covers what lies under it."""
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    return Decal(rgba=cv2.merge([*cv2.split(rgb), alpha]), marks=marks or [])


def from_coverage(coverage: Pixels, colour: Colour, opacity: float, marks: list[Mark] | None = None) -> Decal:
    """Return ink of one colour laid directly on the surface."""
    levels = np.arange(256) * opacity
    table = np.stack([*(levels * (c / 255) for c in colour), levels], axis=1)[None].astype(np.uint8)
    return Decal(rgba=cv2.LUT(cv2.merge([coverage] * 4), table), marks=marks or [])


def from_relief(relief: npt.NDArray[np.float32], strength: float, marks: list[Mark] | None = None) -> Decal:
    """Return light (relief > 0) and shadow (< 0) cast on the surface itself."""
    light = (np.clip(relief, 0, 1) * np.float32(255 * strength)).astype(np.uint8)
    alpha = (np.abs(relief) * np.float32(255 * strength)).astype(np.uint8)
    return Decal(rgba=cv2.merge([light, light, light, alpha]), marks=marks or [])


def pad(coverage: npt.NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> Pixels:
    """Return the coverage with empty borders."""
    result: Pixels = cv2.copyMakeBorder(coverage, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return result


def wear(rng: np.random.Generator, coverage: Pixels) -> Pixels:
    """Return coverage with print faults: streaks, dropouts, fading, scratches."""
    height, width = coverage.shape
    kind = rng.random()
    if kind < 0.3:
        keep = np.full((height, width), 255, np.uint8)
        for _ in range(int(rng.integers(1, 5))):
            if chance(rng, 0.5):
                x = int(rng.integers(0, width))
                keep[:, x : x + int(rng.integers(1, 4))] = int(rng.integers(0, 200))
            else:
                y = int(rng.integers(0, height))
                keep[y : y + int(rng.integers(1, 4))] = int(rng.integers(0, 200))
    elif kind < 0.75:
        side = max(height, width)
        cells = int(log_uniform(rng, 6, 90))
        bumps = patch_noise(rng, side, cells, cells)[:height, :width]
        low = int(rng.integers(5, 75))
        table = np.clip((np.arange(256) - low) * 6 + 128, int(rng.integers(0, 160)), 255).astype(np.uint8)
        keep = cv2.LUT(bumps, table)
    else:
        keep = np.full((height, width), 255, np.uint8)
        for _ in range(int(rng.integers(1, 6))):
            ends = [(int(rng.integers(0, width)), int(rng.integers(0, height))) for _ in range(2)]
            cv2.line(keep, ends[0], ends[1], int(rng.integers(0, 160)), int(rng.integers(1, 4)), cv2.LINE_AA)
    worn: Pixels = cv2.multiply(coverage, keep, scale=1 / 255)
    return worn


def _ink_and_paper(rng: np.random.Generator) -> tuple[Colour, Colour]:
    kind = rng.random()
    if kind < 0.62:
        return random_colour(rng, 0, 55, 0.4), random_colour(rng, 190, 255, 0.3)
    if kind < 0.80:
        return random_colour(rng, 0, 110, 1), random_colour(rng, 150, 255, 0.9)
    if kind < 0.92:
        return random_colour(rng, 170, 255, 0.6), random_colour(rng, 0, 90, 0.8)
    paper = random_colour(rng, 90, 220, 0.6)
    step = uniform(rng, 35, 90)
    r, g, b = (max(c - step, 0) for c in paper)
    return (r, g, b), paper


def _human_text(rng: np.random.Generator, symbol: Symbol, width: int, height: int) -> Pixels | None:
    """Return the readable line under a 1-D symbol, (h, width), or None."""
    if symbol.category != BARCODE or not symbol.text or height < 5:
        return None
    text = symbol.text if chance(rng, 0.6) else "  ".join(symbol.text)
    mask = text_mask(text, height, weight=int(rng.integers(300, 700)))
    if mask.shape[1] > width or chance(rng, 0.4):
        mask = cv2.resize(
            mask,
            (max(int(width * uniform(rng, 0.7, 1)), 4), mask.shape[0]),
            interpolation=cv2.INTER_LINEAR_EXACT,
        )
    return mask


def paint_symbol(
    rng: np.random.Generator, symbol: Symbol, px: int, *, quiet: tuple[int, int], text: bool
) -> tuple[Pixels, Mark]:
    """Return the coverage of a symbol with its quiet zone and, if asked, its readable text.

    Args:
        rng: the scene's generator.
        symbol: what to draw.
        px: pixels a module.
        quiet: margins (x, y) in pixels.
        text: whether the readable line is printed under (sometimes over) a 1-D symbol.
    """
    coverage = render_coverage(rng, symbol, px)
    if chance(rng, 0.22):
        coverage = wear(rng, coverage)
    height, width = coverage.shape
    qx, qy = quiet
    line = None
    if text:
        line = _human_text(rng, symbol, width, int(uniform(rng, 6, 11) * px))
    extra = 0 if line is None else line.shape[0] + int(px * uniform(rng, 0, 2))
    above = extra if chance(rng, 0.06) else 0
    out = pad(coverage, qx, qy + above, qx, qy + extra - above)
    if line is not None:
        guard = 5 * px if len(symbol.row_heights) == 2 and above == 0 else 0
        y = qy if above else min(qy + height - guard + px, out.shape[0] - line.shape[0])
        x = qx + (width - line.shape[1]) // 2
        part = out[y : y + line.shape[0], x : x + line.shape[1]]
        np.maximum(part, line[: part.shape[0], : part.shape[1]], out=part)
    return out, Mark(category=symbol.category, rect=(qx, qy + above, qx + width, qy + above + height))


def quiet_margins(rng: np.random.Generator, symbol: Symbol, px: int) -> tuple[int, int]:
    """Return margins (x, y) in pixels: compliant, generous, or too small, as found in the field."""
    if symbol.category == BARCODE:
        return int(uniform(rng, 3, 14) * px), int(uniform(rng, 1, 8) * px)
    margin = int((uniform(rng, 0.7, 5) if chance(rng, 0.85) else 0) * px)
    return margin, margin


def draw_patch(rng: np.random.Generator, symbol: Symbol, px: int) -> Decal:
    """Return a symbol on its own piece of paper or its own printed field, maybe framed."""
    coverage, mark = paint_symbol(
        rng, symbol, px, quiet=quiet_margins(rng, symbol, px), text=chance(rng, 0.65)
    )
    if chance(rng, 0.12):
        t = max(1, int(px * uniform(rng, 0.3, 1.5)))
        gap = max(int(px * uniform(rng, 1, 3)), 1) + t
        coverage = pad(coverage, gap, gap, gap, gap)
        cv2.rectangle(coverage, (0, 0), (coverage.shape[1] - 1, coverage.shape[0] - 1), 255, t)
        x0, y0, x1, y1 = mark.rect
        mark = Mark(category=mark.category, rect=(x0 + gap, y0 + gap, x1 + gap, y1 + gap))
    ink, paper = _ink_and_paper(rng)
    rgb = blend(coverage, ink, paper)
    if symbol.name == "qrcode" and len(symbol.pattern) >= 25 and chance(rng, 0.2):
        _logo(rng, rgb, mark.rect)
    return opaque(rgb, [mark])


def blend(coverage: Pixels, ink: Colour, paper: Colour) -> Pixels:
    """Return RGB pixels: ``paper`` where coverage is 0, ``ink`` where it is 255."""
    t = np.arange(256)[:, None] / 255.0
    table = (np.array(paper)[None, :] * (1 - t) + np.array(ink)[None, :] * t).astype(np.uint8)[None]
    result: Pixels = cv2.LUT(cv2.merge([coverage, coverage, coverage]), table)
    return result


def _logo(rng: np.random.Generator, rgb: Pixels, rect: Rect) -> None:
    x0, y0, x1, y1 = rect
    half = (x1 - x0) * uniform(rng, 0.08, 0.15)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    a, b = (int(cx - half), int(cy - half)), (int(cx + half), int(cy + half))
    back = random_colour(rng, 200, 255, 0.3) if chance(rng, 0.7) else random_colour(rng)
    cv2.rectangle(rgb, a, b, back, -1)
    cv2.circle(
        rgb,
        (int(cx), int(cy)),
        max(int(half * uniform(rng, 0.4, 0.9)), 1),
        random_colour(rng),
        -1,
        cv2.LINE_AA,
    )


def draw_print(rng: np.random.Generator, symbol: Symbol, px: int, under: float) -> Decal:
    """Return ink printed straight on the surface whose mean grey (0..255) is ``under``."""
    margins = (px, px)
    coverage, mark = paint_symbol(rng, symbol, px, quiet=margins, text=chance(rng, 0.5))
    if under < 70 or (under < 130 and chance(rng, 0.5)):
        colour = random_colour(rng, max(under + 70, 150), 255, 0.6)
    else:
        colour = random_colour(rng, 0, min(under - 60, 80), 0.8)
    return from_coverage(coverage, colour, uniform(rng, 0.55, 1.0), [mark])


def draw_direct(rng: np.random.Generator, symbol: Symbol, px: int, under: float) -> Decal:
    """Return a direct part mark: peened, engraved, laser-etched or inkjet dots on the bare surface."""
    # A dot stands for one square module, so tall bars become as many rows of modules.
    pattern = np.repeat(symbol.pattern, np.rint(symbol.row_heights).astype(np.int64), axis=0)
    if chance(rng, 0.08):
        pattern = ~pattern
    ones = np.ones(len(pattern))
    plain = Symbol(category=symbol.category, name=symbol.name, pattern=pattern, row_heights=ones, text="")
    height, width = pattern.shape[0] * px, pattern.shape[1] * px
    m = px
    mark = Mark(category=symbol.category, rect=(m, m, m + width, m + height))
    kind = rng.random() if symbol.category == DATAMATRIX else 0.5 + 0.5 * float(rng.random())
    if kind < 0.42:
        relief = render_peened(rng, pattern, px)
        return from_relief(np.pad(relief, m), uniform(rng, 0.4, 1.0), [mark])
    if kind < 0.56:
        coverage = render_squares(plain, px) if chance(rng, 0.5) else _round(rng, plain, px)
        relief = render_engraved(rng, pad(coverage, m, m, m, m), px)
        return from_relief(relief, uniform(rng, 0.45, 1.0), [mark])
    if kind < 0.86:
        coverage = _etched(rng, plain, px)
        if chance(rng, 0.35):
            coverage = wear(rng, coverage)
        bright = chance(rng, 0.75) if under < 110 else chance(rng, 0.3)
        grey = uniform(rng, max(under + 40, 150), 255) if bright else uniform(rng, 0, max(under - 45, 25))
        warm = uniform(rng, -10, 18)
        colour = (min(grey + warm, 255), grey, max(grey - warm, 0))
        return from_coverage(pad(coverage, m, m, m, m), colour, uniform(rng, 0.35, 1.0), [mark])
    coverage = render_dots(rng, pattern, px, radius=uniform(rng, 0.36, 0.62), jitter=uniform(rng, 0.01, 0.09))
    if chance(rng, 0.3):
        coverage = wear(rng, coverage)
    dark = under > 90 or chance(rng, 0.2)
    colour = random_colour(rng, 0, 60, 0.5) if dark else random_colour(rng, 170, 255, 0.4)
    return from_coverage(pad(coverage, m, m, m, m), colour, uniform(rng, 0.6, 1.0), [mark])


def _round(rng: np.random.Generator, symbol: Symbol, px: int) -> Pixels:
    return render_dots(rng, symbol.pattern, px, radius=uniform(rng, 0.35, 0.5), jitter=0.04)


def _etched(rng: np.random.Generator, symbol: Symbol, px: int) -> Pixels:
    """Return laser-filled modules: hatch lines, ragged edges, uneven depth."""
    coverage = render_squares(symbol, px) if chance(rng, 0.6) else _round(rng, symbol, px)
    if px >= 4 and chance(rng, 0.5):
        coverage = bleed(coverage, px, uniform(rng, -0.2, 0.2))
    height, width = coverage.shape
    side = max(height, width)
    rough = patch_noise(rng, side, side // 2, side // 2)[:height, :width]
    depth = int(uniform(rng, 20, 170))
    keep = cv2.LUT(rough, (255 - (255 - np.arange(256)) * depth // 255).astype(np.uint8))
    out: Pixels = cv2.multiply(coverage, keep, scale=1 / 255)
    if px >= 5 and chance(rng, 0.4):
        out[:: int(rng.integers(2, 4))] //= 2
    return out
