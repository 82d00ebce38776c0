"""What OpenVINO's execution graph says that its convolutions run in.

``CompiledModel.get_runtime_model()`` is the graph after all fusing, in the plugin's own layers. Each carries, as text,
the layers of the file that were fused into it (``originalLayersNames``), the type that it computes in
(``runtimePrecision``) and the kernel that was chosen (``primitiveType``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimgate.artifact.executed import UNKNOWN
from slimgate.flow import Precision

_KINDS = ("Convolution", "Deconvolution")
_ELEMENTS = {
    "f32": Precision.FP32.value,
    "f16": Precision.FP16.value,
    "bf16": Precision.BF16.value,
    "i8": Precision.INT8.value,
    "u8": Precision.INT8.value,
}
_WIDEST_FIRST = (UNKNOWN, "fp32", "bf16", "fp16", "int8")
# The importer splits a Conv with a bias; what it multiplies with is then called so.
_BIASLESS = re.compile(r"/WithoutBiases$")


@dataclass(frozen=True, kw_only=True)
class ExecutedLayer:
    """One layer of the execution graph.

    Attributes:
        name: the plugin's name for it.
        nodes: names of the file's nodes that it executes.
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8``, or OpenVINO's name of another type.
        kernel: the implementation, such as ``brgconv_avx512_bf16``.
    """

    name: str
    nodes: frozenset[str]
    precision: str
    kernel: str


def executed_convolutions(compiled: Any) -> tuple[ExecutedLayer, ...]:
    """Return the convolutions of a compiled model as they are executed, in execution order."""
    return tuple(_convolutions(compiled.get_runtime_model().get_ordered_ops()))


def _convolutions(operations: Iterable[Any]) -> Iterator[ExecutedLayer]:
    for operation in operations:
        information = operation.get_rt_info()
        told = {
            key: str(information[key].astype(str))
            for key in ("layerType", "runtimePrecision", "primitiveType", "originalLayersNames")
            if key in information
        }
        if told.get("layerType") not in _KINDS:
            continue
        element = told.get("runtimePrecision", UNKNOWN)
        names = told.get("originalLayersNames", "").split(",")
        yield ExecutedLayer(
            name=operation.get_friendly_name(),
            nodes=frozenset(_BIASLESS.sub("", name.strip()) for name in names if name.strip()),
            precision=_ELEMENTS.get(element, element),
            kernel=told.get("primitiveType", UNKNOWN),
        )


def precisions_by_node(layers: Iterable[ExecutedLayer], nodes: Sequence[str]) -> dict[str, str]:
    """Return what each convolution of the file runs in: the least reduced of the layers that execute it.

    Args:
        layers: the executed convolutions.
        nodes: names of the file's convolutions; one that no layer names is ``unknown``.
    """
    found: dict[str, set[str]] = {name: set() for name in nodes}
    for layer in layers:
        for name in layer.nodes & found.keys():
            found[name].add(layer.precision)
    return {name: _least_reduced(precisions) for name, precisions in found.items()}


def _least_reduced(precisions: set[str]) -> str:
    if precisions - set(_WIDEST_FIRST):
        return UNKNOWN
    return next((name for name in _WIDEST_FIRST if name in precisions), UNKNOWN)


def count_kernels(layers: Iterable[ExecutedLayer]) -> Mapping[str, int]:
    """Return how many convolutions each kernel executes, by its name with the type that it computes in."""
    return dict(sorted(Counter(f"{layer.kernel} ({layer.precision})" for layer in layers).items()))
