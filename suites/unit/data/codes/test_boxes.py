"""Boxes against pixels: what is painted and what is labelled must be the same thing."""

from __future__ import annotations

import numpy as np
import pytest
from slimgate.data.codes.compose import Item, random_warp
from slimgate.data.codes.decals import Decal, Mark, draw_direct, draw_patch, paint_symbol
from slimgate.data.codes.geometry import clip_polygon, outline, polygon_area
from slimgate.data.codes.scene import IMAGE_SIZE, render_scene
from slimgate.data.codes.stage import Stage
from slimgate.data.codes.symbols import draw_barcode, draw_datamatrix, draw_qrcode

CANVAS = 640


def _painted_box(decal: Decal, warp) -> np.ndarray:
    stage = Stage(np.zeros((CANVAS, CANVAS, 3), np.uint8), (0, 0, CANVAS, CANVAS))
    assert stage.paint(decal, warp, None)
    rows, columns = np.nonzero(stage.pixels[:, :, 0] > 127)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)


@pytest.mark.parametrize("seed", range(60))
def test_the_outline_bounds_the_painted_symbol_within_one_canvas_pixel(seed):
    rng = np.random.default_rng(seed)
    width, height = (int(v) for v in rng.integers(20, 200, 2))
    rgba = np.zeros((height + 40, width + 30, 4), np.uint8)
    rgba[10 : 10 + height, 20 : 20 + width] = 255
    mark = Mark(category=0, rect=(20, 10, 20 + width, 10 + height))
    decal = Decal(rgba=rgba, marks=[mark])
    item = Item(category=0, span=float(max(width, height)), module=4.0)
    warp, _ = random_warp(rng, decal, scale=1.0, centre=(CANVAS / 2, CANVAS / 2), item=item)
    points = clip_polygon(warp.forward(outline(mark.rect, steps=64)), CANVAS, CANVAS)
    expected = np.concatenate([points.min(axis=0), points.max(axis=0)])
    assert np.abs(_painted_box(decal, warp) - expected).max() <= 1.0


@pytest.mark.parametrize("draw", [draw_datamatrix, draw_qrcode, draw_barcode])
@pytest.mark.parametrize("seed", range(12))
def test_the_mark_is_the_symbol_without_quiet_zone_and_text(draw, seed):
    rng = np.random.default_rng(seed)
    symbol = draw(rng)
    px = 6
    coverage, mark = paint_symbol(rng, symbol, px, quiet=(24, 18), text=False)
    x0, y0, x1, y1 = mark.rect
    assert (x1 - x0, y1 - y0) == (symbol.size[0] * px, symbol.size[1] * px)
    inside = coverage[int(y0) : int(y1), int(x0) : int(x1)]
    assert int(coverage.astype(np.int64).sum()) == int(inside.astype(np.int64).sum())
    columns = np.nonzero(inside > 60)[1]
    slack = 3 * px  # worn print, gapped modules and light first columns
    assert columns.min() <= slack
    assert columns.max() >= inside.shape[1] - slack


@pytest.mark.parametrize("seed", range(20))
def test_direct_marks_of_tall_bars_reach_their_box(seed):
    rng = np.random.default_rng(seed)
    symbol = draw_barcode(rng)
    decal = draw_direct(rng, symbol, 6, 120.0)
    x0, y0, x1, y1 = (int(v) for v in decal.marks[0].rect)
    assert (x1 - x0, y1 - y0) == (symbol.size[0] * 6, symbol.size[1] * 6)
    rows = np.nonzero(decal.rgba[:, :, 3].max(axis=1) > 0)[0]
    assert y0 - 6 <= rows.min() <= y0 + 12
    assert rows.max() <= y1 + 6


def test_patches_keep_their_mark_inside_the_paper():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        decal = draw_patch(rng, draw_qrcode(rng), 4)
        height, width = decal.rgba.shape[:2]
        x0, y0, x1, y1 = decal.marks[0].rect
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_boxes_of_scenes_lie_in_the_picture_and_are_large_enough_to_see():
    for seed in range(25):
        scene = render_scene(np.random.default_rng([3, seed]))
        assert scene.pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert scene.pixels.dtype == np.uint8
        if not len(scene.boxes):
            continue
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        assert (scene.boxes >= -1e-9).all()
        assert (scene.boxes <= IMAGE_SIZE + 1e-9).all()
        assert (sides.min(axis=1) >= 4.5).all()
        assert (sides.max(axis=1) >= 9).all()


def test_clipping_cuts_at_the_border():
    square = np.array([[-10.0, 2], [6, 2], [6, 8], [-10, 8]])
    cut = clip_polygon(square, 20, 20)
    assert cut.min(axis=0).tolist() == [0, 2]
    assert cut.max(axis=0).tolist() == [6, 8]
    assert polygon_area(cut) == pytest.approx(36)
    assert len(clip_polygon(square - 100, 20, 20)) == 0
