"""What an architecture may say: plain data, checked before any layer is built.

An architecture is the YOLO yaml as a mapping. ultralytics and YOLOv5 resolve its names with ``eval`` and
``globals()``, so a yaml out of a downloaded checkpoint could run code; here every name is looked up in an
allow-list and every argument must be a plain value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from slimgate.errors import InputError, name_offenders, nearest_name
from slimgate.flow import Family, Json

_SHARED_LAYERS = frozenset(
    {
        *("Conv", "DWConv", "Focus", "GhostConv", "Concat", "Detect"),
        *("Bottleneck", "GhostBottleneck", "BottleneckCSP", "SPP", "SPPF", "C3", "C3Ghost"),
        *("nn.Upsample", "nn.ConvTranspose2d", "nn.MaxPool2d", "nn.ZeroPad2d", "nn.Identity"),
    }
)
_ULTRALYTICS_LAYERS = frozenset(
    {
        *("ConvTranspose", "DWConvTranspose2d", "RepC3", "C1", "C2", "C2f", "C2fCIB", "C2fPSA", "C2PSA"),
        *("C3k2", "C3x", "PSA", "SCDown", "A2C2f", "ADown", "AConv", "ELAN1", "RepNCSPELAN4", "SPPELAN"),
        *("CBLinear", "CBFuse", "nn.BatchNorm2d"),
    }
)
LAYERS: Mapping[Family, frozenset[str]] = {
    Family.YOLOV5_ANCHOR: _SHARED_LAYERS,
    Family.ULTRALYTICS: _SHARED_LAYERS | _ULTRALYTICS_LAYERS,
}
"""The layers each family is built from."""

ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "SiLU": (),
    "ReLU": (),
    "ReLU6": (),
    "Hardswish": (),
    "Mish": (),
    "GELU": (),
    "Identity": (),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
}
"""Activations of ``torch.nn`` and the attributes that make up their arguments, in order."""

_WORDS = frozenset({"nearest", "bilinear", "None", "True", "False", "nc", "anchors"})
_REQUIRED = ("nc", "backbone", "head")
_ACTIVATION = re.compile(r"(?:torch\.)?nn\.(?P<name>\w+)\((?P<arguments>[^()]*)\)")
_LARGEST = 100_000


def check_architecture(architecture: Mapping[str, Json], *, family: Family, subject: str) -> None:
    """Check that an architecture is plain data that names known layers only.

    Args:
        architecture: the YOLO yaml as a mapping.
        family: decides which layers are known.
        subject: what the message is about, a file name.

    Raises:
        InputError: a key is missing, a row is malformed, a layer or activation is unknown, an argument is not
            plain, or the last layer is not ``Detect``.
    """
    missing = [key for key in _REQUIRED if key not in architecture]
    if missing:
        raise InputError(
            f"{subject}: architecture",
            found=f"no {', '.join(missing)}",
            expected=f"the keys {', '.join(_REQUIRED)} of a YOLO yaml",
            action="check that the file is a detector's checkpoint",
        )
    rows = list(_rows(architecture, subject))
    problems = [text for index, row in enumerate(rows) for text in _row_problems(index, row, family)]
    if not rows or rows[-1][2] != "Detect":
        problems.append(f"layer {len(rows) - 1} is not Detect")
    problems += _size_problems(architecture)
    if problems:
        raise InputError(
            f"{subject}: architecture",
            found=name_offenders(problems),
            expected="layers [from, number, name, arguments] ending in Detect, named among "
            + ", ".join(sorted(LAYERS[family])),
            action="load a detection checkpoint of a known architecture",
        )
    _check_widths(architecture.get("widths", {}), subject)
    activations = architecture.get("activations", {})
    for text in [architecture.get("activation"), *activations.values()]:
        if text:
            parse_activation(text, subject=subject)


def parse_activation(text: str, *, subject: str) -> tuple[str, tuple[float, ...]]:
    """Return the class name in ``torch.nn`` and the arguments that an activation's text names.

    Args:
        text: such as ``nn.LeakyReLU(0.1)``.
        subject: what the message is about, a file name.

    Raises:
        InputError: it is not an activation of ``ACTIVATIONS`` with plain numbers.
    """
    match = _ACTIVATION.fullmatch(text.strip()) if isinstance(text, str) else None
    name = match["name"] if match else ""
    if match and name in ACTIVATIONS:
        values = _numbers(match["arguments"])
        if values is not None and len(values) <= len(ACTIVATIONS[name]):
            return name, values
    raise InputError(
        f"{subject}: activation {text!r}",
        found=f"not a known activation{nearest_name(name, ACTIVATIONS) if name else ''}",
        expected=f"nn.<name>(numbers) with a name among {', '.join(sorted(ACTIVATIONS))}",
        action="retrain with one of these, or ask for it to be added",
    )


def _check_widths(widths: object, subject: str) -> None:
    if isinstance(widths, Mapping):
        bad = [f"{n}: {w!r}" for n, w in widths.items() if type(w) is not int or not 0 < w <= _LARGEST]
    else:
        bad = [f"a {type(widths).__name__}"]
    if bad:
        raise InputError(
            f"{subject}: widths",
            found=name_offenders(bad),
            expected="output channels, 1 or more, by name of a convolution",
            action="write them like model.2.cv1.conv: 24",
        )


def resolve_word(argument: Json, words: Mapping[str, Json]) -> Json:
    """Return what a yaml argument stands for: a word's meaning, or the argument itself."""
    meanings: dict[str, Json] = {"None": None, "True": True, "False": False, **words}
    return meanings.get(argument, argument) if isinstance(argument, str) else argument


def _rows(architecture: Mapping[str, Json], subject: str) -> Iterator[list[Any]]:
    for part in ("backbone", "head"):
        rows = architecture[part]
        whole = isinstance(rows, (list, tuple)) and all(
            isinstance(r, (list, tuple)) and len(r) == 4 for r in rows
        )
        if not whole:
            raise InputError(
                f"{subject}: architecture",
                found=f"{part} is not a list of rows of four",
                expected="rows [from, number, name, arguments]",
                action="check that the file is a detector's checkpoint",
            )
        yield from (list(row) for row in rows)


def _row_problems(index: int, row: list[Any], family: Family) -> Iterator[str]:
    source, number, name, arguments = row
    known = LAYERS[family]
    if not isinstance(name, str) or name not in known:
        near = nearest_name(str(name), known).removeprefix("; ")
        yield f"layer {index} is {name!r}" + (f" ({near})" if near else "")
    sources = source if isinstance(source, (list, tuple)) else [source]
    if not sources or not all(type(s) is int and -index - 1 <= s < max(index, 1) for s in sources):
        yield f"layer {index} reads from {source!r}"
    if type(number) is not int or not 0 < number <= 1000:
        yield f"layer {index} repeats {number!r} times"
    if not isinstance(arguments, (list, tuple)) or not all(_is_plain(value) for value in arguments):
        yield f"layer {index} has arguments {arguments!r:.60}"


def _size_problems(architecture: Mapping[str, Json]) -> Iterator[str]:
    for key in ("depth_multiple", "width_multiple"):
        if key in architecture and not _is_between(architecture[key], 100):
            yield f"{key} is {architecture[key]!r}"
    for key in ("nc", "reg_max"):
        if key in architecture and not (
            type(architecture[key]) is int and _is_between(architecture[key], _LARGEST)
        ):
            yield f"{key} is {architecture[key]!r}"
    if not isinstance(architecture.get("activations", {}), Mapping):
        yield f"activations is {architecture['activations']!r:.60}"
    scales = architecture.get("scales", {})
    if not isinstance(scales, Mapping) or not all(_is_scale(value) for value in scales.values()):
        yield f"scales is {scales!r:.60}"


def _is_scale(value: object) -> bool:
    """Whether a value is depth multiple, width multiple and the largest number of channels."""
    return (
        isinstance(value, (list, tuple)) and len(value) == 3 and all(_is_between(v, _LARGEST) for v in value)
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value in _WORDS
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or (isinstance(value, (bool, int, float)) and abs(value) <= _LARGEST)


def _is_between(value: object, most: int) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= most


def _numbers(text: str) -> tuple[float, ...] | None:
    """Return the numbers of an argument list, without its keywords; None when it holds anything else."""
    values = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        keyword, _, literal = part.rpartition("=")
        if keyword == "inplace":
            continue
        try:
            value = ast.literal_eval(literal.strip())
        except (ValueError, SyntaxError):
            return None
        if isinstance(value, bool):
            # The only boolean an activation takes is inplace, which changes no result.
            continue
        if not isinstance(value, (int, float)):
            return None
        values.append(float(value))
    return tuple(values)
