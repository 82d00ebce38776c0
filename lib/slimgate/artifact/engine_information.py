"""What a built engine says that its convolutions run in: the inspector's JSON, read without TensorRT.

The schema is that of ``IEngineInspector`` with DETAILED verbosity. TensorRT 8 to 10 write type and layout of a tensor
into one field, ``Format/Datatype``; TensorRT 11 splits it (its migration guide, "IEngineInspector JSON Output"). A
layer names the ONNX nodes that were fused into it in ``Metadata``, ``[ONNX Layer: /model.0/conv/Conv]``, with control
characters between them; older versions have them in ``Name`` alone, joined by `` + ``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from slimgate.artifact.executed import UNKNOWN, check_executed_shares, executed_shares
from slimgate.errors import InputError
from slimgate.flow import Json, Precision

_TYPES = (
    ("int8", Precision.INT8.value),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("fp8", "fp8"),
    ("half", Precision.FP16.value),
    ("fp16", Precision.FP16.value),
    ("float16", Precision.FP16.value),
    ("float", Precision.FP32.value),
    ("fp32", Precision.FP32.value),
)
_TYPE_FIELDS = ("Format/Datatype", "Format/DataType", "DataType", "Datatype", "Format")
_ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_MULTIPLIES = re.compile(r"conv|gemm|matmul|matrixmul|fprop|dgrad|xmma|cask", re.IGNORECASE)
_MOVES = (
    "reformat",
    "noop",
    "constant",
    "shuffle",
    "slice",
    "concat",
    "cast",
    "quantize",
    "scale",
    "signal",
    "wait",
)
_EIGHT_BIT_TACTIC = re.compile(r"i8i8|i8f|imma|int8", re.IGNORECASE)


def shares_from_engine_information(
    information: str, convolutions: Mapping[str, Mapping[str, Json]]
) -> dict[str, float]:
    """Return the share of convolution MACs per precision that an engine really runs, adding up to 1.

    Args:
        information: ``get_engine_information(LayerInformationFormat.JSON)`` of an engine built with DETAILED
            verbosity.
        convolutions: the graph's convolutions by node name, each with its ``macs``: the ``convolutions`` in an
            engine's manifest.

    Raises:
        InputError: it is no such JSON, or was not built with DETAILED verbosity.
    """
    return executed_shares(executed_precisions(information, list(convolutions)), convolutions)


def executed_precisions(information: str, nodes: Sequence[str]) -> dict[str, str]:
    """Return what each convolution runs in: ``int8``, ``fp16``, ``fp32``, another type's name, or ``unknown``.

    Args:
        information: as for ``shares_from_engine_information``.
        nodes: ONNX names of the convolutions.

    Raises:
        InputError: it is no such JSON, or was not built with DETAILED verbosity.
    """
    layers = _read_layers(information)
    holders: dict[str, list[Mapping[str, Any]]] = {name: [] for name in nodes}
    for layer in layers:
        if not str(layer.get("LayerType", "")).lower().startswith(_MOVES):
            for name in _onnx_nodes(layer) & holders.keys():
                holders[name].append(layer)
    return {name: _precision_of(found) for name, found in holders.items()}


def check_executed(
    subject: str, information: str, convolutions: Mapping[str, Mapping[str, Json]]
) -> dict[str, float]:
    """Return the shares that an engine runs, once they are found to be those of its graph.

    Args:
        subject: the engine, for the message.
        information: as for ``shares_from_engine_information``.
        convolutions: the graph's convolutions, each with ``macs`` and ``precision``.

    Raises:
        InputError: more than 1 % of the MACs run in another precision than the graph says.
    """
    return check_executed_shares(
        subject,
        executed_precisions(information, list(convolutions)),
        convolutions,
        action="check the inspector's layers in the case record; do not ship it under this precision's name",
    )


def _read_layers(information: str) -> list[Mapping[str, Any]]:
    try:
        value = json.loads(information)
        layers = value["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(f"no JSON with Layers ({type(error).__name__}: {error})") from error
    if not isinstance(layers, list) or not layers:
        raise _unreadable("no layers")
    if not all(isinstance(layer, Mapping) for layer in layers):
        raise _unreadable("layer names alone")
    return layers


def _unreadable(found: str) -> InputError:
    return InputError(
        "engine inspector",
        found=found,
        expected="the layers of an engine that was built with DETAILED verbosity",
        action="build the engine with 'slimgate export --format engine'",
    )


def _onnx_nodes(layer: Mapping[str, Any]) -> set[str]:
    named = set(_ONNX_NODE.findall(str(layer.get("Metadata", ""))))
    return named or set(re.split(r" \+ |[(),]\s*", str(layer.get("Name", ""))))


def _precision_of(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return the least reduced precision among the layers that hold a convolution.

    A layer of another kind may name the node as well, since what was fused around it lives there: it only counts
    when no layer that multiplies does.
    """
    multiplying = [layer for layer in layers if _multiplies(layer)]
    found = {_layer_precision(layer) for layer in multiplying or layers}
    for name in (UNKNOWN, "fp32", "bf16", "fp16", "fp8", "int8"):
        if name in found:
            return name
    return UNKNOWN


def _multiplies(layer: Mapping[str, Any]) -> bool:
    fields = ("LayerType", "ParameterType", "TacticName")
    return any(_MULTIPLIES.search(str(layer.get(name, ""))) for name in fields)


def _layer_precision(layer: Mapping[str, Any]) -> str:
    inputs = layer.get("Inputs") or [{}]
    activation = _tensor_type(inputs[0])
    weights = layer.get("Weights")
    weight = _type_name(str(weights.get("Type", ""))) if isinstance(weights, Mapping) else UNKNOWN
    if activation == UNKNOWN:
        # "N/A due to dynamic shapes": the tactic's own name still says what it multiplies.
        eight_bit = _EIGHT_BIT_TACTIC.search(str(layer.get("TacticName", "")))
        return weight if weight != Precision.INT8.value or eight_bit else UNKNOWN
    if weight in (UNKNOWN, activation):
        return activation
    # Mixed operands compute in the wider type, whatever is stored.
    return next(name for name in ("fp32", "bf16", "fp16", "fp8", "int8") if name in (activation, weight))


def _tensor_type(tensor: Any) -> str:
    if not isinstance(tensor, Mapping):
        return UNKNOWN
    return _type_name(" ".join(str(tensor[name]) for name in _TYPE_FIELDS if name in tensor))


def _type_name(text: str) -> str:
    lowered = text.lower()
    return next((name for token, name in _TYPES if token in lowered), UNKNOWN)
