"""From a legacy detector to one that trains here: its backbone and neck under the anchor-free head.

The anchor head's loss is not here. What a legacy detector knows of pictures lies in backbone and neck, whose layers
have the same names and shapes in both families; the anchor-free head above them starts at random and is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from slimgate.compress.operation import Operation, Setting, Workspace, read_count
from slimgate.compress.start import fresh_detector
from slimgate.errors import InputError, name_offenders
from slimgate.flow import Detector, Family, Json, Step
from slimgate.model import hash_weights


def transfer_head(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return a detector of the ultralytics family with the layers of a legacy one and a new, untrained head.

    Args:
        detector: of the legacy family; it stays as it is.
        settings: ``seed`` of the new head's weights, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: the detector is anchor-free already, or a tensor of backbone or neck finds no place.
    """
    if detector.family is not Family.YOLOV5_ANCHOR:
        raise InputError(
            f"transfer-head of {detector.name}",
            found=f"a detector of the family {detector.family.value}, which has that head already",
            expected="a legacy detector with anchors",
            action="leave transfer-head out: it trains as it is",
        )
    architecture = _anchor_free(detector.architecture)
    fresh = fresh_detector(
        architecture,
        class_names=detector.class_names,
        image_size=detector.image_size,
        name=detector.name,
        seed=settings["seed"],
    )
    theirs, own = detector.module.state_dict(), fresh.module.state_dict()
    head = f"model.{len(architecture['backbone']) + len(architecture['head']) - 1}."
    body = [key for key in theirs if not key.startswith(head)]
    lost = [key for key in body if key not in own or own[key].shape != theirs[key].shape]
    if lost:
        raise InputError(
            f"transfer-head of {detector.name}",
            found=f"no place for {name_offenders(lost)}",
            expected="a backbone and neck whose layers are the same in both families",
            action="train this architecture from scratch with slimgate train",
        )
    fresh.module.load_state_dict({**own, **{key: theirs[key] for key in body}})
    step = Step(
        operation="transfer-head",
        settings=dict(settings),
        notes={"tensors_taken": len(body), "tensors": len(own), "tensors_left": len(theirs) - len(body)},
    )
    return dataclasses.replace(
        fresh,
        weights_sha256=hash_weights(fresh.module),
        source=detector.source,
        training=detector.training,
        lineage=(*detector.lineage, step),
    )


def _anchor_free(architecture: Mapping[str, Json]) -> dict[str, Json]:
    """Return the same rows under ``Detect`` without anchors."""
    layout = {key: value for key, value in architecture.items() if key not in ("anchors", "activations")}
    *rows, (source, number, name, _) = architecture["head"]
    head = f"model.{len(architecture['backbone']) + len(rows)}."
    layout["head"] = [*rows, [source, number, name, ["nc"]]]
    for key in ("activations", "widths"):
        if key in architecture:
            layout[key] = {k: v for k, v in architecture[key].items() if not k.startswith(head)}
    return layout


OPERATION = Operation(
    name="transfer-head",
    summary="move a legacy detector's backbone and neck under an untrained anchor-free head, to be trained",
    example="transfer-head:0",
    positional="seed",
    settings={
        "seed": Setting(read=read_count(0, 2**31 - 1), default=0, meaning="of the new head's weights"),
    },
    successors=frozenset({"drop-levels", "shallow", "deconv", "finetune", "sparsify", "swap-activation"}),
    apply=transfer_head,
)
