"""The built-in ``codes`` set: Data Matrix, QR and 1-D symbols in scenes drawn by code.

A box is the axis-aligned bounding rectangle (xyxy, picture pixels, pixel k covering [k, k + 1)) of the symbol as
it lies in the picture, cut at the picture's (or its letterbox window's) border: without the quiet zone, without
human-readable text, guard bars of EAN and UPC included. A symbol that something else covers in part keeps
its whole box. Symbols of other symbologies (Aztec, PDF417, DotCode, postal bars) are not labelled.
"""

from slimgate.data.codes.materialise import materialise_split
from slimgate.data.codes.splits import CLASS_NAMES, SPLITS, Split

__all__ = ["CLASS_NAMES", "SPLITS", "Split", "materialise_split"]
