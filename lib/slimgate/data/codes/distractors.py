"""Things that look like codes and are not; none of them is labelled.

Symbols of other symbologies (Aztec, PDF417, DotCode, postal bars) are among them on purpose: they
are codes, but not of the three classes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from slimgate.data.codes.clutter import paragraph, stamp
from slimgate.data.codes.decals import Decal, blend, from_coverage, opaque, pad
from slimgate.data.codes.ink import render_dots, render_gapped
from slimgate.data.codes.noise import Pixels, chance, random_colour, uniform
from slimgate.data.codes.symbols import pattern_of
from slimgate.data.codes.text import random_words, text_mask


def _finish(rng: np.random.Generator, coverage: Pixels) -> Decal:
    """Return the coverage as ink on paper, light on dark, or ink alone."""
    margin = int(rng.integers(0, 20))
    coverage = pad(coverage, margin, margin, margin, margin)
    if chance(rng, 0.25):
        return from_coverage(coverage, random_colour(rng), uniform(rng, 0.5, 1))
    ink, paper = random_colour(rng, 0, 100, 0.6), random_colour(rng, 150, 255, 0.6)
    if chance(rng, 0.25):
        ink, paper = paper, ink
    return opaque(blend(coverage, ink, paper))


def _cells(rng: np.random.Generator) -> Decal:
    """Random cells without any finder: crossword-like, noise-like, or sparse."""
    rows, columns = (int(v) for v in rng.integers(5, 22, 2))
    pattern = rng.random((rows, columns)) < uniform(rng, 0.15, 0.6)
    pattern[-1, :] = rng.random(columns) < 0.4
    pattern[:, 0] = rng.random(rows) < 0.4
    px = int(rng.integers(6, 16))
    coverage = np.repeat(np.repeat(pattern, px, 0), px, 1).astype(np.uint8) * np.uint8(255)
    if chance(rng, 0.4):
        coverage[::px] = 255
        coverage[:, ::px] = 255
    return _finish(rng, coverage)


def _checkerboard(rng: np.random.Generator) -> Decal:
    rows, columns = (int(v) for v in rng.integers(2, 14, 2))
    pattern = np.add.outer(np.arange(rows), np.arange(columns)) % 2
    px = int(rng.integers(6, 30))
    return _finish(rng, np.repeat(np.repeat(pattern, px, 0), px, 1).astype(np.uint8) * np.uint8(255))


def _grating(rng: np.random.Generator) -> Decal:
    """Even stripes: vents, fences, combs, rulers, radiators."""
    pitch, count = int(rng.integers(4, 26)), int(rng.integers(5, 30))
    height = int(uniform(rng, 0.1, 1.2) * pitch * count) + 8
    coverage = np.zeros((height, pitch * count), np.uint8)
    bar = max(1, int(pitch * uniform(rng, 0.2, 0.8)))
    ruler = chance(rng, 0.3)
    for k in range(count):
        reach = height if not ruler else height // (1 if k % 10 == 0 else 2 if k % 5 == 0 else 3)
        coverage[:reach, k * pitch : k * pitch + bar] = 255
    return _finish(rng, coverage)


def _type(rng: np.random.Generator) -> Decal:
    rgb = np.empty((int(rng.integers(60, 260)), int(rng.integers(120, 400)), 3), np.uint8)
    rgb[:] = np.array(random_colour(rng, 120, 255, 0.5), np.uint8)
    ink = random_colour(rng, 0, 90, 0.6)
    if chance(rng, 0.5):
        paragraph(rng, rgb, 6, 6, ink)
    else:
        for line in range(int(rng.integers(1, 5))):
            mask = text_mask(
                random_words(rng, 2), int(rng.integers(16, 60)), weight=int(rng.integers(400, 900))
            )
            stamp(rgb, mask, 6, 6 + line * mask.shape[0], ink)
    return opaque(rgb)


def _table(rng: np.random.Generator) -> Decal:
    rows, columns = int(rng.integers(3, 10)), int(rng.integers(2, 7))
    h, w = int(rng.integers(16, 34)), int(rng.integers(30, 90))
    rgb = np.empty((rows * h + 2, columns * w + 2, 3), np.uint8)
    rgb[:] = np.array(random_colour(rng, 180, 255, 0.3), np.uint8)
    ink = random_colour(rng, 0, 80, 0.5)
    for row in range(rows):
        for column in range(columns):
            cv2.rectangle(rgb, (column * w, row * h), (column * w + w, row * h + h), ink, 1)
            if chance(rng, 0.8):
                stamp(rgb, text_mask(random_words(rng, 1), h // 2), column * w + 3, row * h + h // 4, ink)
    return opaque(rgb)


def _other_symbology(rng: np.random.Generator) -> Decal:
    names = ("AZTEC", "PDF417", "PDF417", "MICROPDF417", "DOTCODE", "USPS_IMAIL", "KIX", "CODABLOCKF")
    name = names[int(rng.integers(0, len(names)))]
    pattern = pattern_of(rng, name)
    px = int(rng.integers(3, 8))
    if name == "DOTCODE":
        return _finish(rng, render_dots(rng, pattern, px, radius=0.45, jitter=0.0))
    tall = {"AZTEC": 1, "USPS_IMAIL": 3, "KIX": 3, "CODABLOCKF": 10}.get(name, 3)
    return _finish(rng, np.repeat(np.repeat(pattern, px * tall, 0), px, 1).astype(np.uint8) * np.uint8(255))


def _squares(rng: np.random.Generator) -> Decal:
    """Nested squares, alone, as icons, buttons and registration marks."""
    px = int(rng.integers(5, 20))
    coverage = np.zeros((7 * px, 7 * px), np.uint8)
    coverage[:] = 255
    coverage[px : 6 * px, px : 6 * px] = 0
    if chance(rng, 0.7):
        coverage[2 * px : 5 * px, 2 * px : 5 * px] = 255
    return _finish(rng, coverage)


def _dots(rng: np.random.Generator) -> Decal:
    """Perforated sheet, speaker grille, breadboard."""
    rows, columns = (int(v) for v in rng.integers(4, 26, 2))
    px = int(rng.integers(6, 16))
    pattern = np.ones((rows, columns), dtype=bool)
    if chance(rng, 0.3):
        pattern = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0
    return _finish(rng, render_dots(rng, pattern, px, radius=uniform(rng, 0.2, 0.46), jitter=0.0))


def _chip(rng: np.random.Generator) -> Decal:
    """Return an integrated circuit with pins and a printed type."""
    pins, pitch = int(rng.integers(4, 22)), int(rng.integers(6, 14))
    length = pins * pitch
    body_h = length if chance(rng, 0.5) else int(length * uniform(rng, 0.3, 0.6))
    pin = int(pitch * uniform(rng, 0.8, 2))
    rgba = np.zeros((body_h + 2 * pin, length + 2 * pin, 4), np.uint8)
    metal = int(rng.integers(150, 240))
    for k in range(pins):
        x = pin + k * pitch + pitch // 4
        rgba[:, x : x + pitch // 2] = (metal, metal, metal, 255)
    if body_h == length:
        for k in range(pins):
            y = pin + k * pitch + pitch // 4
            rgba[y : y + pitch // 2] = (metal, metal, metal, 255)
        for corner in (np.s_[:pin, :pin], np.s_[:pin, -pin:], np.s_[-pin:, :pin], np.s_[-pin:, -pin:]):
            rgba[corner] = 0
    body = int(rng.integers(15, 70))
    rgba[pin:-pin, pin:-pin] = (body, body, body, 255)
    rgb = np.ascontiguousarray(rgba[:, :, :3])
    for line in range(int(rng.integers(1, 4))):
        mask = text_mask(random_words(rng, 1), max(body_h // 6, 6))
        stamp(rgb, mask[:, : max(length - 12, 4)], pin + 6, pin + 4 + line * mask.shape[0], (170, 170, 170))
    rgba[pin:-pin, pin:-pin, :3] = rgb[pin:-pin, pin:-pin]
    return Decal(rgba=rgba)


def _keys(rng: np.random.Generator) -> Decal:
    """Keyboard, windows of a house, tiles, shelves."""
    rows, columns = int(rng.integers(2, 8)), int(rng.integers(3, 16))
    px = int(rng.integers(16, 36))
    coverage = render_gapped(rng, np.ones((rows, columns), dtype=bool), px, side=uniform(rng, 0.6, 0.92))
    out = _finish(rng, coverage)
    if chance(rng, 0.6):
        rgb = np.ascontiguousarray(out.rgba[:, :, :3])
        letter = random_colour(rng)
        for k in range(rows * columns):
            mask = text_mask(chr(65 + int(rng.integers(0, 26))), px // 2)
            stamp(rgb, mask, (k % columns) * px + px // 3, (k // columns) * px + px // 4, letter)
        out.rgba[:, :, :3] = np.minimum(rgb, out.rgba[:, :, 3:])
    return out


_DISTRACTORS: dict[str, tuple[float, Callable[[np.random.Generator], Decal]]] = {
    "cells": (0.06, _cells),
    "checkerboard": (0.06, _checkerboard),
    "grating": (0.14, _grating),
    "type": (0.20, _type),
    "table": (0.10, _table),
    "other-symbology": (0.10, _other_symbology),
    "squares": (0.07, _squares),
    "dots": (0.09, _dots),
    "chip": (0.08, _chip),
    "keys": (0.10, _keys),
}


def draw_distractor(rng: np.random.Generator) -> Decal:
    """Return one drawing that no detector should report."""
    shares = np.cumsum([share for share, _ in _DISTRACTORS.values()])
    kinds = list(_DISTRACTORS)
    kind = kinds[min(int(np.searchsorted(shares, rng.random() * shares[-1])), len(kinds) - 1)]
    return _DISTRACTORS[kind][1](rng)
