"""A quantization plan: what was observed and decided, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimgate.errors import InputError
from slimgate.flow import Json

_KIND = "slimgate-quantization-plan/"
FORMAT = f"{_KIND}2"


@dataclass(frozen=True, kw_only=True)
class QuantizationPlan:
    """Ranges of the activations, and the nodes that stay in float.

    The plan knows no target: ``slimgate.artifact.write_qdq`` turns ranges into scales and zero points for one.

    Attributes:
        ranges: lowest and highest value of each float tensor in the quantised part of the graph, by ONNX name.
        float_nodes: ONNX node name to the reason it stays in float.
        source_sha256: of the weights that were calibrated (``slimgate.compress.quantize.source.fingerprint_source``).
        calibration_sha256: of the calibration list.
        calibration_count: how many images were seen.
        observer: how ranges were taken, a key of ``slimgate.compress.quantize.OBSERVERS``.
        magnitudes: largest absolute value that a symmetric mapping of a tensor should represent, where that is not
            simply the farther end of its range: what a coarser grid is worth cutting at is another value.
        sensitivity: what INT8 costs per group of layers, where that was measured
            (``slimgate.compress.quantize.Sensitivity.to_json``).
        seconds: what calibration took; it says nothing of what was decided, so plans that differ in it are equal.
    """

    ranges: Mapping[str, tuple[float, float]]
    float_nodes: Mapping[str, str]
    source_sha256: str
    calibration_sha256: str
    calibration_count: int
    observer: str
    magnitudes: Mapping[str, float] = field(default_factory=dict)
    sensitivity: Mapping[str, Json] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    def keep_float(self, nodes: Mapping[str, str]) -> QuantizationPlan:
        """Return the plan with further nodes left in float, each with its reason."""
        return dataclasses.replace(self, float_nodes={**self.float_nodes, **nodes})

    def magnitude(self, tensor: str) -> float:
        """Return the largest absolute value that a symmetric mapping of a tensor should represent."""
        return self.magnitudes.get(tensor, max(abs(end) for end in self.ranges[tensor]))

    def to_json(self) -> dict[str, Json]:
        """Return the plan as JSON values."""
        return {
            "format": FORMAT,
            "ranges": {name: list(self.ranges[name]) for name in sorted(self.ranges)},
            "magnitudes": {name: self.magnitudes[name] for name in sorted(self.magnitudes)},
            "float_nodes": dict(self.float_nodes),
            "source_sha256": self.source_sha256,
            "calibration_sha256": self.calibration_sha256,
            "calibration_count": self.calibration_count,
            "observer": self.observer,
            "sensitivity": dict(self.sensitivity),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> QuantizationPlan:
        """Return the plan that ``to_json`` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            _check_format(value["format"])
            return cls(
                ranges={name: (float(low), float(high)) for name, (low, high) in value["ranges"].items()},
                float_nodes={str(name): str(why) for name, why in value["float_nodes"].items()},
                source_sha256=str(value["source_sha256"]),
                calibration_sha256=str(value["calibration_sha256"]),
                calibration_count=int(value["calibration_count"]),
                observer=str(value["observer"]),
                magnitudes={name: float(end) for name, end in value.get("magnitudes", {}).items()},
                sensitivity=dict(value.get("sensitivity", {})),
                seconds=float(value.get("seconds", 0.0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "quantization plan",
                found=f"not readable ({type(error).__name__}: {error})",
                expected=f"JSON of format '{FORMAT}'",
                action="calibrate again",
            ) from error


def _check_format(found: Json) -> None:
    if found == FORMAT:
        return
    if found == f"{_KIND}1":
        raise InputError(
            "quantization plan",
            found=f"format '{found}', which does not say what weights it was made from",
            expected=f"format '{FORMAT}'",
            action="calibrate again: whether its ranges belong to the file cannot be told",
        )
    raise ValueError(f"format '{found}'")
