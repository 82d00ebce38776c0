"""Where a flat drawing lands in the picture: ripple, cylinder, then a perspective view, exactly invertible.

Coordinates are continuous pixels: pixel k covers [k, k + 1). The same functions warp the pixels
(inverse map) and the outlines (forward map), so boxes are exact to a fraction of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Warp:
    """A map from a drawing of ``size`` (width, height) pixels to the canvas.

    Attributes:
        size: the drawing's width and height in pixels.
        homography: (3, 3), from centred drawing coordinates (after bending) to canvas pixels.
        bend: half the angle that the drawing spans on a cylinder, radians; 0 is flat.
        tip: how far the curved lines are seen from above (sine of the tilt).
        ripple: (k, 5) crumple waves: amplitude in pixels, frequency x, frequency y (radians a pixel),
            phase, direction angle.
        upright: the cylinder's axis is the drawing's vertical (a bottle) or horizontal.
    """

    size: tuple[float, float]
    homography: Points
    bend: float = 0.0
    tip: float = 0.0
    ripple: Points
    upright: bool = True

    def _waves(self, x: Points, y: Points) -> tuple[Points, Points]:
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for amplitude, fx, fy, phase, direction in self.ripple:
            wave = amplitude * np.sin(fx * x + fy * y + phase)
            dx += wave * np.cos(direction)
            dy += wave * np.sin(direction)
        return dx, dy

    def forward(self, points: Points) -> Points:
        """Return canvas positions, (n, 2) xy, of drawing positions (n, 2) xy."""
        x, y = points[:, 0], points[:, 1]
        if len(self.ripple):
            # The inverse map is s = q - waves(q); waves are contractions, so this converges.
            qx, qy = x.copy(), y.copy()
            for _ in range(12):
                dx, dy = self._waves(qx, qy)
                qx, qy = x + dx, y + dy
            x, y = qx, qy
        u, v = x - self.size[0] / 2, y - self.size[1] / 2
        if self.bend > 0:
            if not self.upright:
                u, v = v, u
            radius = (self.size[0] if self.upright else self.size[1]) / 2 / self.bend
            theta = u / radius
            u, v = radius * np.sin(theta), v + self.tip * radius * (np.cos(theta) - 1)
            if not self.upright:
                u, v = v, u
        h = self.homography
        w = h[2, 0] * u + h[2, 1] * v + h[2, 2]
        return np.stack(
            [(h[0, 0] * u + h[0, 1] * v + h[0, 2]) / w, (h[1, 0] * u + h[1, 1] * v + h[1, 2]) / w], axis=1
        )

    def inverse_maps(
        self, left: int, top: int, width: int, height: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the drawing position of each canvas pixel centre, as cv2.remap's (height, width) maps."""
        g = _inverse3(self.homography)
        cx = np.arange(left, left + width)[None, :] + 0.5
        cy = np.arange(top, top + height)[:, None] + 0.5
        w = g[2, 0] * cx + g[2, 1] * cy + g[2, 2]
        w = np.where(w > 1e-9, w, 1e-9)
        u = (g[0, 0] * cx + g[0, 1] * cy + g[0, 2]) / w
        v = (g[1, 0] * cx + g[1, 1] * cy + g[1, 2]) / w
        if self.bend > 0:
            if not self.upright:
                u, v = v, u
            radius = (self.size[0] if self.upright else self.size[1]) / 2 / self.bend
            ratio = u / radius
            behind = np.abs(ratio) > np.sin(min(self.bend, 1.5))
            ratio = np.clip(ratio, -0.99999, 0.99999)
            theta = np.arcsin(ratio)
            u = np.where(behind, -1e6, theta * radius)
            v = v - self.tip * radius * (np.sqrt(1 - ratio * ratio) - 1)
            if not self.upright:
                u, v = v, u
        x, y = u + self.size[0] / 2, v + self.size[1] / 2
        if len(self.ripple):
            dx, dy = self._waves(x, y)
            x, y = x - dx, y - dy
        return (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32)


def _inverse3(m: Points) -> Points:
    """Return the inverse of a 3x3 matrix in plain arithmetic: the same bits on every machine."""
    (a, b, c), (d, e, f), (g, h, i) = ((float(v) for v in row) for row in m)
    adjugate = np.array(
        [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]
    )
    return adjugate / (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def view_homography(
    *, scale: float, centre: tuple[float, float], roll: float, tilt: tuple[float, float], distance: float
) -> Points:
    """Return the view of a plane: drawing pixels (centred) to canvas pixels.

    Args:
        scale: canvas pixels a drawing pixel at the centre.
        centre: (x, y) canvas position of the drawing's centre.
        roll: rotation in the picture plane, radians.
        tilt: rotation about the vertical and horizontal axes, radians.
        distance: distance of the camera in canvas pixels; smaller is stronger perspective.
    """
    cr, sr = np.cos(roll), np.sin(roll)
    ca, sa = np.cos(tilt[0]), np.sin(tilt[0])
    cb, sb = np.cos(tilt[1]), np.sin(tilt[1])
    # Rotation: roll, then tilt about y (a), then about x (b); z is depth.
    rx = (ca * cr, -ca * sr)
    ry = (cb * sr + sb * sa * cr, cb * cr - sb * sa * sr)
    rz = (sb * sr - cb * sa * cr, sb * cr + cb * sa * sr)
    k = scale / distance
    w = np.array([k * rz[0], k * rz[1], 1.0])
    row_x = np.array([scale * rx[0], scale * rx[1], 0.0]) + centre[0] * w
    row_y = np.array([scale * ry[0], scale * ry[1], 0.0]) + centre[1] * w
    return np.stack([row_x, row_y, w])


def outline(rect: tuple[float, float, float, float], steps: int = 12) -> Points:
    """Return points along a rectangle's edges (xyxy), (4 * steps, 2)."""
    x0, y0, x1, y1 = rect
    t = np.arange(steps) / steps
    one = np.ones(steps)
    xs = np.concatenate([x0 + (x1 - x0) * t, x1 * one, x1 + (x0 - x1) * t, x0 * one])
    ys = np.concatenate([y0 * one, y0 + (y1 - y0) * t, y1 * one, y1 + (y0 - y1) * t])
    return np.stack([xs, ys], axis=1)


def polygon_area(polygon: Points) -> float:
    """Return the area of a polygon (n, 2), in square pixels."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2


def clip_polygon(polygon: Points, width: float, height: float) -> Points:
    """Return the polygon (n, 2) cut to [0, width] x [0, height] (Sutherland and Hodgman, 1974)."""
    points = [(float(x), float(y)) for x, y in polygon]
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        kept: list[tuple[float, float]] = []
        for here, there in zip(points, points[1:] + points[:1], strict=True):
            in_here = sign * (here[axis] - limit) >= 0
            in_there = sign * (there[axis] - limit) >= 0
            if in_here:
                kept.append(here)
            if in_here != in_there:
                t = (limit - here[axis]) / (there[axis] - here[axis])
                kept.append((here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])))
        points = kept
        if not points:
            break
    return np.array(points).reshape(-1, 2)
