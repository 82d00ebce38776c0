"""What is found in a model file, as data and as canonical text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimgate.artifact.quantized import QuantizedTensor
from slimgate.flow import Json, Step

ALIGNMENT = 8
"""Channel multiple that kernels want: INT8 and FP16 tensor cores, 8-lane SIMD, most NPUs."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution or linear layer.

    Attributes:
        name: ONNX node or module name.
        kind: ``Conv``, ``ConvTranspose``, ``Linear``.
        inputs: input channels.
        outputs: output channels.
        kernel: such as ``3x3``; empty for a linear layer.
        precision: what it computes in.
        weights: number of weights.
        nonzero: how many of them are not zero.
        alignment: ``aligned`` (outputs are a multiple of the inspection's), ``exempt`` (its width is not ours to
            choose) or ``odd``.
        semi_structured: ``holds`` when at most two of every four weights along the input channels are not zero
            (2:4), ``broken`` when not, or the reason why sparse kernels do not take the layer at all.
        reason: why its width is exempt; empty when it is not.
        why_float: why it stays in float in an INT8 file, where that was recorded.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    kernel: str
    precision: str
    weights: int
    nonzero: int
    alignment: str
    semi_structured: str
    reason: str = ""
    why_float: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the layer as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a model file is.

    Attributes:
        file: its name, without folders.
        format: ``slimgate``, ``pt``, ``onnx`` or ``engine``.
        target: what it was written for.
        precision: what it claims to be.
        shares: share of convolution MACs per precision: the proof. Empty when it cannot be known.
        class_names: one per class index.
        image_size: side of the square input, pixels.
        batch: fixed batch size, or 0 when dynamic.
        sha256: of the file.
        size_bytes: of the file.
        compressed_bytes: of the file after zlib.
        weights_sha256: of the detector's weights, when known.
        layers: convolutions and linear layers; empty for an engine, which does not show them without its GPU.
        lineage: every step from the detector to this file.
        facts: what else was found.
        semi_structured_share: of the convolution MACs, those in layers where 2:4 holds; None for an engine.
        multiple: what widths were held against.
        quantized: scheme, scales and zero points of every quantised tensor, as the file has them.
    """

    file: str
    format: str
    target: str
    precision: str
    shares: Mapping[str, float]
    class_names: tuple[str, ...]
    image_size: int
    batch: int
    sha256: str
    size_bytes: int
    compressed_bytes: int
    weights_sha256: str
    layers: tuple[Layer, ...] = ()
    lineage: tuple[Step, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    semi_structured_share: float | None = None
    multiple: int = ALIGNMENT
    quantized: tuple[QuantizedTensor, ...] = ()

    @property
    def weights(self) -> int:
        """Number of weights of all layers."""
        return sum(layer.weights for layer in self.layers)

    @property
    def nonzero_weights(self) -> int:
        """Number of weights that are not zero."""
        return sum(layer.nonzero for layer in self.layers)

    @property
    def odd_layers(self) -> tuple[Layer, ...]:
        """Layers whose width is no multiple and has no reason not to be."""
        return tuple(layer for layer in self.layers if layer.alignment == "odd")

    def to_json(self) -> dict[str, Json]:
        """Return the inspection as JSON values."""
        return {
            "format": "slimgate-inspection/1",
            "file": self.file,
            "file_format": self.format,
            "target": self.target,
            "precision": self.precision,
            "shares": dict(self.shares),
            "class_names": list(self.class_names),
            "image_size": self.image_size,
            "batch": self.batch,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "compressed_bytes": self.compressed_bytes,
            "weights_sha256": self.weights_sha256,
            "multiple": self.multiple,
            "weights": self.weights,
            "nonzero_weights": self.nonzero_weights,
            "semi_structured_share": self.semi_structured_share,
            "layers": [layer.to_json() for layer in self.layers],
            "quantized": [tensor.to_json() for tensor in self.quantized],
            "lineage": [step.to_json() for step in self.lineage],
            "facts": dict(self.facts),
        }

    def to_text(self) -> str:
        """Return the canonical text: the structure alone, equal for two files that differ in weights only.

        Hashes, sizes and sparsity are left out, so a golden of it changes when the network does.
        """
        lines = [
            f"format {self.format}",
            f"target {self.target}",
            f"precision {self.precision}",
            *(f"share {name} {share:.4f}" for name, share in sorted(self.shares.items())),
            f"classes {len(self.class_names)}: {', '.join(self.class_names)}",
            f"image_size {self.image_size}",
            f"batch {self.batch or 'dynamic'}",
            *(f"step {step.operation}" for step in self.lineage),
            f"layers {len(self.layers)}",
            *(
                f"  {layer.name} {layer.kind} {layer.inputs}->{layer.outputs}"
                f"{' ' + layer.kernel if layer.kernel else ''} {layer.precision} {layer.alignment}"
                for layer in self.layers
            ),
        ]
        return "\n".join(lines) + "\n"
