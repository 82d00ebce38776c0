"""Ground truth and a few cases on one picture, as one small image for a README."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.errors import unknown_name
from slimgate.report.labels import Label, draw_labels, load_font
from slimgate.report.load import load_checked
from slimgate.report.marks import Kind, Mark, PictureMarks, mark_truth
from slimgate.report.palette import FALSE, FOUND, IGNORED, MISSED, PARTIAL, TRUTH, Rgb, text_colour
from slimgate.report.panels import URGENCY, label_text, marks_of
from slimgate.report.rows import list_rows

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_TILE_PX = 400
_GAP_PX = 14
_COLUMNS = 4
_LINE_PX = 3
_FONT_PX = 15
_JPEG_QUALITY = 88
_PAPER, _INK, _QUIET = (255, 255, 255), (20, 24, 31), (86, 96, 112)
_FEW_OBJECTS = 6
_COLOURS: Mapping[Kind, Rgb] = {
    Kind.TRUTH: TRUTH,
    Kind.FOUND: FOUND,
    Kind.FALSE: FALSE,
    Kind.MISSED: MISSED,
    Kind.PARTIAL: PARTIAL,
    Kind.IGNORED: IGNORED,
    Kind.CROWD: IGNORED,
}
_DASHES_PX: Mapping[Kind, tuple[int, int]] = {
    Kind.MISSED: (10, 6),
    Kind.PARTIAL: (3, 5),
    Kind.IGNORED: (2, 8),
    Kind.CROWD: (2, 8),
}


def draw_contact_sheet(run_dir: Path, case_ids: Sequence[str], picture_id: str) -> bytes:
    """Return a JPEG: ground truth and cases in a grid, each with its title and what it got wrong.

    Args:
        run_dir: a run directory.
        case_ids: case ids, in the order to show.
        picture_id: one of the run's pictures.

    Raises:
        InputError: the directory holds no usable run.
        UsageError: the run has no such case with pictures, or no such picture.
    """
    files = load_checked(run_dir)
    pictures: Mapping[str, Any] = files.run.get("pictures", {})
    if picture_id not in pictures:
        raise unknown_name("picture", picture_id, pictures)
    entry = pictures[picture_id]
    marked = {
        str(row.case): (row, marks) for row in list_rows(files) if (marks := marks_of(row, picture_id, entry))
    }
    truth = mark_truth(entry)
    panels = [("Ground truth", f"{truth.count(Kind.TRUTH)} objects", truth)]
    for case_id in case_ids:
        if case_id not in marked:
            raise unknown_name("case with pictures", case_id, marked)
        row, marks = marked[case_id]
        panels.append((row.name, marks.summary(), marks))
    names = files.run["class_names"]
    tiles = [
        _draw_tile(run_dir / entry["file"], title, summary, marks, names) for title, summary, marks in panels
    ]
    return _encode(_arrange(tiles))


def _draw_tile(
    path: Path, title: str, summary: str, marks: PictureMarks, names: Sequence[str]
) -> Image.Image:
    from PIL import Image, ImageDraw

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    scale = _TILE_PX / picture.width
    picture = picture.resize((_TILE_PX, round(picture.height * scale)), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    short = len(marks.marks) > _FEW_OBJECTS
    labels = []
    for mark in sorted(marks.marks, key=lambda mark: URGENCY.index(mark.kind), reverse=True):
        x1, y1, x2, y2 = (edge * scale for edge in mark.box)
        box = (max(x1, 0), max(y1, 0), min(x2, picture.width - 1), min(y2, picture.height - 1))
        _outline(pen, box, mark)
        background = _COLOURS[mark.kind]
        text = label_text(mark, names, short=short)
        labels.append(Label(box=box, text=text, background=background, foreground=text_colour(background)))
    draw_labels(pen, reversed(labels), picture.size, load_font(_FONT_PX))
    head = 2 * _FONT_PX + 16
    tile = Image.new("RGB", (picture.width, picture.height + head), _PAPER)
    tile.paste(picture, (0, head))
    pen = ImageDraw.Draw(tile)
    pen.text((1, 1), title, fill=_INK, font=load_font(_FONT_PX + 1, bold=True))
    pen.text((1, _FONT_PX + 7), summary, fill=_QUIET, font=load_font(_FONT_PX))
    return tile


def _outline(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], mark: Mark) -> None:
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return
    colour = _COLOURS[mark.kind]
    if mark.kind not in _DASHES_PX:
        pen.rectangle(box, outline=colour, width=_LINE_PX)
        return
    dash, gap = _DASHES_PX[mark.kind]
    for (ax, ay), (bx, by) in (
        ((x1, y1), (x2, y1)),
        ((x2, y1), (x2, y2)),
        ((x2, y2), (x1, y2)),
        ((x1, y2), (x1, y1)),
    ):
        length = abs(bx - ax) + abs(by - ay)
        along_x, along_y = (bx - ax) / length, (by - ay) / length
        at = 0.0
        while at < length:
            end = min(at + dash, length)
            start_point = (ax + along_x * at, ay + along_y * at)
            pen.line((start_point, (ax + along_x * end, ay + along_y * end)), fill=colour, width=_LINE_PX)
            at += dash + gap


def _arrange(tiles: Sequence[Image.Image]) -> Image.Image:
    from PIL import Image

    columns = min(_COLUMNS, len(tiles))
    # Five tiles read better as 3 + 2 than as 4 + 1.
    lines = -(-len(tiles) // columns)
    columns = -(-len(tiles) // lines)
    width, height = tiles[0].size
    sheet = Image.new(
        "RGB", (columns * (width + _GAP_PX) + _GAP_PX, lines * (height + _GAP_PX) + _GAP_PX), _PAPER
    )
    for index, tile in enumerate(tiles):
        column, line = index % columns, index // columns
        sheet.paste(tile, (_GAP_PX + column * (width + _GAP_PX), _GAP_PX + line * (height + _GAP_PX)))
    return sheet


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
