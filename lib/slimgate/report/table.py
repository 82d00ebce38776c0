"""A table as data: every format draws the same cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimgate.report.numbers import NONE

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        sort: what sorting goes by; None sorts last.
        below: a second, quieter line.
        hint: shown on hovering.
        tone: ``red``, ``amber``, ``green``, ``grey`` or nothing.
        share: 0..1 draws a bar of that length behind the text.
        drawing: an inline SVG instead of text.
    """

    text: str
    sort: float | str | None = None
    below: str = ""
    hint: str = ""
    tone: str = ""
    share: float | None = None
    drawing: Markup | None = None

    @property
    def key(self) -> str:
        """What a page must say for sorting; nothing where the text alone sorts as well."""
        if self.sort is None or self.sort == self.text:
            return ""
        return "" if isinstance(self.sort, float) and _is_number(self.text) else str(self.sort)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        hint: what the numbers mean, in one line.
        numeric: whether it is aligned by digits.
    """

    title: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of cells; the first cell of a row names the row.

    Attributes:
        caption: what the table holds.
        columns: one per cell of a row.
        rows: the cells.
        tones: one per row: the tone of its edge; or empty.
        marks: one per row: a sign before its name that says the same without colour; or empty.
        sortable: whether a reader may sort it.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    tones: Sequence[str] = ()
    marks: Sequence[str] = ()
    sortable: bool = True


def text_cell(text: str, *, below: str = "", hint: str = "", tone: str = "") -> Cell:
    """Return a cell of text that sorts by itself."""
    return Cell(text=text or NONE, sort=text or None, below=below, hint=hint, tone=tone)


def number_cell(
    value: float | None,
    show: Callable[[float | None], str],
    *,
    below: str = "",
    share: float | None = None,
    tone: str = "",
) -> Cell:
    """Return a cell of a number, shown by ``show`` and sorted by its value; a dash when there is none."""
    return Cell(text=show(value), sort=value, below=below, share=share, tone=tone)


def _is_number(text: str) -> bool:
    try:
        float(text.replace("−", "-"))
    except ValueError:
        return False
    return True
