"""The ONNX file of a detector."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

from slimgate.artifact.aligned import require_aligned_widths
from slimgate.artifact.card import Card
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import is_box_integral
from slimgate.artifact.load import artifact_from_file, set_card
from slimgate.artifact.semi_structured import require_semi_structured
from slimgate.artifact.simplify import (
    fold_constants,
    free_batch_axis,
    straighten_box_integral,
    unshare_initializers,
)
from slimgate.artifact.write import replace_file
from slimgate.errors import InputError, UsageError, name_offenders
from slimgate.flow import Artifact, Detector

INPUT_NAME = "images"
OUTPUT_NAME = "predictions"
OPSETS = range(17, 21)
"""17 has everything a detector needs; 20 is the newest that torch's exporter writes."""

_TRACED_BATCH = 2


def export_onnx(detector: Detector, path: Path, *, batch: int = 0, opset: int = 17) -> Artifact:
    """Write a detector as FP32 ONNX with batch normalisation folded.

    Args:
        detector: what to export.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        batch: fixed batch size, or 0 for a dynamic batch axis.
        opset: of the ONNX operators.

    Returns:
        The artifact: input ``images (n, 3, s, s)`` float32, output ``predictions (n, 4 + classes, candidates)``.

    Raises:
        UsageError: opset or batch out of range.
        InputError: the head's output convolutions are not all found in the graph, the widths or the 2:4 pattern
            of the lineage are lost, or the file cannot be written.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"opset {opset}",
            found="not supported",
            expected=f"{OPSETS.start} to {OPSETS.stop - 1}",
            action=f"leave it out, or choose {OPSETS.start}",
        )
    if batch < 0:
        raise UsageError(
            f"batch {batch}", found="negative", expected="0 (dynamic) or a size", action="choose 0 or more"
        )
    started = time.perf_counter()
    require_aligned_widths(path, detector)
    with replace_file(path) as temporary:
        _trace(detector, temporary, batch=batch or _TRACED_BATCH, opset=opset)
        fold_constants(temporary)
        model = load_onnx(temporary)
        unshare_initializers(model)
        head = _head_node_names(detector, model)
        straighten_box_integral(model)
        if not batch:
            free_batch_axis(model, traced=_TRACED_BATCH)
        _check_output(detector, model, path)
        require_semi_structured(path, Graph(model), detector.lineage)
        set_card(model, Card.of(detector, batch=batch, head_nodes=head))
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return artifact_from_file(path, build_s=time.perf_counter() - started)


def _trace(detector: Detector, path: Path, *, batch: int, opset: int) -> None:
    import torch

    from slimgate.model import fuse_batchnorm

    size = detector.image_size
    module = fuse_batchnorm(detector.module).eval()
    images = torch.zeros(batch, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        # The head keeps the anchors of the last shape it saw: without this the file would depend on what the
        # detector was run on before.
        module(images)
        # The tracer warns about every Python branch on a shape; image size and strides are fixed on purpose, and
        # the batch axis is freed and checked below.
        warnings.simplefilter("ignore")
        # The tracing exporter needs no onnxscript, keeps parameter names, and folds the fixed shapes.
        torch.onnx.export(
            module,
            (images,),
            str(path),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=opset,
            dynamo=False,
        )


def _check_output(detector: Detector, model: Any, path: Path) -> None:
    # Inferred from the input alone at a batch size that was not traced: whatever of the traced one is left inside
    # would show in the shape, or fail to infer.
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    axis = probe.graph.input[0].type.tensor_type.shape.dim[0]
    axis.dim_value = axis.dim_value or _TRACED_BATCH + 1
    probe.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True, strict_mode=True)
        shape = [size.dim_value for size in inferred.graph.output[0].type.tensor_type.shape.dim]
    except onnx.shape_inference.InferenceError as error:
        shape = [str(error).splitlines()[0]]
    expected = [axis.dim_value, 4 + len(detector.class_names)]
    if len(shape) != 3 or shape[:2] != expected:
        raise InputError(
            str(path),
            found=f"the exported graph gives predictions of shape {shape}",
            expected=f"{[*expected, 'candidates']}",
            action="check that the detector's forward is as slimgate.flow.Detector.module describes",
        )


def _head_node_names(detector: Detector, model: Any) -> tuple[str, ...]:
    """Return the ONNX node of each of the head's output convolutions, matched by the name of its weight.

    The box integral of DFL is matched like the others and then left out: it reads what they put out.
    """
    from slimgate.model import head_convolutions

    graph = Graph(model)
    names: list[str] = []
    wrong = []
    for module_name in head_convolutions(detector):
        matches = [node for node in graph.convolutions() if node.input[1] == f"{module_name}.weight"]
        if len(matches) != 1:
            wrong.append(f"{module_name} ({len(matches)} nodes)")
        names.extend(node.name for node in matches if not is_box_integral(graph, node))
    if wrong or not names:
        raise InputError(
            f"head of '{detector.name}'",
            found=f"output convolutions without one ONNX node each: {name_offenders(wrong) or 'none are known'}",
            expected="every output convolution of the head as exactly one Conv node",
            action="check that no two of them have equal weights (the exporter merges those)",
        )
    return tuple(names)
