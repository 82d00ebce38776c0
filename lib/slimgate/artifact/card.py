"""What an artifact says about itself, in the file it is shipped in."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimgate.flow import Detector, Family, Json, Precision, Step

FORMAT = "slimgate-artifact/1"
_KEY = "slimgate"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The description that travels inside an ONNX file or beside an engine.

    Attributes:
        name: of the detector.
        class_names: one per class index.
        image_size: side of the square input, pixels.
        stride: largest stride of the detector.
        family: how the head decodes; None when a foreign exporter did not say.
        batch: what the graph is fixed to, or 0 for a dynamic batch axis.
        precision: the claim; the proof is in the graph.
        target: what the file was written for.
        weights_sha256: of the detector's weights; empty when a foreign exporter did not say.
        head_nodes: ONNX names of the head's output convolutions.
        lineage: every step from the detector to this file.
        facts: what was measured when the file was written and cannot be read from it again.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    stride: int
    family: Family | None
    batch: int
    precision: Precision
    target: str
    weights_sha256: str
    head_nodes: tuple[str, ...] = ()
    lineage: tuple[Step, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, detector: Detector, *, batch: int, head_nodes: tuple[str, ...]) -> Card:
        """Return the card of a detector's plain FP32 export."""
        return cls(
            name=detector.name,
            class_names=detector.class_names,
            image_size=detector.image_size,
            stride=detector.stride,
            family=detector.family,
            batch=batch,
            precision=Precision.FP32,
            target="onnx",
            weights_sha256=detector.weights_sha256,
            head_nodes=head_nodes,
            lineage=detector.lineage,
        )

    def to_json(self) -> dict[str, Json]:
        """Return the card as JSON values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "class_names": list(self.class_names),
            "image_size": self.image_size,
            "stride": self.stride,
            "family": self.family.value if self.family else None,
            "batch": self.batch,
            "precision": self.precision.value,
            "target": self.target,
            "weights_sha256": self.weights_sha256,
            "head_nodes": list(self.head_nodes),
            "lineage": [step.to_json() for step in self.lineage],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Card:
        """Return the card that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        if value["format"] != FORMAT:
            raise ValueError(f"format is {value['format']}, not {FORMAT}")
        return cls(
            name=str(value["name"]),
            class_names=tuple(str(name) for name in value["class_names"]),
            image_size=int(value["image_size"]),
            stride=int(value["stride"]),
            family=Family(value["family"]) if value["family"] else None,
            batch=int(value["batch"]),
            precision=Precision(value["precision"]),
            target=str(value["target"]),
            weights_sha256=str(value["weights_sha256"]),
            head_nodes=tuple(value["head_nodes"]),
            lineage=tuple(Step.from_json(step) for step in value["lineage"]),
            facts=dict(value["facts"]),
        )

    def to_metadata(self) -> dict[str, str]:
        """Return the card as ONNX ``metadata_props``; the keys of the ultralytics package are there too."""
        return {
            _KEY: json.dumps(self.to_json(), sort_keys=True),
            "task": "detect",
            "names": repr(dict(enumerate(self.class_names))),
            "imgsz": repr([self.image_size, self.image_size]),
            "stride": str(self.stride),
            "batch": str(self.batch or 1),
        }


def card_from_metadata(metadata: Mapping[str, str], *, name: str, image_size: int, batch: int) -> Card | None:
    """Return the card in an ONNX file's metadata, or None when it does not even name its classes.

    Args:
        metadata: the file's ``metadata_props``: ours, or those of the ultralytics exporter.
        name: what to call a foreign model.
        image_size: of the graph's input, for a foreign model.
        batch: of the graph's input (0: dynamic), for a foreign model.

    Raises:
        KeyError, TypeError, ValueError, SyntaxError: the metadata is damaged.
    """
    if _KEY in metadata:
        return Card.from_json(json.loads(metadata[_KEY]))
    if "names" not in metadata:
        return None
    return Card(
        name=name,
        class_names=_class_names(ast.literal_eval(metadata["names"])),
        image_size=image_size,
        stride=int(metadata.get("stride", 32)),
        family=None,
        batch=batch,
        precision=Precision.FP32,
        target="onnx",
        weights_sha256="",
    )


def _class_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, Mapping):
        return tuple(str(names[index]) for index in range(len(names)))
    return tuple(str(name) for name in names)
