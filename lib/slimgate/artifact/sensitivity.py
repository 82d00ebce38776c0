"""What INT8 costs each part of a detector, measured; and a plan that keeps to a budget."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import last_convolutions
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.qdq import quantized_model, write_qdq
from slimgate.compress.quantize import QuantizationPlan
from slimgate.compress.quantize.noise import tensor_noise
from slimgate.compress.quantize.sensitivity import (
    Group,
    Sensitivity,
    group_convolutions,
    rank_groups,
    return_groups,
)
from slimgate.errors import InputError, unknown_name
from slimgate.flow import Artifact

FloatArray = npt.NDArray[np.float32]
Score = Callable[[Artifact], float]
"""Runs a file on labelled pictures and returns its mAP."""


def measure_groups(
    source: Artifact, plan: QuantizationPlan, probes: Sequence[FloatArray], *, target: str
) -> tuple[Group, ...]:
    """Return every group of convolutions with the noise that it alone sends to the head's outputs.

    Args:
        source: the FP32 ONNX artifact that was calibrated.
        plan: ranges and float nodes of that very file.
        probes: calibration images ``(1, 3, s, s)`` that the noise is measured on.
        target: whose INT8 is measured.

    Raises:
        UsageError: unknown target.
        InputError: the plan is of another file, or there are no images.
    """
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    exact = load_onnx(source.path)
    graph = Graph(exact)
    placement = place_pairs(graph, plan.float_nodes, TARGETS[target])
    macs = {
        node.name: graph.multiply_accumulates(node)
        for node in graph.convolutions()
        if node.name in placement.convolutions
    }
    heads = [node.output[0] for node in last_convolutions(graph)]
    groups = group_convolutions(macs)
    measured = []
    for group in groups:
        others = {name: "another group" for name in macs if name not in group.nodes}
        model, _ = quantized_model(source, plan.keep_float(others), target=target)
        noises = tensor_noise(exact, model, probes, heads)
        # A mean of ratios: boxes and classes count the same, however large their numbers are.
        noise = float(np.mean([noise.ratio for noise in noises.values()]))
        measured.append(dataclasses.replace(group, noise=noise))
    return tuple(measured)


def analyse_sensitivity(
    source: Artifact,
    plan: QuantizationPlan,
    probes: Sequence[FloatArray],
    *,
    target: str,
    budget: float | None = None,
    score: Score | None = None,
    score_groups: bool = False,
) -> QuantizationPlan:
    """Return the plan with its sensitivity measured, and with groups left in float until it keeps to a budget.

    Args:
        source: the FP32 ONNX artifact that was calibrated.
        plan: ranges and float nodes of that very file.
        probes: calibration images ``(1, 3, s, s)`` that the noise is measured on.
        target: whose INT8 is measured.
        budget: largest drop of the score that is accepted; None only measures.
        score: runs a file on labelled training pictures; needed for a budget and for scoring groups.
        score_groups: whether each group alone is quantised and scored too; groups are then ranked by what they drop.

    Raises:
        UsageError: unknown target.
        InputError: the plan is of another file, there are no images, or a budget or scored groups without a score.
    """
    if budget is not None and (score is None or not 0 <= budget < 1):
        raise InputError(
            f"budget {budget}",
            found="no labelled pictures" if score is None else "not a share of mAP",
            expected="a drop of mAP from 0 to 1, such as 0.002, and labelled training pictures to measure it on",
            action="name pictures that are neither calibrated on nor evaluated",
        )
    if score_groups and score is None:
        raise InputError(
            "scores of single groups",
            found="no labelled pictures",
            expected="labelled training pictures to measure mAP on",
            action="name pictures that are neither calibrated on nor evaluated",
        )
    groups = measure_groups(source, plan, probes, target=target)
    if not groups:
        raise InputError(
            f"sensitivity of {source.path.name}",
            found=f"nothing that runs in INT8 for {target}: the plan leaves every convolution in float",
            expected="a convolution to be quantised",
            action="leave fewer layers in float, or choose another target",
        )
    if score is None or not (score_groups or budget is not None):
        return dataclasses.replace(plan, sensitivity=Sensitivity(groups=rank_groups(groups)).to_json())
    reference = score(source)

    def drop_with(floats: Sequence[Group]) -> float:
        with tempfile.TemporaryDirectory(prefix="slimgate-sensitivity-") as folder:
            tried = write_qdq(source, _without(plan, floats), Path(folder, "tried.onnx"), target=target)
            return reference - score(tried)

    if score_groups:
        groups = tuple(
            dataclasses.replace(group, drop=drop_with([other for other in groups if other is not group]))
            for group in groups
        )
    ranked = rank_groups(groups)
    if budget is None:
        return dataclasses.replace(plan, sensitivity=Sensitivity(groups=ranked, score=reference).to_json())

    returned, steps = return_groups(ranked, budget=budget, drop_with=drop_with)
    if len(returned) == len(ranked):
        raise InputError(
            f"budget {budget}",
            found=f"a drop of {steps[0]:.4f} in INT8, and more than the budget with any group left in it",
            expected="a drop within the budget while something still runs in INT8",
            action="raise the budget, or try another observer",
        )
    found = Sensitivity(
        groups=ranked,
        budget=budget,
        score=reference,
        steps=steps,
        returned=tuple(group.name for group in returned),
    )
    return dataclasses.replace(_without(plan, returned), sensitivity=found.to_json())


def _without(plan: QuantizationPlan, groups: Sequence[Group]) -> QuantizationPlan:
    return plan.keep_float(
        {
            node: f"sensitivity: its group '{group.name}' went back to float under the budget"
            for group in groups
            for node in group.nodes
        }
    )
