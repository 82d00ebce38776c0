"""Scales and zero points against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimgate.compress.quantize.scheme import (
    Affine,
    asymmetric_uint8,
    channel_scales,
    gate_floor,
    quantize_bias,
    quantize_weight,
    symmetric_int8,
    widen_for_bias,
)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 1.0, 1 / 255, 0),  # images: k / 255 is exact
        (0.0, 255.0, 1.0, 0),
        (-1.0, 1.0, 2 / 255, 128),  # 127.5 rounds half to even
        (-51.0, 204.0, 1.0, 51),
        (2.0, 51.0, 0.2, 0),  # zero is pulled into the range
        (-51.0, -2.0, 0.2, 255),
        (0.0, 0.0, 1.0, 0),
    ],
)
def test_uint8_mapping_by_hand(low, high, scale, zero_point):
    found = asymmetric_uint8(low, high)
    assert found.scale == pytest.approx(scale, rel=1e-7)
    assert found.zero_point == zero_point


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(-1.0, 0.5, 1 / 127), (0.0, 254.0, 2.0), (-63.5, 1.0, 0.5), (0.0, 0.0, 1.0)]
)
def test_int8_mapping_by_hand(low, high, scale):
    found = symmetric_int8(low, high)
    assert found.scale == pytest.approx(scale, rel=1e-7)
    assert found.zero_point == 0


_ENDS = st.floats(-1e4, 1e4, width=32)


@given(_ENDS, _ENDS)
def test_uint8_represents_zero_exactly_and_every_value_within_half_a_step(one, other):
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    found = asymmetric_uint8(low, high)
    assert 0 <= found.zero_point <= 255
    values = np.linspace(low, high, 41)
    steps = np.clip(np.rint(values / found.scale) + found.zero_point, 0, 255)
    restored = found.scale * (steps - found.zero_point)
    # Rounding the zero point moves the grid by up to half a step: one step at the ends of the range.
    assert np.abs(restored - values).max() <= found.scale * 1.001
    assert found.scale * (found.zero_point - found.zero_point) == 0.0


def test_weight_scales_are_per_output_channel_of_conv_and_of_transposed_conv():
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[0, 1] = -12.7
    weight[1, 2] = 2.54
    np.testing.assert_allclose(channel_scales(weight, axis=0), [0.1, 0.02], rtol=1e-6)
    # The same numbers as a transposed convolution: input channels first; channel 0 holds zeros only.
    np.testing.assert_allclose(channel_scales(weight, axis=1), [0.1, 0.1, 0.02], rtol=1e-6)


def test_a_channel_of_zeros_takes_the_largest_scale_and_all_zeros_take_one():
    weight = np.array([[127.0], [0.0], [1.27]], np.float32)
    np.testing.assert_allclose(channel_scales(weight, axis=0), [1.0, 1.0, 0.01], rtol=1e-6)
    np.testing.assert_array_equal(channel_scales(np.zeros((2, 4), np.float32), axis=0), [1.0, 1.0])


def test_weights_and_bias_by_hand():
    weight = np.array([[1.0, -0.5], [0.2, 0.04]], np.float32)
    scales = np.array([1 / 127, 0.04], np.float32)
    np.testing.assert_array_equal(quantize_weight(weight, scales, axis=0), [[127, -64], [5, 1]])
    bias = quantize_bias(np.array([1.0, -2.0], np.float32), scales, input_scale=0.5)
    # 1 / (0.5 / 127) = 254; -2 / (0.5 * 0.04) = -100
    np.testing.assert_array_equal(bias, [254, -100])
    assert bias.dtype == np.int32


def test_a_nearly_dead_channel_keeps_its_bias():
    scales = np.array([1e-12, 0.01], np.float32)
    bias = np.array([3.0, 3.0], np.float32)
    widened = widen_for_bias(scales, bias, input_scale=0.1)
    assert widened[1] == scales[1]
    steps = quantize_bias(bias, widened, input_scale=0.1)
    np.testing.assert_allclose(steps * 0.1 * widened.astype(float), bias, rtol=1e-6)
    # Without it the bias saturates: what the test guards against.
    lost = quantize_bias(bias, scales, input_scale=0.1)
    assert lost[0] * 0.1 * 1e-12 < 1e-3


@pytest.mark.parametrize("scale", [1 / 255, 0.9 / 255, 0.01, 0.1])
def test_at_the_floor_a_quantised_gate_is_zero_and_just_above_it_is_one_step(scale):
    def gate(value):
        return np.rint(1 / (1 + np.exp(-value)) / scale)

    floor = gate_floor(scale)
    assert gate(floor) == 0
    assert gate(floor + 0.01) == 1


def test_the_floor_of_the_usual_gate_by_hand():
    # log(p / (1 - p)) for p = 0.499 / 255
    assert gate_floor(1 / 255) == pytest.approx(-6.2344, abs=1e-3)


def test_affine_is_plain_data():
    assert Affine(0.5, 3) == Affine(scale=0.5, zero_point=3)
