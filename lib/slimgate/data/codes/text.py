"""Type on labels and packages, with the fonts that OpenCV itself carries."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_WORDS = [
    "LOT",
    "EXP",
    "SN",
    "P/N",
    "REF",
    "QTY",
    "MADE",
    "IN",
    "DATE",
    "BATCH",
    "NET",
    "500g",
    "250",
    "ml",
    "Best",
    "before",
    "Ingredients",
    "Energy",
    "Fat",
    "Salt",
    "Sugar",
    "Fresh",
    "Original",
    "Premium",
    "Classic",
    "NEW",
    "Organic",
    "Ship",
    "To",
    "From",
    "Order",
    "No.",
    "Fragile",
    "Class",
    "A",
    "Rev",
    "Serial",
    "Model",
    "Input",
    "100-240V",
    "Output",
    "5V",
    "CE",
    "Warning",
    "Caution",
    "Recycle",
    "Scan",
    "me",
    "www.example.com",
    "Article",
    "Price",
    "1.99",
    "2,49",
    "Delivery",
    "Express",
    "Item",
    "Part",
    "Steel",
    "316L",
    "M8x40",
    "DIN",
    "933",
    "Storage",
    "Keep",
    "dry",
    "This",
    "side",
    "up",
    "Warehouse",
    "Zone",
    "B12",
    "Shelf",
    "04",
    "Ticket",
    "Seat",
    "Gate",
    "Vitamin",
    "Tablets",
    "20",
    "mg",
    "Milk",
    "Coffee",
    "Tea",
    "Chocolate",
    "Pasta",
    "Rice",
    "Water",
    "Juice",
    "Soap",
    "Shampoo",
    "Cream",
    "Paper",
    "Glass",
]


@functools.cache
def _face(name: str) -> cv2.FontFace:
    return cv2.FontFace(name)


def random_words(rng: np.random.Generator, count: int) -> str:
    """Return ``count`` words, numbers among them."""
    words = []
    for _ in range(count):
        if rng.random() < 0.25:
            words.append(str(int(rng.integers(0, 10 ** int(rng.integers(2, 9))))))
        else:
            words.append(_WORDS[int(rng.integers(0, len(_WORDS)))])
    return " ".join(words)


def text_mask(text: str, height: int, *, italic: bool = False, weight: int = 400) -> Pixels:
    """Return the coverage 0..255 of one line of text, (about 1.3 height, width)."""
    height = max(int(height), 5)
    face = _face("italic" if italic else "sans")
    canvas = np.zeros((int(height * 1.45) + 2, int(height * 0.95 * max(len(text), 1)) + 8), np.uint8)
    end, _ = cv2.putText(canvas, text, (2, int(height * 1.08)), 255, face, height, weight)
    return np.ascontiguousarray(canvas[:, : max(8, min(int(end[0]) + 3, canvas.shape[1]))])
