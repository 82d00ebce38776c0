"""Other tools' INT8, each at its own defaults.

This file imports nothing of slimgate, and the tools only where they are called: a tool whose requirements cannot be
met beside ours runs it as a script, with the Python of an environment of its own. See ``slimgate.artifact.peer``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "nncf": ("nncf",),
    "ultralytics": ("ultralytics-opencv-headless", "ultralytics"),
    "modelopt": ("nvidia-modelopt",),
}
"""By peer, the distributions that bring it; any one of them."""


def version_of(peer: str) -> str | None:
    """Return the version of a peer that is installed here, or None."""
    for name in DISTRIBUTIONS[peer]:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _reader(images: Sequence[Any]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self._left: Iterator[Mapping[str, Any]] = iter({"images": image} for image in images)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._left, None)

        def get_first(self) -> Mapping[str, Any]:
            return {"images": images[0]}

    return Reader()


def _by_onnxruntime(source: str, images: Sequence[Any], floats: list[str], path: str) -> None:
    from onnxruntime.quantization import quantize_static

    quantize_static(source, path, _reader(images), nodes_to_exclude=floats)


def _by_nncf(source: str, images: Sequence[Any], floats: list[str], path: str) -> None:
    import nncf
    import onnx

    dataset = nncf.Dataset(list(images), lambda image: {"images": image})
    quantized = nncf.quantize(
        onnx.load(source),
        dataset,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=floats),
    )
    onnx.save(quantized, path)


def _by_ultralytics(source: str, images: Sequence[Any], floats: list[str], path: str) -> None:
    """Quantise as ``YOLO.export(format="onnx", int8=True)`` does; what stays in float is its own choice."""
    from ultralytics.utils.export.onnx import onnx_int8_quantize

    onnx_int8_quantize(source, path, images, lambda image: image)


def _by_modelopt(source: str, images: Sequence[Any], floats: list[str], path: str) -> None:
    from modelopt.onnx.quantization import quantize

    # Its default for what stays in float is fp16, which is a TensorRT engine's choice: other runtimes cast it back.
    quantize(
        source,
        quantize_mode="int8",
        calibration_data_reader=_reader(images),
        calibration_eps=["cpu"],
        nodes_to_exclude=floats,
        high_precision_dtype="fp32",
        output_path=path,
    )


TOOLS: Mapping[str, Callable[[str, Sequence[Any], list[str], str], None]] = {
    "onnxruntime": _by_onnxruntime,
    "nncf": _by_nncf,
    "ultralytics": _by_ultralytics,
    "modelopt": _by_modelopt,
}
"""By peer: ``(source, images (1, 3, s, s), names of the nodes that stay in float, path)`` writes an ONNX file."""


def main(arguments: Sequence[str]) -> int:
    """Quantise as a script: ``version PEER`` prints it, ``PEER SOURCE IMAGES.npy FLOATS.json PATH`` writes a file."""
    import numpy as np

    if arguments[0] == "version":
        print(json.dumps(version_of(arguments[1])))  # noqa: T201 - what the caller reads
        return 0
    peer, source, images, floats, path = arguments
    with open(floats, encoding="utf-8") as file:  # noqa: PTH123 - a script for any Python
        TOOLS[peer](source, [image[None] for image in np.load(images, mmap_mode="r")], json.load(file), path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
