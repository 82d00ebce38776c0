"""Values out of a study's TOML file; every complaint names the file and the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimgate.errors import InputError, nearest_name
from slimgate.flow import Case
from slimgate.gate.tomlfile import TomlFile
from slimgate.study.locate import locate

_KEYS: dict[str, tuple[str, ...]] = {
    "study": (
        "format",
        "id",
        "title",
        "detector",
        "data",
        "protocol",
        "measure",
        "gate",
        "search",
        "variant",
    ),
    "detector": ("weights", "image_size"),
    "data": (
        "evaluation",
        "also",
        "images",
        "calibration",
        "calibration_images",
        "labelled",
        "labelled_images",
    ),
    "protocol": ("conf", "iou", "max_det", "multi_label", "deployed_conf", "match_iou"),
    "measure": ("threads", "rounds", "rounds_batch32", "pictures"),
    "gate": ("required",),
    "search": ("file",),
    "variant": (
        "name",
        "weights",
        "operations",
        "precision",
        "runtimes",
        "batches",
        "compute_capability",
        "nms",
        "controls",
        "no_gain",
        "int8",
        "about",
    ),
    "int8": ("observer", "budget", "sensitivity", "score_groups", "peer"),
    "controls": ("dense", "scratch"),
}


class TomlReader:
    """Reads values out of one TOML file, and names line and key in every complaint."""

    def __init__(self, path: Path, file: TomlFile) -> None:
        self.path = path
        self.file = file

    def error(self, key: str, found: str, expected: str, action: str) -> InputError:
        """Return the error about a key of the file."""
        return InputError(f"{locate(self.file, key)}: {key}", found=found, expected=expected, action=action)

    def check_keys(self, table: str, value: Mapping[str, Any], where: str = "") -> None:
        """Refuse keys that a table does not have; the nearest known one is named."""
        known = _KEYS[table]
        unknown = [key for key in value if key not in known]
        if unknown:
            raise self.error(
                f"{where}{unknown[0]}",
                f"unknown key{nearest_name(unknown[0], known)}",
                f"one of {', '.join(known)}",
                "correct or remove the key",
            )

    def table(self, value: Mapping[str, Any], key: str, *, optional: bool = False) -> Mapping[str, Any]:
        """Return an inner table, its keys checked; empty when it is optional and missing."""
        inner = value.get(key)
        if inner is None and optional:
            return {}
        if not isinstance(inner, Mapping):
            raise self.error(f"[{key}]", "is missing or not a table", f"a [{key}] table", f"add [{key}]")
        self.check_keys(key, inner, f"{key}.")
        return inner

    def tables(self, value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        """Return an array of tables; empty when it is missing."""
        inner = value.get(key, [])
        if not isinstance(inner, list) or not all(isinstance(item, Mapping) for item in inner):
            raise self.error(key, f"is {inner!r:.60}", f"[[{key}]] tables", f"write each as [[{key}]]")
        return inner

    def texts(
        self, value: Mapping[str, Any], key: str, where: str, *, default: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return a list of texts, or the default."""
        inner = value.get(key, list(default))
        if not isinstance(inner, list) or not all(isinstance(item, str) and item for item in inner):
            raise self.error(
                f"{where}{key}", f"is {inner!r:.60}", "a list of texts", f'write {key} = ["...", "..."]'
            )
        return tuple(inner)

    def text(self, value: Mapping[str, Any], key: str, where: str = "") -> str:
        """Return a text that is not empty."""
        inner = value.get(key)
        if not isinstance(inner, str) or not inner:
            raise self.error(f"{where}{key}", f"is {inner!r}", "a text", f'write {key} = "..."')
        return inner

    def name(self, value: Mapping[str, Any], key: str, where: str = "") -> str:
        """Return a text that can be a part of a case id, and so of file names."""
        inner = self.text(value, key, where)
        try:
            Case.parse(f"{inner}/{inner}@{inner}")
            fits = inner.strip(".") != ""
        except ValueError:
            fits = False
        if not fits:
            better = re.sub(r"[^\w.+-]+", "-", inner).strip(".-") or "mine"
            raise self.error(
                f"{where}{key}",
                f"is {inner!r}",
                "letters, digits and . _ + -: it is a part of case ids and of file names",
                f'write {key} = "{better}"',
            )
        return inner

    def flag(self, value: Mapping[str, Any], key: str, where: str = "") -> bool:
        """Return a truth value; false when it is missing."""
        inner = value.get(key, False)
        if not isinstance(inner, bool):
            raise self.error(f"{where}{key}", f"is {inner!r}", "true or false", f"write {key} = true")
        return inner

    def whole(
        self, value: Mapping[str, Any], key: str, where: str, *, default: int | None, least: int
    ) -> int | None:
        """Return a whole number of at least ``least``, or the default."""
        inner = value.get(key, default)
        if inner is None:
            return None
        if not isinstance(inner, int) or isinstance(inner, bool) or inner < least:
            raise self.error(
                f"{where}{key}", f"is {inner!r}", f"a whole number, {least} or more", "correct it"
            )
        return inner
