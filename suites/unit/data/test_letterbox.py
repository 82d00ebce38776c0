from __future__ import annotations

import numpy as np
import pytest
from slimgate.data import batch_from_images, letterbox, rectangle_from_image

SHAPES = [
    (480, 640),
    (640, 480),
    (333, 500),
    (1080, 810),
    (17, 900),
    (900, 17),
    (320, 320),
    (31, 33),
    (1, 3000),
    (5, 5),
]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 4001 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [320, 416, 640])
@pytest.mark.parametrize("shape", SHAPES)
def test_canvas_equals_ultralytics_to_the_byte(shape: tuple[int, int], size: int) -> None:
    from ultralytics.data.augment import LetterBox

    image = picture(*shape)
    oracle = LetterBox((size, size), auto=False, scaleup=True)(image=image.copy())
    canvas, _ = letterbox(image, size)
    np.testing.assert_array_equal(canvas, oracle)


@pytest.mark.parametrize("stride", [32, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_rectangle_equals_ultralytics_to_the_byte(shape: tuple[int, int], stride: int) -> None:
    from ultralytics.data.augment import LetterBox

    image = picture(*shape)
    oracle = LetterBox((640, 640), auto=True, scaleup=True, stride=stride)(image=image.copy())
    canvas, placement = letterbox(image, 640, stride=stride)
    np.testing.assert_array_equal(canvas, oracle)
    assert all(side % stride == 0 for side in canvas.shape[:2])
    assert max(canvas.shape) == placement.size


def test_rectangle_is_network_input() -> None:
    image = picture(50, 100)
    network_input, (placement,) = rectangle_from_image(image, 64, stride=8)
    canvas, same = letterbox(image, 64, stride=8)
    assert network_input.shape == (1, 3, 32, 64)
    assert network_input.dtype == np.float32
    assert placement == same
    np.testing.assert_allclose(network_input[0].transpose(1, 2, 0) * 255, canvas, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_come_back_where_they_were(shape: tuple[int, int]) -> None:
    height, width = shape
    _, placement = letterbox(picture(height, width), 320)
    boxes = np.array([[0, 0, width, height], [width * 0.2, height * 0.3, width * 0.7, height * 0.9]])
    returned = placement.to_original(placement.to_canvas(boxes).astype(np.float32))
    np.testing.assert_allclose(returned, boxes, atol=2e-4 * max(width, height) / 320 + 1e-4)


@pytest.mark.parametrize("shape", SHAPES[:6])
def test_way_back_equals_ultralytics(shape: tuple[int, int]) -> None:
    import torch
    from ultralytics.utils.ops import scale_boxes

    rng = np.random.default_rng(3)
    low = rng.random((50, 2)).astype(np.float32) * 320
    boxes = np.concatenate([low - 20, low + 90], axis=1).astype(np.float32)
    _, placement = letterbox(picture(*shape), 320)
    oracle = scale_boxes((320, 320), torch.from_numpy(boxes.copy()), shape).numpy()
    np.testing.assert_allclose(placement.to_original(boxes), oracle, rtol=1e-6, atol=1e-4)


def test_boxes_are_clipped_to_the_image() -> None:
    _, placement = letterbox(picture(100, 200), 64)
    everything = placement.to_original(np.array([[-10, -10, 80, 80]], dtype=np.float32))
    np.testing.assert_array_equal(everything, [[0, 0, 200, 100]])


def test_batch_is_rgb_planes_in_0_to_1() -> None:
    image = picture(64, 64)
    batch, placements = batch_from_images([image, picture(20, 64)], 64)
    assert batch.shape == (2, 3, 64, 64)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[0], image.transpose(2, 0, 1).astype(np.float32) / 255)
    assert batch[1, 0, 0, 0] == np.float32(114) / np.float32(255)
    assert (placements[1].left, placements[1].top) == (0, 22)
