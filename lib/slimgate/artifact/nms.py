"""Non-maximum suppression inside the graph, out of standard ONNX operators."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimgate.artifact.graph import Graph, load_onnx, opset_of
from slimgate.artifact.load import artifact_from_file, read_card, set_card
from slimgate.artifact.write import replace_file
from slimgate.detect import GraphNms
from slimgate.detect.graph_nms import COLUMNS
from slimgate.errors import InputError
from slimgate.flow import Artifact, Step

OUTPUT_NAME = "detections"
_PREFIX = "nms/"
_OLDEST_OPSET = 13
"""From there Split, Squeeze and Unsqueeze take sizes and axes as inputs."""


def append_nms(source: Artifact, path: Path, settings: GraphNms) -> Artifact:
    """Write a file that answers with detections instead of raw predictions.

    Output: ``detections (n, rows, 6)`` float32, best first: x1, y1, x2, y2 in pixels of the network input, score,
    class index; rows without a detection are zeros. All rows of an image are NaN when any of its
    scores is. It is the layout of ultralytics' exports with ``nms=True``, and one fixed-size tensor, so every runtime
    and every batch size can answer with it. ``rows`` is ``max_det``, or the number of positions where there are fewer.

    The ONNX operator NonMaxSuppression does the suppressing: ONNX Runtime and OpenVINO run it on the CPU, and TensorRT
    makes it an ``INMSLayer``. Around it everything has fixed shapes. The result is that of ``slimgate.detect.nms``.

    Args:
        source: an ONNX artifact in any precision; FP16 and INT8 files keep theirs, their scores are float32.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        settings: of the suppression.

    Raises:
        InputError: the source is no ONNX file, of an older opset than 13, or suppresses already; how many positions it
            has is not known; or the file cannot be written.
    """
    if source.format != "onnx" or "nms" in source.facts:
        raise InputError(
            str(source.path),
            found="suppresses inside the graph already"
            if "nms" in source.facts
            else f"format '{source.format}'",
            expected="an ONNX file with raw predictions",
            action="export the detector again, with --nms",
        )
    started = time.perf_counter()
    model = load_onnx(source.path)
    card = read_card(source.path, model)
    opset = opset_of(model)
    if opset < _OLDEST_OPSET:
        raise InputError(
            str(source.path),
            found=f"opset {opset}",
            expected=f"opset {_OLDEST_OPSET} or newer, whose operators the suppression is made of",
            action="export the detector again with 'slimgate export --nms'",
        )
    shape = Graph(model).types[model.graph.output[0].name].shape
    if shape[2] is None:
        raise InputError(
            str(source.path),
            found="how many positions its predictions have cannot be inferred",
            expected="a fixed image size; only the batch axis may be dynamic",
            action="export the detector again with 'slimgate export --nms'",
        )
    _Tail(model, len(card.class_names), positions=shape[2]).append(settings)
    step = Step(operation="nms", settings=settings.to_json())
    card = dataclasses.replace(
        card, lineage=(*card.lineage, step), facts={**card.facts, "nms": settings.to_json()}
    )
    with replace_file(path) as temporary:
        set_card(model, card)
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return artifact_from_file(path, build_s=source.build_s + time.perf_counter() - started)


class _Tail:
    """Appends the operators from ``predictions (n, 4 + classes, positions)`` to ``detections (n, rows, 6)``."""

    def __init__(self, model: Any, class_count: int, *, positions: int) -> None:
        self._graph = model.graph
        self._class_count = class_count
        batch = self._graph.output[0].type.tensor_type.shape.dim[0]
        self._batch = batch.dim_param or int(batch.dim_value)
        # As inferred: a foreign file may call the axis by a name though its size is fixed.
        self._positions = positions

    def append(self, settings: GraphNms) -> None:
        """Add the operators and replace the output."""
        import onnx

        rows = min(settings.max_det, self._positions)
        sizes = self._constant("sizes", np.array([2, 2, self._class_count], np.int64))
        self._node("Split", [self._graph.output[0].name, sizes], ["centre", "size", "scores"], axis=1)
        boxes = self._corners()
        broken = self._broken_scores()
        best = self._node("ArgMax", [_PREFIX + "scores"], ["best"], axis=1, keepdims=1)
        scores = self._best_class_scores(best)
        selected = self._node(
            "NonMaxSuppression",
            [
                boxes,
                scores,
                self._constant("max_det", np.array([settings.max_det], np.int64)),
                self._constant("iou", np.array([settings.iou], np.float32)),
                self._constant("conf", np.array([settings.conf], np.float32)),
            ],
            ["selected"],
        )
        kept = self._scores_of(selected, scores, best)
        rows_of_best = self._constant("rows", np.array([rows], np.int64))
        top = self._node("TopK", [kept, rows_of_best], ["top", "index"], axis=1)
        self._gather(top, boxes, best, broken)
        output = onnx.helper.make_tensor_value_info(
            OUTPUT_NAME, onnx.TensorProto.FLOAT, [self._batch, rows, COLUMNS]
        )
        del self._graph.output[:]
        self._graph.output.append(output)

    def _corners(self) -> str:
        """Return boxes ``(n, positions, 4)`` xyxy, in the arithmetic of ``slimgate.detect.xyxy_from_xywh``."""
        half = self._node(
            "Mul", [_PREFIX + "size", self._constant("half", np.array(0.5, np.float32))], ["half_size"]
        )
        low = self._node("Sub", [_PREFIX + "centre", half], ["low"])
        high = self._node("Add", [_PREFIX + "centre", half], ["high"])
        corners = self._node("Concat", [low, high], ["corners"], axis=1)
        return self._node("Transpose", [corners], ["boxes"], perm=[0, 2, 1])

    def _broken_scores(self) -> str:
        """Return ``(n, 1, 1)``: 0, or NaN where any score of an image is NaN or infinite.

        No comparison is true of a NaN: without this a network that overflows would find nothing, and say so.
        """
        axes = self._constant("axes12", np.array([1, 2], np.int64))
        total = self._node("ReduceSum", [_PREFIX + "scores", axes], ["total"], keepdims=1)
        return self._node("Mul", [total, self._constant("zero", np.array(0, np.float32))], ["broken"])

    def _best_class_scores(self, best: str) -> str:
        """Return scores ``(n, classes, positions)`` with 0 for all but each position's best class."""
        labels = np.arange(self._class_count, dtype=np.int64).reshape(1, -1, 1)
        own = self._node("Equal", [best, self._constant("labels", labels)], ["own"])
        return self._node("Where", [own, _PREFIX + "scores", _PREFIX + "zero"], ["best_scores"])

    def _scores_of(self, selected: str, scores: str, best: str) -> str:
        """Return scores ``(n, positions)`` with 0 for what was suppressed.

        The selection has as many rows as boxes were kept, which no later shape may depend on: it is scattered
        back onto the fixed grid of positions.
        """
        zero = _PREFIX + "zero"
        blank = self._node("Mul", [scores, zero], ["blank"])
        picked = self._node("GatherND", [scores, selected], ["picked"])
        marked = self._node("ScatterND", [blank, selected, picked], ["marked"])
        kept = self._node("GatherElements", [marked, best], ["kept"], axis=1)
        return self._node(
            "Squeeze", [kept, self._constant("axis1", np.array([1], np.int64))], ["kept_scores"]
        )

    def _gather(self, top: str, boxes: str, best: str, broken: str) -> None:
        """Make the output of the best rows, zeros where there are none left, and NaN where scores were NaN."""
        import onnx

        axis = self._constant("axis2", np.array([2], np.int64))
        index = self._node("Unsqueeze", [_PREFIX + "index", axis], ["rows_index"])
        times = self._constant("times", np.array([1, 1, 4], np.int64))
        index4 = self._node("Tile", [index, times], ["box_index"])
        chosen = self._node("GatherElements", [boxes, index4], ["chosen_boxes"], axis=1)
        labels = self._node("Cast", [best], ["labels_float"], to=onnx.TensorProto.FLOAT)
        labels = self._node("Transpose", [labels], ["position_labels"], perm=[0, 2, 1])
        label = self._node("GatherElements", [labels, index], ["chosen_labels"], axis=1)
        score = self._node("Unsqueeze", [top, axis], ["chosen_scores"])
        score = self._node("Add", [score, broken], ["told_scores"])
        row = self._node("Concat", [chosen, score, label], ["chosen"], axis=2)
        zero = _PREFIX + "zero"
        found = self._node("Greater", [score, zero], ["found"])
        node = onnx.helper.make_node(
            "Where", [found, row, broken], [OUTPUT_NAME], name=f"{_PREFIX}{OUTPUT_NAME}"
        )
        self._graph.node.append(node)

    def _constant(self, name: str, value: Any) -> str:
        import onnx

        self._graph.initializer.append(onnx.numpy_helper.from_array(value, _PREFIX + name))
        return _PREFIX + name

    def _node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        """Append a node and return its first output's name."""
        import onnx

        names = [_PREFIX + name for name in outputs]
        self._graph.node.append(onnx.helper.make_node(operator, inputs, names, name=names[0], **attributes))
        return names[0]
