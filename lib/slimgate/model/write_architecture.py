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
        f"# {detector.name}: {detector.family.value} family, {len(detector.class_names)} classes",
        f"# ({', '.join(detector.class_names)}).",
        "# Rows are [from, repeats, layer, arguments]; widths override the output channels that the rows imply.",
        "",
        yaml.safe_dump(architecture, sort_keys=False, default_flow_style=None).rstrip(),
    ]
    index = 0
    for key, part in rows.items():
        lines += ["", f"{key}:"]
        for row in part:
            lines.append(f"  - {_flow(row)}  # {index}")
            index += 1
    lines += ["", "widths:", *_width_lines(graph)]
    return "\n".join(lines) + "\n"


def _flow(value: Json) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.strip().removesuffix("...").strip()


def _width_lines(graph: ChannelGraph) -> Iterator[str]:
    partners: dict[str, list[str]] = {}
    for group in graph.free:
        for layer in group.layers:
            partners.setdefault(layer, []).extend(other for other in group.layers if other != layer)
    for name, width in graph.widths(graph.all_channels()).items():
        if name in graph.choosable:
            others = ", ".join(dict.fromkeys(partners[name]))
            yield f"  {name}: {width}" + (f"  # added to {others}: equal widths" if others else "")
