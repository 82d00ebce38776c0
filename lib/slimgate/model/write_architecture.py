"""An architecture as a yaml file that a person can read and edit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Json
from slimgate.model.channels import ChannelGraph, trace_channels


def write_architecture(detector: Detector, path: Path, *, force: bool = False) -> Path:
    """Write a detector's architecture as yaml, with every width on a line of its own; return the path.

    Widths that must be equal name each other in a comment.

    Raises:
        UsageError: the file exists and ``force`` is not set.
        InputError: it cannot be written.
    """
    if path.exists() and not force:
        raise UsageError(
            str(path),
            found="it exists already",
            expected="a new file",
            action="choose another name, or overwrite it with --force",
        )
    text = architecture_text(detector)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".slimgate-", dir=path.parent) as folder:
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
            (Path(folder) / path.name).replace(path)
    except OSError as error:
        raise InputError(
            str(path),
            found=f"cannot be written ({error})",
            expected="a folder that can be written to",
            action="choose another path",
        ) from error
    return path


def architecture_text(detector: Detector) -> str:
    """Return a detector's architecture as yaml text."""
    architecture = dict(detector.architecture)
    rows = {key: architecture.pop(key) for key in ("backbone", "head")}
    architecture.pop("widths", None)
    graph = trace_channels(detector.module, subject=detector.name)
    lines = [
        f"# {_comment(detector.name)}: {detector.family.value} family, {len(detector.class_names)} classes",
        f"# ({_comment(', '.join(detector.class_names))}).",
        "# Rows are [from, repeats, layer, arguments]; widths override the output channels that the rows imply.",
        "",
        # One key at a time: yaml puts a mapping of nothing but scalars in braces, and more keys follow.
        *(f"{key}: {_flow(value)}" for key, value in architecture.items()),
    ]
    index = 0
    for key, part in rows.items():
        lines += ["", f"{key}:"]
        for row in part:
            lines.append(f"  - {_flow(row)}  # {index}")
            index += 1
    lines += ["", "widths:", *_width_lines(graph)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """Return a text that cannot end its comment: a name may hold line breaks, in all their forms."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _flow(value: Json) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.strip().removesuffix("...").strip()


def _width_lines(graph: ChannelGraph) -> Iterator[str]:
    widths = {
        name: width for name, width in graph.widths(graph.all_channels()).items() if name in graph.choosable
    }
    partners: dict[str, dict[str, None]] = {name: {} for name in widths}
    for group in graph.free:
        for layer in partners.keys() & set(group.layers):
            partners[layer].update(dict.fromkeys(o for o in group.layers if o in widths and o != layer))
    for name, width in widths.items():
        equal = [other for other in partners[name] if widths[other] == width]
        others = [other for other in partners[name] if widths[other] != width]
        notes = [f"added to {', '.join(equal)}: equal widths"] if equal else []
        notes += [f"shares channels with {', '.join(others)}: change them together"] if others else []
        yield f"  {name}: {width}" + (f"  # {'; '.join(notes)}" if notes else "")
