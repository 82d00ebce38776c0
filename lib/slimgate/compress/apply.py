"""Operations from text, in legal order, onto a detector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from slimgate.compress.operation import Operation, Workspace
from slimgate.errors import InputError, UsageError, unknown_name
from slimgate.flow import Detector, Json, Step


def parse_step(text: str, operations: Mapping[str, Operation]) -> Step:
    """Return the step that a text such as ``prune:0.3,scope=layer`` names, with all settings filled in.

    Raises:
        UsageError: the operation or a setting is unknown, missing, given twice or out of range.
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in operations:
        raise unknown_name("operation", name, operations)
    operation = operations[name]
    given: dict[str, Json] = {}
    for index, part in enumerate(part.strip() for part in rest.split(",")) if rest else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and index == 0:
            key, value = operation.positional, key
        elif not equals:
            raise UsageError(
                f"operation '{text}'",
                found=f"'{part}' is not a setting",
                expected=f"{operation.example}, then name=value of {', '.join(operation.settings)}",
                action="separate settings by commas and write each as name=value",
            )
        if key in given:
            raise UsageError(
                f"operation '{text}'",
                found=f"{key} is given twice",
                expected="each setting once",
                action="leave one of them out",
            )
        given[key] = value
    return Step(operation=name, settings=operation.check(given))


def check_order(names: Sequence[str], operations: Mapping[str, Operation]) -> None:
    """Check that each operation may follow the one before it.

    Raises:
        UsageError: one may not; the message names the pair and what may follow.
    """
    for name, successor in itertools.pairwise(names):
        legal = operations[name].successors
        if successor not in legal:
            raise UsageError(
                f"operations {', '.join(names)}",
                found=f"{successor} after {name}",
                expected=f"after {name}: {', '.join(sorted(legal)) or 'nothing'}",
                action="change the order, or leave one of them out",
            )


def apply_steps(
    detector: Detector,
    steps: Sequence[Step],
    operations: Mapping[str, Operation],
    workspace: Workspace,
) -> Detector:
    """Return the detector after all steps; nothing is applied unless every step and their order are legal.

    What is already in the detector's lineage counts for the order. An operation that trains does so in its own
    folder of the workspace, ``<position from 1>-<operation>``.

    Raises:
        UsageError: an operation is unknown, a setting is wrong or the order is not legal.
        InputError: the lineage ends in an operation that is not known here.
    """
    for step in steps:
        if step.operation not in operations:
            raise unknown_name("operation", step.operation, operations)
    checked = [operations[step.operation].check(step.settings) for step in steps]
    last = [step.operation for step in detector.lineage[-1:]]
    if last and last[0] not in operations:
        raise InputError(
            f"lineage of {detector.name}",
            found=f"it ends in '{last[0]}', which is not known here",
            expected=f"one of {', '.join(sorted(operations))}",
            action="use the slimgate version that wrote it",
        )
    check_order([*last, *(step.operation for step in steps)], operations)
    for index, (step, settings) in enumerate(zip(steps, checked, strict=True), start=1):
        own = workspace.enter(index, step.operation)
        detector = operations[step.operation].apply(detector, settings, own)
    return detector
