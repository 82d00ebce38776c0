"""INT8 as other tools write it, beside ours: the same head in float, the same images, their own defaults."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import float_head_nodes
from slimgate.artifact.load import artifact_from_file, read_card, set_card
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.semi_structured import require_semi_structured
from slimgate.artifact.write import replace_file
from slimgate.compress.quantize.source import load_quantizable
from slimgate.errors import InputError, UnavailableError, unknown_name
from slimgate.flow import Artifact, Precision, Step

FloatArray = npt.NDArray[np.float32]


def quantize_with_peer(
    source: Artifact, inputs: Iterable[FloatArray], path: Path, *, peer: str, calibration_sha256: str
) -> Artifact:
    """Write the INT8 file of another tool, at its defaults but for what must stay in float.

    The head and what our x86 target leaves in float stay in float here too: without that, onnxruntime's defaults
    give a detector that finds nothing, and the comparison would be of heads and not of quantisers.

    Args:
        source: the FP32 ONNX artifact.
        inputs: calibration images ``(1, 3, s, s)`` float32 in 0..1, one after the other.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        peer: a key of ``PEERS``.
        calibration_sha256: of the calibration list, for the record.

    Raises:
        UsageError: unknown peer.
        UnavailableError: it is not installed.
        InputError: the source cannot be quantised, or there are no images.
    """
    if peer not in PEERS:
        raise unknown_name("peer", peer, PEERS)
    started = time.perf_counter()
    model = load_quantizable(source.path)
    card = read_card(source.path, model)
    head = dict.fromkeys(float_head_nodes(source), "head")
    floats = sorted({*head, *place_pairs(Graph(model), head, TARGETS["x86"]).floats})
    images = list(inputs)
    if not images:
        raise InputError(
            f"calibration of {source.path}",
            found="no images",
            expected="at least one, better 500 training images",
            action="name a dataset with --calib",
        )
    with tempfile.TemporaryDirectory(prefix="slimgate-peer-") as folder:
        written = Path(folder, "peer.onnx")
        PEERS[peer](source.path, images, floats, written)
        model = load_onnx(written)
    step = Step(
        operation="quantize",
        settings={"peer": peer},
        notes={"calibration_sha256": calibration_sha256, "calibration_count": len(images)},
    )
    card = dataclasses.replace(
        card, precision=Precision.INT8, target=f"x86-{peer}", lineage=(*card.lineage, step)
    )
    require_semi_structured(path, Graph(model), card.lineage)
    set_card(model, card)
    with replace_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return artifact_from_file(path, build_s=time.perf_counter() - started)


def _by_onnxruntime(source: Path, images: list[FloatArray], floats: list[str], path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, FloatArray]] = iter({"images": image} for image in images)

        def get_next(self) -> Mapping[str, FloatArray] | None:
            return next(self._left, None)

    quantize_static(source, path, Reader(), nodes_to_exclude=floats)


def _by_nncf(source: Path, images: list[FloatArray], floats: list[str], path: Path) -> None:
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "peer 'nncf'",
            found="the package nncf is not installed",
            expected="nncf, beside onnx and onnxruntime",
            action="pip install nncf, in an environment of its own if it asks for another onnx",
        ) from error
    import onnx

    dataset = nncf.Dataset(images, lambda image: {"images": image})
    quantized = nncf.quantize(
        onnx.load(source),
        dataset,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=floats),
    )
    onnx.save(quantized, path)


PEERS: dict[str, Callable[[Path, list[FloatArray], list[str], Path], Any]] = {
    "onnxruntime": _by_onnxruntime,
    "nncf": _by_nncf,
}
"""By the name that a lineage records: onnxruntime's static quantisation, and OpenVINO's NNCF."""
