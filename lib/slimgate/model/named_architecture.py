"""Architectures by name, and from yaml files that people write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import yaml

from slimgate.errors import InputError, name_offenders, nearest_name
from slimgate.flow import Family, Json
from slimgate.model.architecture import check_architecture
from slimgate.model.build import LAYOUT_KEYS, plain_architecture
from slimgate.model.ultralytics_env import yaml_model_load

_FOLDER = resources.files("slimgate.model") / "architectures"
_SUFFIXES = (".yaml", ".yml")
_MOST_BYTES = 1_000_000
# What an upstream yaml may hold beside its layers, without changing them.
_WITHOUT_EFFECT = ("end2end",)


def own_architectures() -> tuple[str, ...]:
    """Return the names of the architectures that slimgate ships itself."""
    return tuple(sorted(Path(file.name).stem for file in _FOLDER.iterdir() if file.name.endswith(".yaml")))


def architecture_from_name(
    name: str, *, class_count: int, family: Family = Family.ULTRALYTICS
) -> dict[str, Json]:
    """Return an architecture by its name, or from the yaml file that the name is the path of.

    Args:
        name: ``yolov5n-deconv`` or another of ``own_architectures()``; a name that ultralytics ships, such as
            ``yolov5n``; or a path to a yaml file, which ends in ``.yaml`` or ``.yml`` and has a folder in it
            or exists.
        class_count: number of classes; replaces the yaml's ``nc``.
        family: whose layers the yaml of a path may name.

    Raises:
        InputError: nothing has this name, or the file's content is not an architecture.
    """
    path = Path(name)
    if path.suffix in _SUFFIXES and (path.parent != Path() or path.exists()):
        return architecture_from_file(path, class_count=class_count, family=family)
    stem = name.removesuffix(".yaml")
    if stem in own_architectures():
        text = (_FOLDER / f"{stem}.yaml").read_text(encoding="utf-8")
        return _architecture_from_text(text, subject=f"{stem}.yaml") | {"nc": class_count}
    try:
        # Upstream downloads what looks like an address.
        shipped = yaml_model_load(f"{stem}.yaml") if re.fullmatch(r"[\w.-]+", stem) else None
    except FileNotFoundError:
        shipped = None
    if shipped is None:
        raise InputError(
            f"architecture '{name}'",
            found=f"neither slimgate nor ultralytics ships such a yaml{nearest_name(stem, own_architectures())}",
            expected=f"a name such as {', '.join(own_architectures())}, yolov5n, yolov8s or yolo11n, or a yaml file",
            action="use a known name, or the path of an existing .yaml",
        )
    return plain_architecture(shipped) | {"nc": class_count}


def architecture_from_file(
    path: Path, *, class_count: int, family: Family = Family.ULTRALYTICS
) -> dict[str, Json]:
    """Return the architecture in a yaml file that a person wrote; nothing in it is evaluated.

    Args:
        path: a YOLO yaml: ``backbone`` and ``head`` as rows ``[from, number, layer, arguments]``.
        class_count: number of classes; replaces the file's ``nc``.
        family: whose layers it may name.

    Raises:
        InputError: the file cannot be read, is not plain yaml, has unknown keys or an unclear scale, or is no
            architecture of the family.
    """
    architecture = _architecture_from_text(_read_text(path), subject=path.name) | {"nc": class_count}
    check_architecture(architecture, family=family, subject=path.name)
    return architecture


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            found = f"{path.stat().st_size:,} bytes"
        else:
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"not UTF-8 text (byte {error.start})"
    except OSError as error:
        found = error.strerror or str(error)
    raise InputError(
        str(path),
        found=found,
        expected=f"a YOLO yaml: a text file of at most {_MOST_BYTES:,} bytes",
        action="check the path",
    )


def _architecture_from_text(text: str, *, subject: str) -> dict[str, Json]:
    content = _plain_yaml(text, subject)
    known = (*LAYOUT_KEYS, *_WITHOUT_EFFECT)
    unknown = [f"{key!r}{nearest_name(str(key), known)}" for key in content if key not in known]
    if unknown:
        raise InputError(
            f"{subject}: architecture",
            found=f"unknown keys {name_offenders(unknown)}",
            expected=f"keys among {', '.join(sorted(known))}",
            action="correct the name, or leave the key out",
        )
    scales = content.get("scales")
    if isinstance(scales, Mapping) and content.get("scale") not in scales:
        if "scale" in content or len(scales) != 1:
            raise InputError(
                f"{subject}: architecture",
                found=f"scale {content['scale']!r}" if "scale" in content else "scales without a scale",
                expected=f"one scale among {name_offenders(scales) or 'none'}",
                action="add a line such as 'scale: n'",
            )
        content["scale"] = next(iter(scales))
    return plain_architecture(content)


def _plain_yaml(text: str, subject: str) -> dict[str, Json]:
    """Return a yaml mapping without aliases, whose nesting could otherwise grow without bound."""
    try:
        aliases = [event for event in yaml.parse(text, yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)]
        content = None if aliases else yaml.safe_load(text)
    # Beside yaml's own errors: a tag on a value that does not fit it fails in whatever way its constructor does.
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{subject}: architecture",
            found=f"not plain yaml ({getattr(error, 'problem', None) or type(error).__name__}{where})",
            expected="a YOLO yaml of plain values",
            action="correct the file; tags and Python objects are never read",
        ) from error
    if aliases:
        line = aliases[0].start_mark.line + 1
        found, action = (
            f"an alias '*{aliases[0].anchor}' in line {line}",
            "write the value out where it is used",
        )
    elif not isinstance(content, dict):
        found = f"a {type(content).__name__} at the top" if content is not None else "nothing in the file"
        action = "check that it is a YOLO yaml"
    else:
        return content
    raise InputError(
        f"{subject}: architecture",
        found=found,
        expected="a mapping with backbone and head, of plain values",
        action=action,
    )
