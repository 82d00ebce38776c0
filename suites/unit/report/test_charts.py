from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from markupsafe import Markup
from slimgate.report.charts import NARROW, WIDE, Point, Series, Size, draw_interval, draw_lines, draw_scatter
from slimgate.report.charts.scatter import pareto_front
from slimgate.report.charts.stack import draw_stack
from slimgate.report.charts.svg import nice_ticks, overlap, text_box


def point(
    label: str, ratio: float, accuracy: float, precision: str = "fp32", *, sparse: bool = False
) -> Point:
    return Point(
        label=label,
        ratio=ratio,
        interval=(ratio * 0.97, ratio * 1.03),
        accuracy=accuracy,
        precision=precision,
        sparse=sparse,
        about=label,
    )


CROWDED = [
    point("fp32", 1.0, 0.891),
    point("fp16", 1.01, 0.8909, "fp16"),
    point("int8", 0.61, 0.887, "int8"),
    *(
        point(f"prune{10 * level}-global", 0.99 + level / 200, 0.892 - level / 300, sparse=True)
        for level in range(1, 6)
    ),
    *(
        point(f"prune{10 * level}-layer", 1.01 - level / 200, 0.9 / level, sparse=True)
        for level in range(1, 6)
    ),
]


def parse(drawing: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(drawing))


def label_boxes(tree: ElementTree.Element, size: Size) -> dict[str, tuple[float, float, float, float]]:
    return {
        text.text or "": text_box(
            text.text or "",
            float(text.attrib["x"]),
            float(text.attrib["y"]),
            text.attrib.get("text-anchor", "start"),
            size.font,
        )
        for text in tree.iter("text")
        if "label" in text.attrib.get("class", "")
    }


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_labels_of_a_crowded_plot_are_all_there_and_do_not_overlap(size: Size) -> None:
    boxes = label_boxes(parse(draw_scatter(CROWDED, size=size, title="t")), size)
    named = {text.partition(" (")[0] for text in boxes}
    assert named == {one.label for one in CROWDED}
    assert [pair for pair in combinations(boxes, 2) if overlap(boxes[pair[0]], boxes[pair[1]])] == []


def test_an_accuracy_below_the_scale_is_an_arrow_with_its_number() -> None:
    boxes = label_boxes(parse(draw_scatter(CROWDED, size=WIDE, title="t")), WIDE)
    assert "prune50-layer (0.180)" in boxes
    assert "fp32" in boxes


def test_precisions_differ_in_colour_and_in_shape() -> None:
    tree = parse(draw_scatter(CROWDED[:3], size=WIDE, title="t"))
    groups = [group for group in tree.iter("g") if "point" in group.attrib.get("class", "")]
    shapes = {
        group.attrib["class"].split()[-1]: (mark.tag, len(mark.attrib.get("points", "").split()))
        for group in groups
        for mark in group
        if mark.attrib.get("class") in ("solid", "hollow")
    }
    assert shapes == {"p-fp32": ("circle", 0), "p-fp16": ("polygon", 4), "p-int8": ("polygon", 4)}
    square, diamond = (
        next(mark.attrib["points"] for mark in group if mark.tag == "polygon")
        for group in groups
        if "fp32" not in group.attrib["class"]
    )
    assert len({corner.split(",")[0] for corner in square.split()}) != len(
        {corner.split(",")[0] for corner in diamond.split()}
    )


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    points = [point("a", 1.0, 0.9), point("b", 0.6, 0.88), point("c", 0.8, 0.87), point("d", 1.2, 0.9)]
    assert [one.label for one in pareto_front(points)] == ["b", "a"]


def test_zeros_are_never_on_the_front() -> None:
    lucky = [
        point("fp32", 1.0, 0.89),
        point("int8", 0.6, 0.88, "int8"),
        point("prune", 0.4, 0.895, sparse=True),
    ]
    front = parse(draw_scatter(lucky, size=WIDE, title="t")).find("polyline[@class='front']")
    assert front is not None
    assert len(front.attrib["points"].split()) == 3


def test_faster_is_left_and_more_accurate_is_up() -> None:
    tree = parse(draw_scatter([point("slow", 2.0, 0.8), point("fast", 0.5, 0.85)], size=WIDE, title="t"))
    circles = {
        group.find("title").text: (float(mark.attrib["cx"]), float(mark.attrib["cy"]))  # type: ignore[union-attr]
        for group in tree.iter("g")
        for mark in group.iter("circle")
    }
    assert circles["fast"][0] < circles["slow"][0]
    assert circles["fast"][1] < circles["slow"][1]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_lines_that_end_at_one_value_get_labels_that_do_not_overlap(size: Size) -> None:
    series = [
        Series(name=f"variant {index}", points=[(0.5, 0.9), (0.95, 0.2 + index / 1e4)]) for index in range(7)
    ]
    drawing = draw_lines(
        series, x_title="x", y_title="y", x_ticks=[0.5, 0.95], percent=False, size=size, title="t"
    )
    boxes = label_boxes(parse(drawing), size)
    assert len(boxes) == 7
    tops = sorted(box[1] for box in boxes.values())
    assert min(b - a for a, b in pairwise(tops)) >= size.font
    assert all(box[2] <= size.width and box[3] <= size.height for box in boxes.values())


def test_quiet_lines_are_drawn_and_not_named() -> None:
    series = [
        Series(name="a", points=[(0, 1), (1, 0)]),
        Series(name="b", points=[(0, 0.5), (1, 0)], quiet=True),
    ]
    tree = parse(
        draw_lines(series, x_title="x", y_title="y", x_ticks=[0, 1], percent=True, size=WIDE, title="t")
    )
    assert len(list(tree.iter("polyline"))) == 2
    assert set(label_boxes(tree, WIDE)) == {"a"}


@pytest.mark.parametrize(("ratio", "shape"), [(0.9, "circle"), (9.0, "polygon"), (0.01, "polygon")])
def test_an_interval_beyond_the_scale_is_an_arrow(ratio: float, shape: str) -> None:
    drawing = draw_interval(
        ratio, (ratio * 0.9, ratio * 1.1), span=(0.3, 3.0), control=(0.99, 1.01), label="x"
    )
    tree = parse(drawing)
    assert [mark.tag for mark in tree if mark.attrib.get("class") == "dot"] == [shape]
    numbers = [float(number) for number in re.findall(r'x[12]="([\d.-]+)"', str(drawing))]
    assert 0 <= min(numbers) <= max(numbers) <= float(tree.attrib["width"])


def widths(drawing: Markup) -> Sequence[float]:
    return [
        float(one.attrib["width"]) for one in parse(drawing).iter("rect") if one.attrib["class"] != "track"
    ]


def test_a_stack_is_as_long_as_its_parts() -> None:
    drawing = draw_stack([("int8", 0.75), ("fp32", 0.25)], whole=1.0, label="x")
    full = float(parse(drawing).attrib["width"])
    assert widths(drawing) == [full * 0.75, full * 0.25]
    assert "cut" not in str(drawing)


def test_a_stack_beyond_its_whole_is_cut_and_marked() -> None:
    drawing = draw_stack([("inference", 5.0), ("nms", 1.0)], whole=2.0, label="x")
    assert sum(widths(drawing)) == float(parse(drawing).attrib["width"])
    assert 'class="cut"' in drawing


def test_text_in_drawings_is_escaped() -> None:
    drawing = draw_scatter([point("<b>&", 1.0, 0.5), point("x", 0.9, 0.5)], size=WIDE, title='"t"')
    assert "&lt;b&gt;&amp;" in drawing
    assert parse(drawing).attrib["aria-label"] == '"t"'


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.281, 0.3), (0.88, 0.8912), (0.0, 0.0001)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high, 6)
    assert 2 <= len(ticks) <= 6
    assert low <= min(ticks) <= max(ticks) <= high + 1e-9
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1
