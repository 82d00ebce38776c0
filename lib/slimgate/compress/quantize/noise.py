"""Signal to quantisation noise: how far quantised tensors are from the float ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.compress.quantize.source import check_images
from slimgate.errors import InputError

FloatArray = npt.NDArray[np.float32]


class Noise:
    """Power of a signal and of its error, summed over images.

    Attributes:
        signal: sum of squares of the float values.
        error: sum of squares of quantised less float values.
    """

    def __init__(self) -> None:
        self.signal = 0.0
        self.error = 0.0

    def add(self, reference: FloatArray, quantized: FloatArray) -> None:
        """Take in one more image's float and quantised values."""
        exact = reference.astype(np.float64)
        self.signal += float(np.sum(exact * exact))
        self.error += float(np.sum((quantized - exact) ** 2))

    @property
    def ratio(self) -> float:
        """Error power over signal power; 0 without error, infinite for an error where there is no signal."""
        if self.error == 0.0:
            return 0.0
        return self.error / self.signal if self.signal else math.inf

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantisation noise ratio in decibels; None when nothing differs."""
        return -10 * math.log10(self.ratio) if 0.0 < self.ratio < math.inf else None


def tensor_noise(
    reference: Any, quantized: Any, inputs: Iterable[FloatArray], tensors: Sequence[str]
) -> dict[str, Noise]:
    """Return the noise of tensors that two ONNX models both have, over images.

    The error of a tensor holds everything before it: it is what really arrives there.

    Args:
        reference: the FP32 ``onnx.ModelProto``.
        quantized: the same model with Q/DQ pairs.
        inputs: images ``(n, 3, s, s)`` float32 in 0..1, one array after the other.
        tensors: names of tensors that both models have.

    Raises:
        InputError: there are no images.
    """
    noises = {name: Noise() for name in tensors}
    images = list(inputs)
    if not images:
        raise InputError(
            "quantisation noise",
            found="no images",
            expected="at least one calibration image",
            action="name images to compare on",
        )
    pairs = zip(_run(reference, images, tensors), _run(quantized, images, tensors), strict=True)
    for exact, rounded in pairs:
        for name, one, other in zip(tensors, exact, rounded, strict=True):
            noises[name].add(one, other)
    return noises


def _run(model: Any, images: Sequence[FloatArray], tensors: Sequence[str]) -> Iterator[list[FloatArray]]:
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in tensors
        if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    for image in images:
        check_images(session, image)
        yield session.run(list(tensors), {name: image})
