"""The operations of a study's variant: parsed when the study is read, their files found beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.errors import UsageError
from slimgate.study.reader import TomlReader

if TYPE_CHECKING:
    from slimgate.flow import Step


def check_operations(texts: Sequence[str], reader: TomlReader, where: str) -> None:
    """Refuse operations that could not be applied: an hour into a run is too late to hear of a typing error.

    Args:
        texts: as the study has them.
        reader: of the study file.
        where: the variant, for messages: ``variant[1].``.

    Raises:
        InputError: one is unknown, a setting is wrong, or the order is not legal.
    """
    if not texts:
        return
    from slimgate.compress import OPERATIONS, parse_operation
    from slimgate.compress.apply import check_order

    try:
        check_order([parse_operation(text).operation for text in texts], OPERATIONS)
    except UsageError as error:
        raise reader.error(
            f"{where}operations", f"{error.subject}: {error.found}", error.expected, error.action
        ) from None


def steps_from_texts(texts: Sequence[str], folder: Path) -> list[Step]:
    """Return the steps of operation texts, with files that they name relative to a folder made absolute.

    A study says where its files are relative to itself, so that it can be run from anywhere.
    """
    from slimgate.compress import OPERATIONS, parse_operation

    steps = []
    for text in texts:
        step = parse_operation(text)
        files = [
            name
            for name, setting in OPERATIONS[step.operation].settings.items()
            if setting.fingerprint is not None
        ]
        found = {name: _beside(step.settings[name], folder) for name in files}
        steps.append(dataclasses.replace(step, settings={**step.settings, **found}))
    return steps


def _beside(value: object, folder: Path) -> object:
    from slimgate.compress.training_data import CODES

    if not isinstance(value, str) or value == CODES:
        return value
    return str((folder / value).resolve())
