"""The same picture side by side: ground truth and every case, as outlines over one shared image."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slimgate.gate import RunFiles
from slimgate.report.charts.svg import element, overlap
from slimgate.report.labels import Rectangle, place_label
from slimgate.report.marks import Kind, Mark, PictureMarks, mark_detections, mark_truth
from slimgate.report.rows import Row, baseline_row

_FONT_SHARE = 1 / 22
"""Text size relative to the picture: panels are about 230 pixels wide on a screen."""
_CHARACTER_EM = 0.6
_LABELLED_SHARE = 0.2
"""Share of a picture that labels may cover; outlines alone tell the rest, and their tooltips name it."""
_FEW_OBJECTS = 6
URGENCY = (Kind.FALSE, Kind.PARTIAL, Kind.MISSED, Kind.FOUND, Kind.TRUTH, Kind.IGNORED, Kind.CROWD)
"""The order in which marks choose the places of their labels."""
_LOST = (Kind.MISSED, Kind.PARTIAL)
_DEFAULT_CONF, _DEFAULT_IOU = 0.5, 0.5


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture as one case sees it.

    Attributes:
        title: the variant, or ``Ground truth``.
        runtime: what ran it, or nothing.
        drawing: the outlines, over the shared image.
        summary: counts in words.
        tone: ``red`` when something is missed or false, ``green`` when nothing is, ``truth`` for the ground truth.
        change: how it differs from FP32, or nothing.
    """

    title: str
    runtime: str
    drawing: Markup
    summary: str
    tone: str
    change: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture with its panels, ground truth first.

    Attributes:
        id: its id in the dataset.
        symbol: the image, to be embedded once.
        panels: ground truth, then the cases in the run's order.
    """

    id: str
    symbol: Markup
    panels: Sequence[Panel]


def list_pictures(files: RunFiles, rows: Sequence[Row]) -> list[Picture]:
    """Return every picture of a run with what each case makes of it."""
    return [
        _picture(files, index, name, entry, rows)
        for index, (name, entry) in enumerate(files.run.get("pictures", {}).items())
    ]


def marks_of(row: Row, name: str, entry: Mapping[str, Any]) -> PictureMarks | None:
    """Return the marks of a case on a picture at its own confidence and IoU; None if it has none of it."""
    shown = row.record.get("pictures", {}).get(name)
    if shown is None:
        return None
    conf, iou = row.number("confusion", "conf"), row.number("confusion", "iou")
    return mark_detections(
        entry,
        shown,
        conf=_DEFAULT_CONF if conf is None else conf,
        iou=_DEFAULT_IOU if iou is None else iou,
    )


def describe_change(marks: PictureMarks, reference: PictureMarks | None) -> str:
    """Return how marks differ from the reference's in what is found, missed, partial or false."""
    if reference is None:
        return ""
    parts = []
    for kind, word in ((Kind.MISSED, "missed"), (Kind.PARTIAL, "partial"), (Kind.FALSE, "false")):
        change = marks.count(kind) - reference.count(kind)
        if change:
            parts.append(f"{change:+d} {word}".replace("-", "−"))
    if not parts and _outcome(marks) != _outcome(reference):
        parts.append("other objects")
    return f"against FP32: {', '.join(parts)}" if parts else ""


def label_text(mark: Mark, class_names: Sequence[str], *, short: bool = False) -> str:
    """Return what stands beside a box; short where many boxes are: the outline tells objects apart."""
    name = class_names[mark.label]
    score = "" if mark.score is None else f" {mark.score:.2f}"
    match mark.kind:
        case Kind.TRUTH:
            return name
        case Kind.FOUND:
            return score.strip() if short else f"{name}{score}"
        case Kind.MISSED | Kind.PARTIAL if short:
            return str(mark.kind)
        case _:
            return f"{mark.kind} {name}{score}"


def _picture(
    files: RunFiles, index: int, name: str, entry: Mapping[str, Any], rows: Sequence[Row]
) -> Picture:
    width, height = float(entry["width"]), float(entry["height"])
    anchor = f"picture-{index}"
    encoded = base64.b64encode((files.directory / entry["file"]).read_bytes()).decode("ascii")
    symbol = element(
        "symbol",
        element("image", href=f"data:image/jpeg;base64,{encoded}", width=width, height=height),
        id=anchor,
        viewBox=f"0 0 {width:g} {height:g}",
    )
    names = files.run["class_names"]
    truth = mark_truth(entry)
    objects = truth.count(Kind.TRUTH)
    panels = [
        Panel(
            title="Ground truth",
            runtime="",
            drawing=_draw(truth, None, anchor, (width, height), names, f"Picture {name}, ground truth"),
            summary=f"{objects} object{'' if objects == 1 else 's'}",
            tone="truth",
            change="",
        )
    ]
    base = baseline_row(rows)
    reference = marks_of(base, name, entry) if base is not None else None
    for row in rows:
        marks = marks_of(row, name, entry)
        if marks is None:
            continue
        summary = marks.summary()
        panels.append(
            Panel(
                title=row.case.variant,
                runtime=row.case.runtime,
                drawing=_draw(
                    marks,
                    reference,
                    anchor,
                    (width, height),
                    names,
                    f"Picture {name} as {row.name} sees it: {summary}",
                ),
                summary=summary,
                tone="green" if marks.is_right else "red",
                change="" if row.is_baseline else describe_change(marks, reference),
            )
        )
    return Picture(id=name, symbol=symbol, panels=panels)


def _draw(
    marks: PictureMarks,
    reference: PictureMarks | None,
    anchor: str,
    size: tuple[float, float],
    class_names: Sequence[str],
    title: str,
) -> Markup:
    width, height = size
    font = max(size) * _FONT_SHARE
    lost_before = None if reference is None else _outcome(reference)
    outlines = [_outline(mark, class_names, lost_before) for mark in marks.marks]
    short = len(marks.marks) > _FEW_OBJECTS
    labels: list[Markup] = []
    taken: list[Rectangle] = []
    room = width * height * _LABELLED_SHARE
    # What is wrong says so first: those labels take the best places.
    for mark in sorted(marks.marks, key=lambda mark: URGENCY.index(mark.kind)):
        text = label_text(mark, class_names, short=short)
        extent = (len(text) * font * _CHARACTER_EM + font * 0.4, font * 1.2)
        place = place_label(mark.box, extent, size, taken)
        room -= extent[0] * extent[1]
        if room < 0 or any(overlap(place, other) for other in taken):
            continue
        taken.append(place)
        x1, y1, x2, y2 = place
        labels.append(element("rect", x=x1, y=y1, width=x2 - x1, height=y2 - y1, class_=f"l {mark.kind}"))
        labels.append(element("text", text, x=x1 + font * 0.2, y=y2 - font * 0.3, class_=str(mark.kind)))
    return element(
        "svg",
        element("use", href=f"#{anchor}", width=width, height=height),
        *outlines,
        *labels,
        class_="overlay",
        viewBox=f"0 0 {width:g} {height:g}",
        font_size=font,
        role="img",
        aria_label=title,
    )


def _outline(
    mark: Mark, class_names: Sequence[str], lost_before: set[tuple[int, Rectangle]] | None
) -> Markup:
    x1, y1, x2, y2 = mark.box
    is_loss = mark.kind in _LOST and lost_before is not None and (mark.label, mark.box) not in lost_before
    return element(
        "rect",
        element("title", label_text(mark, class_names)),
        x=x1,
        y=y1,
        width=max(x2 - x1, 0.1),
        height=max(y2 - y1, 0.1),
        class_=f"m {mark.kind}{' lost' if is_loss else ''}",
    )


def _outcome(marks: PictureMarks) -> set[tuple[int, Rectangle]]:
    """Return the objects that were not found."""
    return {(mark.label, mark.box) for mark in marks.marks if mark.kind in _LOST}
