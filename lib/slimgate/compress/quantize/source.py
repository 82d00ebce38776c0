"""What may be quantised: a file that is not quantised yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimgate.errors import InputError


def check_not_quantized(path: Path, model: Any) -> None:
    """Refuse an ``onnx.ModelProto`` that has Q/DQ nodes already.

    Args:
        path: where the model was read from, for the message.
        model: the model.

    Raises:
        InputError: it has some; the message counts them.
    """
    quantized = sum("QuantizeLinear" in node.op_type for node in model.graph.node)
    if quantized:
        raise InputError(
            str(path),
            found=f"already quantised: {quantized} Q/DQ nodes",
            expected="an FP32 file",
            action="start from the FP32 export",
        )
