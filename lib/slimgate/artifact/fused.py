"""What onnxruntime makes of a Q/DQ graph: the graph allows INT8, only the fused kernels are it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from slimgate.artifact.graph import Graph, load_onnx

WEIGHT_SUFFIX = "/weight/quantized"
"""Ends the name of a quantised weight; before it stands the name of its convolution."""


def fused_share(model: Any) -> float:
    """Return the share of Conv MACs that onnxruntime's CPU provider runs in its 8-bit kernel.

    A convolution counts when, after the optimisations of a session, a QLinearConv reads its weight.
    """
    import onnxruntime

    graph = Graph(model)
    work = {node.name: graph.multiply_accumulates(node) for node in graph.convolutions()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        options = onnxruntime.SessionOptions()
        # The level above would also lay tensors out anew, which changes nothing about the kernels' type.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimized = load_onnx(path)
    fused = {
        node.input[3].removesuffix(WEIGHT_SUFFIX)
        for node in optimized.graph.node
        if node.op_type == "QLinearConv"
    }
    return sum(count for name, count in work.items() if name in fused) / sum(work.values())
