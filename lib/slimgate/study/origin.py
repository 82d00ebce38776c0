"""How a variant came to be, for its case record: every stage of its training, and the width of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimgate.flow import Detector, Json
from slimgate.study.spec import VariantSpec
from slimgate.study.store import hash_json

_KEY_CHARACTERS = 16
_INHERITING = "rederive"


def add_origin(
    record: dict[str, Json],
    spec: VariantSpec,
    detector: Detector,
    original: Detector,
    trainings: dict[str, Json],
) -> None:
    """Add to a case record how its variant came to be, and its training to those of the run.

    Args:
        record: the case record.
        spec: the variant, as the study has it.
        detector: the variant's.
        original: the study's.
        trainings: stages by key; the record names its own.
    """
    stages = list_stages(detector, original)
    if stages:
        record["training"] = key_of_stages(stages)
        trainings[record["training"]] = {"stages": stages}
    widths = compare_widths(detector, original)
    if widths:
        record["widths"] = widths
    if spec.no_gain:
        record["no_gain"] = spec.no_gain
    if spec.controls:
        record["controls"] = dict(spec.controls)


def list_stages(detector: Detector, original: Detector) -> list[dict[str, Json]]:
    """Return the training records behind a detector's weights, oldest first.

    Re-derived weights that were inherited from the original carry its training. Inherited from anything else, the
    first entry says so in place of a record, under ``unknown``.

    Args:
        detector: the variant's.
        original: the study's.
    """
    from slimgate.compress.training_request import earlier_stages

    stages = earlier_stages(detector.training)
    steps = [step for step in detector.lineage if step.operation == _INHERITING]
    notes = steps[-1].notes if steps else {}
    if not notes.get("inherited"):
        return stages
    if notes.get("weights_sha256") == original.weights_sha256:
        return [*earlier_stages(original.training), *stages]
    return [{"operation": _INHERITING, "unknown": f"inherits from {notes.get('weights_name')}"}, *stages]


def key_of_stages(stages: Sequence[Mapping[str, Json]]) -> str:
    """Return the key under which ``run.json`` keeps a training, once for all variants that share it."""
    return hash_json(list(stages))[:_KEY_CHARACTERS]


def compare_widths(detector: Detector, original: Detector) -> dict[str, list[int | None]]:
    """Return output channels before and after of every convolution, by module name; empty where none changed.

    A layer that only one of the two has is None on the other's side. Convolutions that hold constants, such as the
    DFL's, have no width to speak of.
    """
    before, after = _widths(original), _widths(detector)
    if before == after:
        return {}
    return {name: [before.get(name), after.get(name)] for name in dict.fromkeys([*before, *after])}


def _widths(detector: Detector) -> dict[str, int]:
    from torch import nn

    from slimgate.model.head import fixed_convolutions

    fixed = fixed_convolutions(detector.module)
    return {
        name: layer.out_channels
        for name, layer in detector.module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and name not in fixed
    }
