"""Larger drawings around symbols: shipping labels, product panels, sheets of many codes, screens."""

from __future__ import annotations

import cv2
import numpy as np

from slimgate.data.codes.clutter import stamp
from slimgate.data.codes.decals import Decal, Mark, blend, opaque, paint_symbol, quiet_margins
from slimgate.data.codes.noise import Colour, Pixels, chance, ramp, random_colour, tint, uniform
from slimgate.data.codes.symbols import Symbol
from slimgate.data.codes.text import random_words, text_mask


def _moved(mark: Mark, x: int, y: int) -> Mark:
    x0, y0, x1, y1 = mark.rect
    return Mark(category=mark.category, rect=(x0 + x, y0 + y, x1 + x, y1 + y))


def _ground(rng: np.random.Generator, width: int, height: int) -> tuple[Pixels, Colour, bool]:
    """Return a label's ground, its ink, and whether symbols need a field of their own."""
    rgb = np.empty((height, width, 3), np.uint8)
    kind = rng.random()
    if kind < 0.55:
        rgb[:] = np.array(random_colour(rng, 195, 255, 0.25), np.uint8)
        return rgb, random_colour(rng, 0, 50, 0.4), False
    if kind < 0.75:
        rgb[:] = np.array(random_colour(rng, 130, 255, 1), np.uint8)
        return rgb, random_colour(rng, 0, 60, 0.6), chance(rng, 0.3)
    ground = tint(ramp(rng, 128), random_colour(rng), random_colour(rng))
    return (
        cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR_EXACT),
        random_colour(rng, 0, 40),
        True,
    )


def _fill_with_type(rng: np.random.Generator, rgb: Pixels, ink: Colour, unit: int) -> None:
    height, width = rgb.shape[:2]
    for _ in range(int(rng.integers(1, 7))):
        size = int(max(unit * uniform(rng, 2.5, 9), 6))
        x, y = int(rng.integers(-10, max(width - 10, 1))), int(rng.integers(0, max(height, 1)))
        mask = text_mask(random_words(rng, int(rng.integers(1, 4))), size, weight=int(rng.integers(300, 850)))
        if chance(rng, 0.1):
            mask = np.ascontiguousarray(mask.T[::-1])
        colour = ink if chance(rng, 0.7) else random_colour(rng)
        for line in range(int(rng.integers(1, 5))):
            stamp(rgb, mask, x, y + int(line * size * 1.35), colour)
            mask = text_mask(random_words(rng, int(rng.integers(1, 5))), size)


def _furnish(rng: np.random.Generator, rgb: Pixels, ink: Colour, unit: int) -> None:
    height, width = rgb.shape[:2]
    _fill_with_type(rng, rgb, ink, unit)
    t = max(1, unit // 2)
    if chance(rng, 0.4):
        cv2.rectangle(rgb, (t, t), (width - 1 - t, height - 1 - t), ink, t)
    for _ in range(int(rng.integers(0, 4))):
        if chance(rng, 0.5):
            y = int(rng.integers(0, height))
            cv2.line(rgb, (0, y), (width, y), ink, t)
        else:
            x = int(rng.integers(0, width))
            cv2.line(rgb, (x, 0), (x, height), ink, t)
    if chance(rng, 0.4):
        r = int(unit * uniform(rng, 3, 12))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(rgb, (x, y), r, random_colour(rng), -1, cv2.LINE_AA)
        cv2.circle(rgb, (x, y), max(r // 2, 1), random_colour(rng), -1, cv2.LINE_AA)
    if chance(rng, 0.25):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.rectangle(
            rgb, (x, y), (x + int(unit * uniform(rng, 5, 40)), y + int(unit * uniform(rng, 3, 14))), ink, -1
        )


def draw_label(rng: np.random.Generator, symbols: list[Symbol], px: int) -> Decal:
    """Return a label or product panel that carries the symbols, type, rules and logos."""
    parts = []
    for symbol in symbols:
        margins = quiet_margins(rng, symbol, px)
        parts.append(paint_symbol(rng, symbol, px, quiet=margins, text=chance(rng, 0.75)))
    stacked = chance(rng, 0.5)
    widths, heights = [c.shape[1] for c, _ in parts], [c.shape[0] for c, _ in parts]
    gap = int(px * uniform(rng, 1, 10))
    inner_w = max(widths) if stacked else sum(widths) + gap * (len(parts) - 1)
    inner_h = sum(heights) + gap * (len(parts) - 1) if stacked else max(heights)
    room = [int(uniform(rng, 0.02, 0.8) * min(max(inner_w, inner_h), 500)) for _ in range(4)]
    width, height = inner_w + room[0] + room[2], inner_h + room[1] + room[3]
    rgb, ink, needs_field = _ground(rng, width, height)
    _furnish(rng, rgb, ink, px)
    x, y = room[0], room[1]
    marks = []
    paper = tuple(float(v) for v in rgb[0, 0])
    if needs_field:
        paper, ink = random_colour(rng, 215, 255, 0.2), random_colour(rng, 0, 60, 0.5)
    for coverage, mark in parts:
        h, w = coverage.shape
        field = rgb[y : y + h, x : x + w]
        field[:] = blend(coverage, ink, (paper[0], paper[1], paper[2]))
        marks.append(_moved(mark, x, y))
        if stacked:
            y += h + gap
        else:
            x += w + gap
    return opaque(rgb, marks)


def draw_sheet(rng: np.random.Generator, symbols: list[Symbol], px: int, columns: int, rows: int) -> Decal:
    """Return a sheet of symbols in a regular grid, with or without captions, cut lines and gaps."""
    parts = [
        paint_symbol(
            rng,
            symbols[k % len(symbols)],
            px,
            quiet=quiet_margins(rng, symbols[0], px),
            text=chance(rng, 0.8),
        )
        for k in range(columns * rows)
    ]
    gap = int(px * uniform(rng, 0, 12))
    cell_w = max(c.shape[1] for c, _ in parts) + gap
    cell_h = max(c.shape[0] for c, _ in parts) + gap + (8 * px if chance(rng, 0.5) else 0)
    ink, paper = random_colour(rng, 0, 60, 0.4), random_colour(rng, 185, 255, 0.3)
    if chance(rng, 0.1):
        ink, paper = paper, ink
    rgb = np.empty((rows * cell_h + gap, columns * cell_w + gap, 3), np.uint8)
    rgb[:] = np.array(paper, np.uint8)
    lines, captions = chance(rng, 0.4), chance(rng, 0.5)
    missing = 0.15 if chance(rng, 0.3) else 0.0
    marks = []
    for k, (coverage, mark) in enumerate(parts):
        row, column = divmod(k, columns)
        x, y = gap + column * cell_w, gap + row * cell_h
        if chance(rng, missing):
            continue
        rgb[y : y + coverage.shape[0], x : x + coverage.shape[1]] = blend(coverage, ink, paper)
        marks.append(_moved(mark, x, y))
        if captions:
            mask = text_mask(random_words(rng, 1), max(4 * px, 5))
            below = y + coverage.shape[0]
            if below + mask.shape[0] < y + cell_h:
                stamp(rgb, mask, x, below, ink)
        if lines:
            cv2.rectangle(
                rgb, (x - gap // 2, y - gap // 2), (x - gap // 2 + cell_w, y - gap // 2 + cell_h), ink, 1
            )
    return opaque(rgb, marks)
