"""Numbers as people read them. A number that does not exist is a dash, never 0."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "–"
"""What stands where there is no number."""

_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def show_fraction(value: float | None, digits: int = 4) -> str:
    """Return a fraction with a fixed number of digits: ``0.8412``."""
    return NONE if value is None else _minus(f"{value:.{digits}f}")


def show_change(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign: ``+0.0012``, ``−0.0012``; ``±0`` only where there is none at all."""
    if value is None:
        return NONE
    return "±0" if value == 0 else f"{value:+.{digits}f}".replace("-", "−")


def show_change_interval(interval: Sequence[float], digits: int = 4) -> str:
    """Return an interval of a difference: ``−0.0081 to −0.0003``."""
    low, high = (show_change(end, digits) for end in interval)
    return f"{low} to {high}"


def show_half(interval: Sequence[float], digits: int = 4) -> str:
    """Return half the width of an interval: ``±0.0039``."""
    return f"±{(interval[1] - interval[0]) / 2:.{digits}f}"


def show_points(value: float | None) -> str:
    """Return how far off a fraction may be, in points of a hundred, two significant digits: ``±0.42``."""
    if value is None:
        return NONE
    # No exponent, and no digits that only look exact.
    digits = 2 if abs(value) < 0.01 else 1
    text = f"{value * 100:.{digits}f}"
    return f"±{text if float(text) or not value else f'{value * 100:.1g}'}"


def show_percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage: ``97.9 %``."""
    return NONE if value is None else f"{_minus(f'{value * 100:.{digits}f}')} %"


def show_difference(value: float | None) -> str:
    """Return a difference that may be float noise or an error: ``0.0213``, ``3.1e-07``; ``0`` where it is none."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    return f"{value:.4f}" if value >= 1e-3 else f"{value:.1e}"


def show_bytes(value: float | None) -> str:
    """Return bytes in decimal units: ``7.42 MB``."""
    return NONE if value is None else f"{_scaled(value)}B"


def show_count(value: float | None) -> str:
    """Return a large count in decimal units (``2.51 M``), a small one in full."""
    if value is None:
        return NONE
    return f"{value:.0f}" if abs(value) < 10_000 else _scaled(value).strip()


def show_flops(value: float | None) -> str:
    """Return floating-point operations in decimal units: ``4.50 G``."""
    return NONE if value is None else _scaled(value).strip()


def show_ms(value_s: float | None) -> str:
    """Return seconds as milliseconds with three significant digits: ``12.1``."""
    return NONE if value_s is None else _significant(value_s * 1e3)


def show_seconds(value_s: float | None) -> str:
    """Return seconds with three significant digits, with their unit."""
    return NONE if value_s is None else f"{_significant(value_s)} s"


def show_ratio(value: float | None) -> str:
    """Return a ratio with two digits: ``0.52``."""
    return NONE if value is None else f"{value:.2f}"


def show_interval(interval: Sequence[float] | None) -> str:
    """Return an interval of ratios: ``0.51–0.53``; three digits where two would make both ends the same."""
    if interval is None:
        return NONE
    low, high = interval
    digits = 2 if f"{low:.2f}" != f"{high:.2f}" else 3
    return f"{low:.{digits}f}–{high:.{digits}f}"


def show_duration(value_s: float | None) -> str:
    """Return a duration as minutes and seconds: ``5 min 12 s``."""
    if value_s is None:
        return NONE
    minutes, seconds = divmod(round(value_s), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _significant(value: float) -> str:
    """Return three significant digits without an exponent; all digits before the point stay."""
    if value == 0:
        return "0"
    # Rounding comes first: 0.9996 has its digits where 1.00 has them.
    rounded = float(f"{value:.3g}")
    digits = max(0, 3 - len(str(int(abs(rounded))))) if abs(rounded) >= 1 else 3
    text = f"{value:.{digits}f}"
    return text if float(text) != 0 else f"{value:.2g}"


def _scaled(value: float) -> str:
    for step, prefix in _STEPS:
        if abs(value) >= step * 0.9995:
            return f"{_significant(value / step)} {prefix}"
    return f"{value:.0f} "


def _minus(text: str) -> str:
    # "-0.000" would read as a loss that is not there.
    if text.startswith("-") and float(text) == 0:
        text = text[1:]
    return text.replace("-", "−")
