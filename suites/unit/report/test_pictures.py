from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slimgate.errors import UsageError
from slimgate.report.labels import place_label
from slimgate.report.palette import class_colour, text_colour
from slimgate.report.pictures import draw_detections, side_by_side

from fixtures.case_records import BASELINE

GREY = np.full((240, 320, 3), 128, dtype=np.uint8)
NAMES = ("datamatrix", "qrcode", "<b>größe</b>")


def test_a_detection_is_outlined_in_its_class_colour() -> None:
    drawn = draw_detections(GREY, [[50, 60, 150, 160]], [0.9], [1], NAMES)
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8
    assert tuple(drawn[110, 50]) == class_colour(1)
    assert tuple(drawn[160, 100]) == class_colour(1)
    assert tuple(drawn[110, 100]) == (128, 128, 128)


def test_the_image_itself_is_not_changed() -> None:
    before = GREY.copy()
    draw_detections(GREY, [[0, 0, 50, 50]], [0.9], [0], NAMES)
    assert (before == GREY).all()


def test_a_picture_without_detections_comes_back_as_it_was() -> None:
    drawn = draw_detections(GREY, np.zeros((0, 4)), np.zeros(0), np.zeros(0), NAMES)
    assert (drawn == GREY).all()


@pytest.mark.parametrize(
    "box", [[-50, -50, 400, 300], [300, 200, 900, 900], [0, 0, 1, 1], [310, 0, 320, 8], [20, 20, 10, 10]]
)
def test_boxes_over_the_edge_are_drawn_inside(box: list[float]) -> None:
    drawn = draw_detections(GREY, [box], [0.5], [0], NAMES)
    assert drawn.shape == GREY.shape
    assert (drawn != GREY).any()


def test_every_detection_gets_a_label_on_a_background_it_can_be_read_on() -> None:
    drawn = draw_detections(GREY, [[50, 60, 150, 160]], [0.87], [1], NAMES)
    above = drawn[44:60, 50:150].reshape(-1, 3)
    colours = {tuple(int(channel) for channel in pixel) for pixel in above}
    assert class_colour(1) in colours
    assert text_colour(class_colour(1)) in colours


def test_more_classes_than_colours_and_a_tiny_picture_work() -> None:
    tiny = np.zeros((8, 8, 3), dtype=np.uint8)
    drawn = draw_detections(tiny, [[1, 1, 6, 6]], [0.5], [79], [str(index) for index in range(80)])
    assert drawn.shape == tiny.shape
    assert class_colour(79) == class_colour(7)


def test_white_is_chosen_on_dark_and_black_on_light() -> None:
    assert text_colour((0, 60, 120)) == (255, 255, 255)
    assert text_colour((255, 220, 120)) == (0, 0, 0)


def test_labels_stay_inside_and_apart() -> None:
    canvas = (100.0, 100.0)
    first = place_label((10, 0, 60, 60), (40, 12), canvas, [])
    second = place_label((10, 0, 60, 60), (40, 12), canvas, [first])
    for place in (first, second):
        assert min(place) >= 0
        assert place[2] <= 100
        assert place[3] <= 100
    assert first[3] <= second[1] or second[3] <= first[1] or first[2] <= second[0] or second[2] <= first[0]


def open_sheet(run_dir: Path, cases: list[str]) -> Image.Image:
    return Image.open(io.BytesIO(side_by_side(run_dir, cases, "17")))


def test_a_sheet_holds_ground_truth_and_the_cases_in_a_grid(run_dir: Path) -> None:
    one = open_sheet(run_dir, [])
    assert one.format == "JPEG"
    two = open_sheet(run_dir, [BASELINE])
    five = open_sheet(
        run_dir, [BASELINE, "codes/int8@openvino", "codes/fp16@openvino", "codes/prune50-layer@onnxruntime"]
    )
    assert one.height == two.height
    assert two.width > 1.9 * one.width
    assert five.width > 2.9 * one.width
    assert five.height > 1.9 * one.height


def test_what_is_missed_is_red_on_the_sheet(run_dir: Path) -> None:
    record = run_dir / "cases/int8@openvino.json"
    value = json.loads(record.read_text())
    value["pictures"]["17"] = []
    record.write_text(json.dumps(value))

    def red_pixels(cases: list[str]) -> int:
        pixels = np.asarray(open_sheet(run_dir, cases)).astype(int)
        return int(((pixels[..., 0] > 190) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)).sum())

    assert red_pixels([]) == 0
    assert red_pixels(["codes/int8@openvino"]) > 500


def test_a_sheet_of_an_unknown_picture_lists_the_known(run_dir: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        side_by_side(run_dir, [BASELINE], "18")
    assert str(refusal.value).startswith("picture '18': unknown picture")
    assert "one of 17, 204" in str(refusal.value)


def test_a_sheet_of_a_case_without_pictures_lists_those_with(run_dir: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        side_by_side(run_dir, ["codes/int8@tensorrt-rtx-sm86"], "17")
    assert "unknown case with pictures" in str(refusal.value)
    assert "codes/int8@openvino" in str(refusal.value)
