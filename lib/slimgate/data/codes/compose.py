"""What a scene shows: which symbols, how they are made, how large, and how they are turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimgate.data.codes.decals import Decal, draw_direct, draw_patch, draw_print
from slimgate.data.codes.geometry import Warp, view_homography
from slimgate.data.codes.labels import draw_label, draw_sheet
from slimgate.data.codes.noise import chance, log_uniform, uniform
from slimgate.data.codes.stage import shrink
from slimgate.data.codes.symbols import (
    BARCODE,
    DATAMATRIX,
    QRCODE,
    Symbol,
    draw_barcode,
    draw_datamatrix,
    draw_qrcode,
)

# The least canvas pixels a module: below, modules vanish and only texture is left.
_FINEST = {DATAMATRIX: 1.7, QRCODE: 2.0, BARCODE: 1.1}
_LONG_SIDE = {DATAMATRIX: (24.0, 600.0), QRCODE: (28.0, 640.0), BARCODE: (60.0, 760.0)}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to place: its symbols and its scale.

    Attributes:
        category: the class of its main symbol, -1 for a distractor.
        span: the main symbol's long side in canvas pixels.
        module: canvas pixels a module.
        symbols: the symbols on it.
        kind: how they are made: ``patch``, ``print``, ``direct``, ``label`` or ``sheet``.
        thin: a long thin 1-D code.
    """

    category: int
    span: float
    module: float
    symbols: tuple[Symbol, ...] = ()
    kind: str = "patch"
    thin: bool = False

    @property
    def is_sheet(self) -> bool:
        """Return whether the item is a sheet of many symbols."""
        return self.kind == "sheet"

    @classmethod
    def draw(cls, rng: np.random.Generator, *, surface: str, count: int, sheet: bool, hard: bool) -> Item:
        """Return a random item that suits the surface and the number of things in the scene."""
        category = BARCODE if hard else _draw_category(rng, surface)
        thin = category == BARCODE and (chance(rng, 0.75) if hard else chance(rng, 0.14))
        symbols = [_draw_symbol(rng, category, thin=thin)]
        kind = "sheet" if sheet else _draw_kind(rng, category, surface)
        if kind == "label" and chance(rng, 0.4):
            symbols += [_draw_symbol(rng, int(rng.integers(0, 3))) for _ in range(int(rng.integers(1, 3)))]
        if kind == "sheet" and chance(rng, 0.6):
            symbols += [_draw_symbol(rng, category) for _ in range(3)]
        long_side = max(symbols[0].size)
        low, high = _LONG_SIDE[category]
        if count > 1 or sheet:
            high = high / (1.6 if count < 4 and not sheet else 3)
        low = max(low, long_side * _FINEST[category])
        if hard:
            high = min(high, 420.0)
        if chance(rng, 0.4) and not sheet:
            low = max(low, min(90.0, high * 0.6))  # close-ups: what a phone is held up to
        span = log_uniform(rng, low, max(high, low * 1.15))
        return cls(
            category=category,
            span=span,
            module=span / long_side,
            symbols=tuple(symbols),
            kind=kind,
            thin=thin,
        )


def _draw_category(rng: np.random.Generator, surface: str) -> int:
    share = rng.random()
    first, second = {"metal": (0.70, 0.82), "circuit": (0.62, 0.82)}.get(surface, (0.30, 0.63))
    return DATAMATRIX if share < first else QRCODE if share < second else BARCODE


def _draw_symbol(rng: np.random.Generator, category: int, *, thin: bool = False) -> Symbol:
    if category == DATAMATRIX:
        return draw_datamatrix(rng)
    if category == QRCODE:
        return draw_qrcode(rng)
    return draw_barcode(rng, thin=thin)


def _draw_kind(rng: np.random.Generator, category: int, surface: str) -> str:
    share = rng.random()
    if surface == "metal":
        bare = 0.78 if category == DATAMATRIX else 0.4
    elif surface in ("circuit", "plastic", "concrete"):
        bare = 0.42 if category == DATAMATRIX else 0.12
    else:
        bare = 0.15 if category == DATAMATRIX else 0.03
    if share < bare:
        return "direct"
    rest = (share - bare) / (1 - bare)
    return "patch" if rest < 0.42 else "print" if rest < 0.62 else "label"


def draw_item(rng: np.random.Generator, item: Item, *, under: float) -> tuple[Decal, float]:
    """Return the item's drawing and its scale, canvas pixels a drawing pixel.

    Args:
        rng: the scene's generator.
        item: what to draw.
        under: mean grey 0..255 of the canvas where it will lie.
    """
    main = item.symbols[0]
    least = 2 if item.category == BARCODE else 4
    if item.kind == "direct":
        least = 6
    px = int(np.clip(np.ceil(item.module), least, 14))
    if item.kind == "sheet":
        columns, rows = (int(v) for v in rng.integers(2, 7, 2))
        decal = draw_sheet(rng, list(item.symbols), px, columns, rows)
    elif item.kind == "label":
        decal = draw_label(rng, list(item.symbols), px)
    elif item.kind == "direct":
        decal = draw_direct(rng, main, px, under)
    elif item.kind == "print":
        decal = draw_print(rng, main, px, under)
    else:
        decal = draw_patch(rng, main, px)
    scale = item.module / px
    if scale < 0.8:
        return shrink(decal, scale), 1.0
    return decal, scale


def random_warp(
    rng: np.random.Generator, decal: Decal, *, scale: float, centre: tuple[float, float], item: Item
) -> tuple[Warp, npt.NDArray[np.float32] | None]:
    """Return how the decal is seen, and the shading per drawing column of a curved one.

    The centre of the main symbol, not of the drawing, lands on ``centre``.
    """
    height, width = decal.rgba.shape[:2]
    roll = uniform(rng, -0.14, 0.14)
    if chance(rng, 0.3):
        roll += 1.5707963 * int(rng.integers(0, 4))
    elif chance(rng, 0.5):
        roll = uniform(rng, 0, 6.2831853)
    steep = 0.25 if chance(rng, 0.5) else 0.78
    tilt = (uniform(rng, -steep, steep), uniform(rng, -steep, steep))
    reach = max(width, height) * scale
    distance = reach * uniform(rng, 1.3, 4) + 60
    bend, tip, upright = 0.0, 0.0, True
    shade = None
    if chance(rng, 0.22) and item.kind != "sheet":
        bend, tip, upright = uniform(rng, 0.25, 1.15), uniform(rng, -0.35, 0.35), chance(rng, 0.75)
        if upright:
            theta = (np.arange(width) + 0.5 - width / 2) / (width / 2) * bend
            shine = np.cos(theta - uniform(rng, -0.6, 0.6))
            depth = uniform(rng, 0.2, 1)
            shade = np.clip(1 - depth * (1 - shine), 0.15, 1).astype(np.float32)[None, :, None]
    waves = np.zeros((0, 5))
    if chance(rng, 0.14):
        count = int(rng.integers(1, 4))
        # The slope of each wave stays below 0.3, so that the map can be inverted.
        frequency = np.array([log_uniform(rng, 3, 20) / max(width, height) for _ in range(count)])
        slope = np.array([uniform(rng, 0.04, 0.3 / count) for _ in range(count)])
        angle = rng.random(count) * 6.2831853
        waves = np.stack(
            [
                slope / frequency,
                frequency * np.cos(angle),
                frequency * np.sin(angle),
                rng.random(count) * 6.2831853,
                rng.random(count) * 6.2831853,
            ],
            axis=1,
        )
    homography = view_homography(scale=scale, centre=centre, roll=roll, tilt=tilt, distance=distance)
    warp = Warp(
        size=(width, height), homography=homography, bend=bend, tip=tip, ripple=waves, upright=upright
    )
    if decal.marks:
        x0, y0, x1, y1 = decal.marks[0].rect
        lands = warp.forward(np.array([[(x0 + x1) / 2, (y0 + y1) / 2]]))[0]
        shift = np.array([[1.0, 0, centre[0] - lands[0]], [0, 1, centre[1] - lands[1]], [0, 0, 1]])
        moved = np.stack(
            [
                homography[0] + shift[0, 2] * homography[2],
                homography[1] + shift[1, 2] * homography[2],
                homography[2],
            ]
        )
        warp = Warp(size=(width, height), homography=moved, bend=bend, tip=tip, ripple=waves, upright=upright)
    return warp, shade
