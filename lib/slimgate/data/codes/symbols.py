"""Real code symbols, drawn by zint, as plain module patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zint

DATAMATRIX, QRCODE, BARCODE = 0, 1, 2

_UPPER = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MIXED = _UPPER + "abcdefghijklmnopqrstuvwxyz-./:"
_DIGITS = "0123456789"


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """One symbol without its quiet zone.

    Attributes:
        category: index into ``CLASS_NAMES``.
        name: the symbology.
        pattern: (rows, columns) bool, True where a module is dark.
        row_heights: (rows,) height of each row in modules.
        text: what is printed under it, or an empty string.
    """

    category: int
    name: str
    pattern: npt.NDArray[np.bool_]
    row_heights: npt.NDArray[np.float64]
    text: str

    @property
    def size(self) -> tuple[float, float]:
        """Return (width, height) in modules."""
        return float(self.pattern.shape[1]), float(self.row_heights.sum())


def _word(rng: np.random.Generator, alphabet: str, length: int) -> str:
    return "".join(alphabet[int(k)] for k in rng.integers(0, len(alphabet), length))


def _length(rng: np.random.Generator, low: int, high: int) -> int:
    """Return a log-uniform length: most payloads are short."""
    return int(low * (high / low) ** float(rng.random()))


def _encode(symbology: zint.Symbology, data: str, **options: int) -> tuple[npt.NDArray[np.bool_], str] | None:
    symbol = zint.Symbol()
    symbol.symbology = symbology
    for key, value in options.items():
        setattr(symbol, key, value)
    try:
        symbol.encode(data)
    except (RuntimeError, ValueError):
        return None  # the payload does not fit the asked size: the caller draws another
    packed = np.asarray(symbol.encoded_data)
    bits = np.unpackbits(packed[: symbol.rows], axis=1, bitorder="little")[:, : symbol.width]
    return bits.astype(bool), str(symbol.text)


def pattern_of(rng: np.random.Generator, name: str) -> npt.NDArray[np.bool_]:
    """Return the modules of a symbology that is not one of the classes, such as AZTEC or PDF417."""
    while True:
        digits = name in ("USPS_IMAIL", "POSTNET", "KIX")
        data = _word(rng, _DIGITS if digits else _UPPER, 20 if name == "USPS_IMAIL" else _length(rng, 6, 60))
        if name == "USPS_IMAIL":
            data = "0" + "1" + data[2:]
        coded = _encode(getattr(zint.Symbology, name), data)
        if coded is not None:
            return coded[0]


def draw_datamatrix(rng: np.random.Generator) -> Symbol:
    """Return a Data Matrix: square, rectangular or DMRE, 8 to 64 modules a side."""
    while True:
        shape = rng.random()
        digits = rng.random() < 0.4
        length = _length(rng, 2, 140) if rng.random() < 0.55 else int(rng.integers(4, 32))
        options: dict[str, int] = {"option_3": 100}
        if shape > 0.94:
            options = {"option_2": int(rng.integers(31, 49))}
            length = min(length, 24)
        elif shape > 0.84:
            options = {"option_2": int(rng.integers(25, 31))}
            length = min(length, 20)
        coded = _encode(
            zint.Symbology.DATAMATRIX, _word(rng, _DIGITS if digits else _MIXED, length), **options
        )
        if coded is not None:
            return _matrix(DATAMATRIX, "datamatrix", coded[0])


def draw_qrcode(rng: np.random.Generator) -> Symbol:
    """Return a QR code (versions 1 to 15, rarely to 34), or a Micro QR."""
    while True:
        shape = rng.random()
        if shape < 0.95:
            prefix = "https://" if rng.random() < 0.5 else ""
            data = prefix + _word(rng, _MIXED, _length(rng, 4, 180))
            options = {"option_1": int(rng.integers(1, 5))}
            if rng.random() < 0.12:
                options["option_2"] = int(rng.integers(5, 35))
            coded = _encode(zint.Symbology.QRCODE, data, **options)
        else:
            coded = _encode(zint.Symbology.MICROQR, _word(rng, _DIGITS, int(rng.integers(2, 20))))
        if coded is not None:
            return _matrix(QRCODE, "qrcode", coded[0])


def _matrix(category: int, name: str, pattern: npt.NDArray[np.bool_]) -> Symbol:
    return Symbol(category=category, name=name, pattern=pattern, row_heights=np.ones(len(pattern)), text="")


_GUARDS: dict[str, tuple[tuple[int, int], ...]] = {
    "ean13": ((0, 3), (45, 50), (92, 95)),
    "ean8": ((0, 3), (31, 36), (64, 67)),
    "upca": ((0, 10), (45, 50), (85, 95)),
}

_LINEAR: dict[str, tuple[float, str, Callable[[np.random.Generator], str]]] = {
    "ean13": (0.30, "EANX", lambda rng: _word(rng, _DIGITS, 12)),
    "ean8": (0.06, "EANX", lambda rng: _word(rng, _DIGITS, 7)),
    "upca": (0.10, "UPCA", lambda rng: _word(rng, _DIGITS, 11)),
    "code128": (0.20, "CODE128", lambda rng: _word(rng, _MIXED, int(rng.integers(3, 28)))),
    "code39": (0.10, "CODE39", lambda rng: _word(rng, _UPPER, int(rng.integers(3, 18)))),
    "itf": (0.06, "C25INTER", lambda rng: _word(rng, _DIGITS, 2 * int(rng.integers(2, 14)))),
    "codabar": (0.03, "CODABAR", lambda rng: f"A{_word(rng, _DIGITS, int(rng.integers(4, 16)))}B"),
    "gs1-128": (0.07, "GS1_128", lambda rng: f"[91]{_word(rng, _UPPER, int(rng.integers(4, 28)))}"),
    "code93": (0.02, "CODE93", lambda rng: _word(rng, _UPPER, int(rng.integers(3, 20)))),
    "databar": (0.03, "DBAR_OMN", lambda rng: _word(rng, _DIGITS, 13)),
    "databar-stacked": (0.02, "DBAR_EXPSTK", lambda rng: f"[91]{_word(rng, _UPPER, 16)}"),
    "pharmacode": (0.01, "PHARMA", lambda rng: str(int(rng.integers(1000, 131070)))),
}


def draw_barcode(rng: np.random.Generator, *, thin: bool = False) -> Symbol:
    """Return a 1-D symbol; ``thin`` makes it long and low, as on cables, tubes and shelf edges."""
    names = list(_LINEAR)
    shares = np.array([_LINEAR[name][0] for name in names])
    cuts = np.cumsum(shares / shares.sum())
    while True:
        name = names[min(int(np.searchsorted(cuts, rng.random())), len(names) - 1)]
        _, symbology, payload = _LINEAR[name]
        coded = _encode(getattr(zint.Symbology, symbology), payload(rng))
        if coded is None:
            continue
        pattern, text = coded
        width = pattern.shape[1]
        if len(pattern) > 1:
            heights = np.where(np.arange(len(pattern)) % 4 == 0, 26.0, 1.0)
            return Symbol(category=BARCODE, name=name, pattern=pattern, row_heights=heights, text="")
        ratio = 0.04 * 4.0 ** float(rng.random()) if thin else 0.14 * 6.0 ** float(rng.random())
        height = max(round(width * ratio), 4)
        heights = np.array([float(height)])
        if name in _GUARDS and not thin and rng.random() < 0.75:
            guard = np.zeros(width, dtype=bool)
            for first, last in _GUARDS[name]:
                guard[first:last] = True
            pattern = np.stack([pattern[0], pattern[0] & guard])
            heights = np.array([float(height), 5.0])
        return Symbol(
            category=BARCODE, name=name, pattern=pattern, row_heights=heights, text=text or name.upper()
        )
