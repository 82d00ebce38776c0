"""The ``[protocol]`` of a study's TOML file, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimgate.errors import UsageError
from slimgate.study.reader import TomlReader

_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "conf": ((int, float), "a fraction from 0 to 1"),
    "iou": ((int, float), "a fraction from 0 to 1"),
    "max_det": ((int,), "a whole number, 1 or more"),
    "multi_label": ((bool,), "true or false"),
    "deployed_conf": ((int, float), "a fraction from 0 to 1"),
    "match_iou": ((int, float), "a fraction from 0 to 1"),
}
_ANY_SIZE = 32
"""The image size is the detector's, which nobody has loaded yet."""


def protocol_from_toml(value: Mapping[str, Any], reader: TomlReader) -> Mapping[str, Any]:
    """Return the settings of ``slimgate.detect.Protocol`` that a study names.

    Args:
        value: the whole file.
        reader: of the study file.

    Raises:
        InputError: a key is not known, or a value is of the wrong kind or out of its range.
    """
    table = reader.table(value, "protocol", optional=True)
    for key, given in table.items():
        kinds, expected = _KINDS[key]
        if not isinstance(given, kinds) or (kinds != (bool,) and isinstance(given, bool)):
            raise reader.error(f"protocol.{key}", f"is {given!r}", expected, "correct it")
    from slimgate.detect import Protocol

    try:
        Protocol(image_size=_ANY_SIZE, **table)
    except UsageError as error:
        key = error.subject
        raise reader.error(f"protocol.{key}", f"is {table[key]!r}", _KINDS[key][1], "correct it") from None
    return dict(table)
