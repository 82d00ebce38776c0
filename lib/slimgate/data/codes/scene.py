"""One scene: a surface, things on it, symbols on those, a camera; the picture and its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.clutter import blob
from slimgate.data.codes.compose import Item, draw_item, random_warp
from slimgate.data.codes.decals import Decal
from slimgate.data.codes.degrade import View, photograph
from slimgate.data.codes.distractors import draw_distractor
from slimgate.data.codes.noise import Pixels, chance, log_uniform, random_colour, uniform
from slimgate.data.codes.stage import Stage, shrink
from slimgate.data.codes.surfaces import draw_surface

IMAGE_SIZE = 320
_OVERSAMPLE = 2
_LETTERBOX_GREY = 114
_LEAST_SHARE = 0.45  # of a symbol's area inside the picture
_LEAST_LONG, _LEAST_SHORT = 9.0, 4.5  # picture pixels of a labelled box


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        pixels: (320, 320, 3) RGB.
        boxes: (n, 4) xyxy in picture pixels, continuous (pixel k covers [k, k + 1)).
        categories: (n,) indices into ``CLASS_NAMES``.
    """

    pixels: Pixels
    boxes: npt.NDArray[np.float64]
    categories: npt.NDArray[np.int64]


def _window(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    """Return the part of the canvas that the picture shows: all of it, or a letterboxed 4:3, 3:2 or 16:9."""
    if not chance(rng, 0.22):
        return 0, 0, size, size
    share = (0.75, 0.75, 0.667, 0.5625)[int(rng.integers(0, 4))]
    edge = int(size * (1 - share) / 2) // 4 * 4
    return (0, edge, size, size - edge) if chance(rng, 0.5) else (edge, 0, size - edge, size)


def _plan(rng: np.random.Generator, hard: bool) -> tuple[int, bool]:
    """Return how many things to try to place, and whether they are sheets."""
    if hard:
        return int(rng.integers(1, 5)), False
    kind = rng.random()
    if kind < 0.09:
        return 0, False
    if kind < 0.52:
        return 1, False
    if kind < 0.84:
        return int(rng.integers(2, 6)), False
    if kind < 0.91:
        return 1, True
    return int(rng.integers(5, 12)), False


def _place(rng: np.random.Generator, stage: Stage, item: Item) -> bool:
    """Try to put one item on the stage; return whether it found a place."""
    x0, y0, x1, y1 = stage.window
    may_be_cut = chance(rng, 0.16) or item.is_sheet or item.span > 0.9 * min(x1 - x0, y1 - y0)
    drawn: tuple[Decal, float] | None = None
    for _ in range(8):
        reach = 0.0 if may_be_cut else min(item.span / 2, min(x1 - x0, y1 - y0) * 0.4)
        centre = uniform(rng, x0 + reach, x1 - reach), uniform(rng, y0 + reach, y1 - reach)
        if drawn is None or item.kind in ("print", "direct"):
            drawn = draw_item(rng, item, under=stage.grey_at(*centre, max(item.span / 2, 8)))
        decal, scale = drawn
        warp, shade = random_warp(rng, decal, scale=scale, centre=centre, item=item)
        found = stage.outlines(decal, warp)
        floor = 0.0 if item.is_sheet else _LEAST_SHARE if may_be_cut else 0.97
        if any(share < floor for *_, share in found) or not stage.is_free(decal, warp):
            continue
        kept = [entry for entry in found if entry[3] >= _LEAST_SHARE and _is_large_enough(entry[2])]
        if not kept or (not item.is_sheet and len(kept) < len(found)):
            continue
        if not stage.paint(decal, warp, shade, seen=[visible for *_, visible, _ in kept]):
            continue
        for mark, polygon, visible, _ in kept:
            stage.keep(mark, polygon, visible, item.module)
        return True
    return False


def _is_large_enough(visible: npt.NDArray[np.float64]) -> bool:
    sides = (visible.max(axis=0) - visible.min(axis=0)) / _OVERSAMPLE
    return bool(sides.max() >= _LEAST_LONG and sides.min() >= _LEAST_SHORT)


def _distract(rng: np.random.Generator, stage: Stage, count: int) -> None:
    size = stage.pixels.shape[0]
    for _ in range(count):
        decal = draw_distractor(rng)
        side = max(decal.rgba.shape[:2])
        scale = log_uniform(rng, 50, 420) / side
        item = Item(category=-1, span=side * scale, module=9.0)
        if scale < 0.75:
            decal, scale = shrink(decal, scale), 1.0
        centre = uniform(rng, 0, size), uniform(rng, 0, size)
        warp, shade = random_warp(rng, decal, scale=scale, centre=centre, item=item)
        if stage.is_free(decal, warp):
            stage.paint(decal, warp, shade)


def _occlude(rng: np.random.Generator, stage: Stage) -> None:
    """Put fingers, straps and edges of other things over the picture, over at most a third of a symbol."""
    size = stage.pixels.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        mask = np.zeros((size, size), np.uint8)
        if chance(rng, 0.5):
            edge, along = int(rng.integers(0, 4)), uniform(rng, 0, size)
            depth, width = log_uniform(rng, 40, 260), int(log_uniform(rng, 30, 110))
            start = ((along, 0.0), (along, float(size)), (0.0, along), (float(size), along))[edge]
            lean = uniform(rng, -0.6, 0.6) * depth
            tip = (
                (along + lean, depth),
                (along + lean, size - depth),
                (depth, along + lean),
                (size - depth, along + lean),
            )[edge]
            cv2.line(
                mask, (int(start[0]), int(start[1])), (int(tip[0]), int(tip[1])), 255, width, cv2.LINE_AA
            )
            base = uniform(rng, 60, 230)
            colour = (base, base * uniform(rng, 0.65, 0.85), base * uniform(rng, 0.5, 0.72))
        elif chance(rng, 0.5):
            ends = rng.integers(-50, size + 50, (2, 2))
            cv2.line(
                mask,
                tuple(int(v) for v in ends[0]),
                tuple(int(v) for v in ends[1]),
                255,
                int(log_uniform(rng, 3, 50)),
                cv2.LINE_AA,
            )
            colour = random_colour(rng)
        else:
            x, y = (float(v) for v in rng.integers(0, size, 2))
            cv2.fillPoly(mask, [blob(rng, x, y, log_uniform(rng, 30, 160))], 255, cv2.LINE_AA)
            colour = random_colour(rng)
        if stage.hides(mask) > 0.33:
            continue
        rx, ry, rw, rh = cv2.boundingRect(mask)
        if rw == 0 or rh == 0:
            continue
        roi, mask = stage.pixels[ry : ry + rh, rx : rx + rw], mask[ry : ry + rh, rx : rx + rw]
        body = (mask >> 1) + (cv2.blur(mask, (31, 31)) >> 1)
        weight = (mask.astype(np.float32) * np.float32(1 / 255))[:, :, None]
        shaded = np.array(colour, np.float32) * (body.astype(np.float32) * np.float32(1 / 255))[:, :, None]
        roi[:] = (roi + (shaded - roi) * weight).astype(np.uint8)


def render_scene(rng: np.random.Generator, *, hard: bool = False) -> Scene:
    """Return one scene; ``hard`` fills it with long, thin, small and cut 1-D codes first of all."""
    size = IMAGE_SIZE * _OVERSAMPLE
    surface, pixels = draw_surface(rng, size)
    stage = Stage(np.ascontiguousarray(pixels), _window(rng, size))
    count, sheets = _plan(rng, hard)
    _distract(
        rng,
        stage,
        int(rng.integers(1, 8)) if count == 0 else int(rng.integers(0, 4)) if chance(rng, 0.5) else 0,
    )
    for k in range(count):
        item = Item.draw(rng, surface=surface, count=count, sheet=sheets, hard=hard and k % 3 != 2)
        _place(rng, stage, item)
    if chance(rng, 0.18):
        _distract(rng, stage, 1)
    if chance(rng, 0.14):
        _occlude(rng, stage)
    return _shoot(rng, stage, metal=surface == "metal")


def _shoot(rng: np.random.Generator, stage: Stage, *, metal: bool) -> Scene:
    small = cv2.resize(stage.pixels, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    if chance(rng, 0.06):
        small = np.ascontiguousarray(stage.pixels[::_OVERSAMPLE, ::_OVERSAMPLE])
    boxes = (
        np.array(
            [[*p.visible.min(axis=0), *p.visible.max(axis=0)] for p in stage.placed], np.float64
        ).reshape(-1, 4)
        / _OVERSAMPLE
    )
    view = View(
        finest_module=min([p.module / _OVERSAMPLE for p in stage.placed], default=np.inf),
        boxes=boxes,
        metal=metal,
    )
    picture = photograph(rng, small, view)
    x0, y0, x1, y1 = (v // _OVERSAMPLE for v in stage.window)
    framed = np.full_like(picture, _LETTERBOX_GREY)
    framed[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
    categories = np.array([p.category for p in stage.placed], np.int64)
    return Scene(pixels=framed, boxes=boxes, categories=categories)
