"""Colours that mean something, the same in pictures, plots and tables."""

from __future__ import annotations

Rgb = tuple[int, int, int]

# Okabe and Ito's palette (2008) stays distinct with the common colour vision deficiencies; its yellow is left out
# because it vanishes on white symbols.
_CLASS_COLOURS: tuple[Rgb, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (106, 61, 154),
    (140, 86, 75),
)

FOUND: Rgb = (0, 158, 115)
MISSED: Rgb = (220, 38, 38)
FALSE: Rgb = (245, 130, 0)
PARTIAL: Rgb = (168, 85, 247)
TRUTH: Rgb = (37, 99, 235)
IGNORED: Rgb = (107, 114, 128)


def class_colour(index: int) -> Rgb:
    """Return the colour of a class index; colours repeat after eight classes."""
    return _CLASS_COLOURS[index % len(_CLASS_COLOURS)]


def text_colour(background: Rgb) -> Rgb:
    """Return black or white, whichever contrasts more with the background (WCAG 2.2 relative luminance)."""
    luminance = _relative_luminance(background)
    contrast_with_white = 1.05 / (luminance + 0.05)
    contrast_with_black = (luminance + 0.05) / 0.05
    return (255, 255, 255) if contrast_with_white >= contrast_with_black else (0, 0, 0)


def _relative_luminance(colour: Rgb) -> float:
    linear = [
        channel / 255 / 12.92 if channel / 255 <= 0.04045 else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
