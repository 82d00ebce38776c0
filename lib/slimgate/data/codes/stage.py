"""The canvas of one scene: decals are warped onto it, and the outlines of symbols are kept."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slimgate.data.codes.decals import Decal, Mark
from slimgate.data.codes.geometry import Points, Warp, clip_polygon, outline, polygon_area
from slimgate.data.codes.noise import Pixels

_LEAST_CONTRAST = 20.0  # grey levels, standard deviation over a symbol
_COARSE = 4  # canvas pixels a cell of the occupancy mask


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One symbol on the canvas: its category, its outline and the outline inside the window."""

    category: int
    polygon: Points
    visible: Points
    module: float


def shrink(decal: Decal, factor: float) -> Decal:
    """Return the decal reduced by area averaging, its marks scaled with it."""
    height, width = decal.rgba.shape[:2]
    new_w, new_h = max(round(width * factor), 1), max(round(height * factor), 1)
    sx, sy = new_w / width, new_h / height
    marks = [
        Mark(category=m.category, rect=(m.rect[0] * sx, m.rect[1] * sy, m.rect[2] * sx, m.rect[3] * sy))
        for m in decal.marks
    ]
    return Decal(rgba=cv2.resize(decal.rgba, (new_w, new_h), interpolation=cv2.INTER_AREA), marks=marks)


def over(base: Pixels, rgba: Pixels) -> Pixels:
    """Return premultiplied ``rgba`` (h, w, 4) laid over ``base`` (h, w, 3), in integer arithmetic."""
    rest = (np.uint8(255) - rgba[:, :, 3:]).astype(np.uint16)
    mixed = base * rest + np.uint16(128)
    mixed = (mixed + (mixed >> np.uint16(8))) >> np.uint16(8)
    result: Pixels = np.minimum(mixed + rgba[:, :, :3], 255).astype(np.uint8)
    return result


def _can_be_seen(before: Pixels, after: Pixels, polygon: Points) -> bool:
    """Return whether the marks inside an outline stand out from the texture they lie on."""
    height, width = after.shape[:2]
    x0, y0 = (int(v) for v in np.clip(np.floor(polygon.min(axis=0)), 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(polygon.max(axis=0)), 1, [width, height]))
    old = before[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1), 1]
    new = after[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1), 1]
    change = cv2.absdiff(old, new)
    # Opaque paper hides its ground: then only the marks' own contrast counts.
    share = float(change.sum(dtype=np.int64)) / change.size
    texture, contrast = _deviation(old), _deviation(new)
    return contrast >= _LEAST_CONTRAST and share >= min(_LEAST_CONTRAST * 0.7, 0.9 * texture + 5.0)


def _deviation(grey: Pixels) -> float:
    """Return the standard deviation of grey levels, from integer sums."""
    whole = grey.astype(np.int64)
    mean = int(whole.sum()) / whole.size
    return float(np.sqrt(max(int((whole * whole).sum()) / whole.size - mean * mean, 0.0)))


class Stage:
    """A square canvas of RGB pixels with a window: what lies outside the window is not in the picture.

    Args:
        pixels: (size, size, 3) RGB, painted in place.
        window: (left, top, right, bottom) in canvas pixels.
    """

    def __init__(self, pixels: Pixels, window: tuple[int, int, int, int]) -> None:
        self.pixels = pixels
        self.window = window
        self.placed: list[Placed] = []
        self._taken = np.zeros((pixels.shape[0] // _COARSE, pixels.shape[1] // _COARSE), np.uint8)

    def _coarse(self, polygon: Points) -> Pixels:
        mask = np.zeros_like(self._taken)
        cv2.fillPoly(mask, [np.rint(polygon / _COARSE - 0.5).astype(np.int32)], 1)
        return mask

    def within_window(self, polygon: Points) -> Points:
        """Return the part of a polygon inside the window, canvas pixels."""
        x0, y0, x1, y1 = self.window
        shifted = polygon - np.array([x0, y0], np.float64)
        return clip_polygon(shifted, x1 - x0, y1 - y0) + np.array([x0, y0], np.float64)

    def grey_at(self, x: float, y: float, reach: float) -> float:
        """Return the mean grey 0..255 of the canvas about a point."""
        size = self.pixels.shape[0]
        x0, y0 = (int(np.clip(v - reach, 0, size - 2)) for v in (x, y))
        x1, y1 = (int(np.clip(v + reach, 2, size)) for v in (x, y))
        part = self.pixels[y0 : max(y1, y0 + 1) : 4, x0 : max(x1, x0 + 1) : 4]
        return float(part.sum(dtype=np.int64)) / part.size

    def outlines(self, decal: Decal, warp: Warp) -> list[tuple[Mark, Points, Points, float]]:
        """Return per mark: the mark, its outline, the outline in the window, and the visible share."""
        found = []
        for mark in decal.marks:
            polygon = warp.forward(outline(mark.rect))
            visible = self.within_window(polygon)
            share = polygon_area(visible) / max(polygon_area(polygon), 1e-9)
            found.append((mark, polygon, visible, share))
        return found

    def is_free(self, decal: Decal, warp: Warp) -> bool:
        """Return whether the decal covers no symbol that is already there."""
        height, width = decal.rgba.shape[:2]
        footprint = self._coarse(warp.forward(outline((0, 0, width, height))))
        return int(np.count_nonzero(footprint & self._taken)) <= 1

    def hides(self, mask: Pixels) -> float:
        """Return the largest share of any placed symbol that a canvas mask (size, size) covers."""
        coarse = cv2.resize(mask, self._taken.shape[::-1], interpolation=cv2.INTER_AREA) > 127
        worst = 0.0
        for placed in self.placed:
            cells = self._coarse(placed.visible) > 0
            worst = max(worst, int(np.count_nonzero(cells & coarse)) / max(int(np.count_nonzero(cells)), 1))
        return worst

    def paint(
        self,
        decal: Decal,
        warp: Warp,
        shade: npt.NDArray[np.float32] | None,
        *,
        seen: list[Points] | None = None,
    ) -> bool:
        """Warp the decal onto the canvas, unless one of the outlines ``seen`` could not be made out.

        Args:
            decal: what to paint.
            warp: where it lands.
            shade: a gain per drawing column, or None.
            seen: outlines (n, 2) of symbols in canvas pixels; each must differ enough from its ground.

        Returns:
            Whether it was painted.
        """
        height, width = decal.rgba.shape[:2]
        corners = warp.forward(outline((0, 0, width, height)))
        size = self.pixels.shape[0]
        left, top = (int(np.clip(np.floor(v) - 2, 0, size)) for v in corners.min(axis=0))
        right, bottom = (int(np.clip(np.ceil(v) + 2, 0, size)) for v in corners.max(axis=0))
        if right <= left or bottom <= top:
            return False
        rgba = decal.rgba
        if shade is not None:
            rgba = rgba.copy()
            rgba[:, :, :3] = (rgba[:, :, :3] * shade).astype(np.uint8)
        map_x, map_y = warp.inverse_maps(left, top, right - left, bottom - top)
        warped = cv2.remap(
            rgba, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0)
        )
        roi = self.pixels[top:bottom, left:right]
        painted = over(roi, warped)
        for polygon in seen or []:
            if not _can_be_seen(roi, painted, polygon - np.array([left, top])):
                return False
        roi[:] = painted
        return True

    def keep(self, mark: Mark, polygon: Points, visible: Points, module: float) -> None:
        """Remember a painted symbol as labelled."""
        self._taken |= self._coarse(polygon)
        self.placed.append(Placed(category=mark.category, polygon=polygon, visible=visible, module=module))
