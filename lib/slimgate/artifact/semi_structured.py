"""Whether the weights in an ONNX file are 2:4 sparse: what sparse tensor cores ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimgate.artifact.graph import Graph
from slimgate.artifact.head import is_box_integral, last_convolutions
from slimgate.artifact.stored import stored_weight
from slimgate.compress.semi_structured import GROUP, KEPT
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Step

OPERATION = "prune24"


@dataclass(frozen=True, kw_only=True)
class SemiStructured:
    """What holds of the 2:4 pattern in a file.

    Attributes:
        layers: node name of every convolution to ``holds``, ``broken``, or the reason why sparse kernels do not
            take it, whatever its weights are.
        share: of the convolution MACs, those in layers where it holds.
    """

    layers: Mapping[str, str]
    share: float


def semi_structured_state(weight: npt.NDArray[Any]) -> str:
    """Return ``holds`` when at most two of every four consecutive values along dimension 1 are not 0, or ``broken``.

    Args:
        weight: ``(out, in, ...)`` with ``in`` a multiple of 4.
    """
    groups = np.moveaxis(weight, 1, -1).reshape(-1, GROUP)
    return "holds" if (np.count_nonzero(groups, axis=1) <= KEPT).all() else "broken"


def check_semi_structured(graph: Graph) -> SemiStructured:
    """Return for every convolution of a file whether its weight is 2:4 sparse; float, half and Q/DQ alike.

    The pattern counts along the input channels, per output channel and kernel position; grouped and transposed
    convolutions have no sparse kernels (see ``slimgate.compress.semi_structured``).

    Raises:
        InputError: a weight is computed, not stored, or a feature map's size is not in the graph.
    """
    layers = {node.name: _state(graph, node) for node in graph.convolutions()}
    work = {node.name: graph.multiply_accumulates(node) for node in graph.convolutions()}
    total = sum(work.values())
    holding = sum(count for name, count in work.items() if layers[name] == "holds")
    return SemiStructured(layers=layers, share=holding / total if total else 0.0)


def require_semi_structured(path: Path, graph: Graph, lineage: Sequence[Step]) -> None:
    """Check that a file whose lineage claims 2:4 pruning has the pattern wherever the pruning put it.

    Raises:
        InputError: it does not; the message names the nodes.
    """
    claims = [step for step in lineage if step.operation == OPERATION]
    if not claims:
        return
    exempt = {node.name for node in graph.convolutions() if is_box_integral(graph, node)}
    if claims[-1].settings.get("head") == "dense":
        exempt |= {node.name for node in last_convolutions(graph)}
    states = check_semi_structured(graph).layers
    broken = [name for name, state in states.items() if state == "broken" and name not in exempt]
    if broken:
        raise InputError(
            str(path),
            found=f"the 2:4 pattern of its lineage ({OPERATION}) is lost in {len(broken)} of "
            f"{len(states) - len(exempt)} convolutions: {name_offenders(broken)}",
            expected=f"at most {KEPT} of every {GROUP} weights along the input channels not zero",
            action=f"apply {OPERATION} again, after whatever changed the weights",
        )


def _state(graph: Graph, node: Any) -> str:
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    inputs = graph.weight_shape(node)[1]
    if node.op_type == "ConvTranspose":
        return "a transposed convolution"
    if groups > 1:
        return f"{groups} groups"
    if inputs % GROUP:
        return f"{inputs} input channels"
    return semi_structured_state(stored_weight(graph, node))
