"""The part of an ONNX detector that must stay in float: its head, found by structure."""

from __future__ import annotations

from typing import Any

from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.load import read_card
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Artifact


def float_head_nodes(source: Artifact) -> tuple[str, ...]:
    """Return the names of every node from the head's output convolutions to the output.

    The output convolutions are those that the export recorded; a foreign file's are those that no other
    convolution follows (the box integral of DFL is not one: it has a single output channel behind a Softmax).

    Raises:
        InputError: a recorded convolution is not in the graph exactly once, or the two ways disagree.
    """
    model = load_onnx(source.path)
    graph = Graph(model)
    recorded = set(read_card(source.path, model).head_nodes)
    found = {node.name for node in last_convolutions(graph)}
    if recorded and recorded != found:
        raise InputError(
            str(source.path),
            found="either recorded as the head's or last in the graph, not both: "
            f"{name_offenders(sorted(recorded ^ found))}",
            expected=f"the {len(recorded)} recorded output convolutions, each exactly once and followed by none",
            action="export the detector again",
        )
    heads = [node for node in graph.nodes if node.name in found]
    if len(heads) != len(found) or not heads:
        raise InputError(
            str(source.path),
            found=f"{len(heads)} nodes for {len(found)} head convolutions",
            expected="each output convolution of the head as one node of its own name",
            action="export the detector again with 'slimgate export'",
        )
    return tuple(node.name for node in graph.descendants(heads))


def last_convolutions(graph: Graph) -> list[Any]:
    """Return the convolutions that no other convolution follows, DFL's apart."""
    convolutions = [node for node in graph.convolutions() if not is_box_integral(graph, node)]
    names = {node.output[0] for node in convolutions}
    last = []
    for node in convolutions:
        following = graph.descendants([node])
        if not any(other.output[0] in names for other in following if other.output[0] != node.output[0]):
            last.append(node)
    return last


def is_box_integral(graph: Graph, node: Any) -> bool:
    """Whether a convolution is DFL's expectation: one output channel behind a Softmax.

    Li et al. 2020, "Generalized Focal Loss", equation 4, written as a 1 x 1 convolution.
    """
    if node.op_type != "Conv" or graph.weight_shape(node)[0] != 1:
        return False
    before = graph.producer(node.input[0])
    while before is not None and before.op_type in ("Transpose", "Reshape", "Cast"):
        before = graph.producer(before.input[0])
    return before is not None and before.op_type == "Softmax"
