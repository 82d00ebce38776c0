"""The arithmetic of 8-bit quantisation: from ranges to scales and zero points.

A real number is ``scale * (integer - zero_point)`` (Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_LARGEST_BIAS = 2**31 - 1


@dataclass(frozen=True)
class Affine:
    """Scale and zero point of one tensor."""

    scale: float
    zero_point: int


def asymmetric_uint8(low: float, high: float) -> Affine:
    """Return the uint8 mapping of a range; zero is always represented exactly.

    A range that is only zero gets scale 1: any scale represents it.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255))
    if scale == 0.0:
        return Affine(scale=1.0, zero_point=0)
    return Affine(scale=scale, zero_point=int(np.rint(-low * 255 / (high - low))))


def gate_floor(gate_scale: float) -> float:
    """Return the input below which a quantised Sigmoid is 0.

    What a SiLU makes of an input below it is 0 as well, however finely that input is represented. Spending range
    on it coarsens the rest: the COCO yolov5n has pre-activations down to -125.

    Args:
        gate_scale: scale of the Sigmoid's quantised output, whose zero point is 0.
    """
    # A hair below the tie, so that rounding cannot go the other way.
    smallest = gate_scale * 0.499
    return float(np.log(smallest / (1 - smallest)))


def symmetric_int8(low: float, high: float) -> Affine:
    """Return the int8 mapping of a range with zero point 0, using -127..127."""
    scale = float(np.float32(max(abs(low), abs(high)) / 127))
    return Affine(scale=scale or 1.0, zero_point=0)


def channel_scales(weight: FloatArray, *, axis: int) -> FloatArray:
    """Return one symmetric int8 scale per output channel.

    A channel of zeros (pruning leaves them) takes the largest scale of the others: its weights are exact under
    any scale, and its bias is rounded no coarser than theirs.

    Args:
        weight: a convolution's weight.
        axis: of the output channels: 0 for Conv, 1 for ConvTranspose.

    Returns:
        ``(channels,)`` float32, all positive.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scales = (np.abs(weight).max(axis=others) / 127).astype(np.float32)
    largest = scales.max() if scales.size else 0
    return np.where(scales > 0, scales, largest if largest > 0 else 1).astype(np.float32)


def widen_for_bias(scales: FloatArray, bias: FloatArray, *, input_scale: float) -> FloatArray:
    """Return weight scales that are large enough for each bias to fit int32 at ``input_scale * scale``.

    Nearly dead channels have tiny scales and ordinary biases; without this their bias would wrap or saturate.
    """
    needed = np.abs(bias.astype(np.float64)) / (input_scale * _LARGEST_BIAS)
    # The next float32 up: rounding down would be one too few.
    return np.maximum(scales, np.nextafter(needed.astype(np.float32), np.float32(np.inf))).astype(np.float32)


def quantize_weight(weight: FloatArray, scales: FloatArray, *, axis: int) -> npt.NDArray[np.int8]:
    """Return a weight as int8 in -127..127 with one scale per channel, rounded half to even."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    quantized: npt.NDArray[np.int8] = np.clip(np.rint(weight / scales.reshape(shape)), -127, 127).astype(
        np.int8
    )
    return quantized


def quantize_bias(bias: FloatArray, scales: FloatArray, *, input_scale: float) -> npt.NDArray[np.int32]:
    """Return a bias as int32 at the accumulator's scale, ``input_scale`` times the weight's scale."""
    steps = bias.astype(np.float64) / (np.float64(input_scale) * scales.astype(np.float64))
    return np.clip(np.rint(steps), -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int32)
