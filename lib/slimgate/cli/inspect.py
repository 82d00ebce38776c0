"""``slimgate inspect``: what a model file really is."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from slimgate.artifact import Inspection
    from slimgate.flow import Json

_EPILOG = """\
examples:
  slimgate inspect best.onnx             is it INT8, and how much of it?
  slimgate inspect best.pt --layers      every convolution: width, sparsity, alignment
  slimgate inspect best.pt --multiple 16 which widths are no multiple of 16, and which are exempt and why
  slimgate inspect best.engine --json    everything, for a program
  slimgate inspect int8.onnx --scales    scheme, scale and zero point of every quantised tensor; what is float, and why
  slimgate inspect best.onnx --text      the structure alone, to compare two files with diff

Precision is the share of convolution arithmetic (MACs) that computes in it, read from the graph: a convolution is
INT8 only if activation and weight both come through Q/DQ. Sparsity counts zeros in weights; it makes a dense
network neither smaller nor faster; sparse tensor cores use the 2:4 pattern, two zeros in every four weights along
the input channels. A width is odd when it is no multiple of N (8) and not exempt: the outputs of the
head follow boxes and classes, and channels of grouped convolutions cannot change alone. Repair: slimgate align.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="precision shares, sparsity, channel widths, sizes and lineage of a file",
        description="Look into a model file and say what it really is.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help=".safetensors, .pt, .onnx or .engine")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--text", action="store_true", help="print the canonical text of the structure")
    parser.add_argument("--layers", action="store_true", help="list every layer")
    parser.add_argument(
        "--scales",
        action="store_true",
        help="list every quantised tensor: scheme, scales, zero points; and the layers that stay in float, and why",
    )
    parser.add_argument(
        "--multiple",
        default="8",
        metavar="N",
        help="what widths should be multiples of (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Inspect and print; returns 0."""
    from rich.console import Console

    from slimgate.artifact import inspect_file
    from slimgate.data.fetch import find_model

    inspection = inspect_file(find_model(args.file), multiple=_read_multiple(args.multiple))
    if args.json:
        sys.stdout.write(json.dumps(inspection.to_json(), indent=1) + "\n")
    elif args.text:
        sys.stdout.write(inspection.to_text())
    else:
        console = Console(highlight=False)
        _print_summary(console, inspection, layers=args.layers)
        if args.scales:
            _print_scales(console, inspection)
    return 0


def _read_multiple(text: str) -> int:
    from slimgate.errors import UsageError

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(
            f"--multiple '{text}'",
            found="not a whole number from 1",
            expected="what channel widths should be multiples of: 8, 4, 16, 32",
            action="write --multiple 8",
        )
    return int(text)


def _print_summary(console: Console, inspection: Inspection, *, layers: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    summary = Table(show_header=False, title=escape(inspection.file), title_justify="left")
    summary.add_column()
    summary.add_column(overflow="fold")
    for label, value in _rows(inspection):
        summary.add_row(label, escape(value))
    console.print(summary)
    if not layers:
        return
    table = Table(title="layers", title_justify="left")
    for column in ("name", "kind", "in", "out", "kernel", "precision", "zeros", "2:4", "width"):
        table.add_column(column, justify="right" if column in ("in", "out", "zeros") else "left")
    for layer in inspection.layers:
        zeros = f"{1 - layer.nonzero / layer.weights:.1%}"
        table.add_row(
            escape(layer.name),
            layer.kind,
            str(layer.inputs),
            str(layer.outputs),
            layer.kernel,
            layer.precision,
            zeros,
            layer.semi_structured,
            layer.alignment,
        )
    console.print(table)


def _print_scales(console: Console, inspection: Inspection) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="quantised tensors", title_justify="left")
    for column in ("name", "role", "scheme", "scale", "zero point"):
        table.add_column(column, overflow="fold")
    for tensor in inspection.quantized:
        scales, zeros = tensor.scales, sorted(set(tensor.zero_points))
        table.add_row(
            escape(tensor.name),
            tensor.role,
            tensor.scheme,
            f"{scales[0]:.6g}"
            if len(scales) == 1
            else f"{min(scales):.3g} to {max(scales):.3g} ({len(scales)})",
            ", ".join(str(zero) for zero in zeros) if len(zeros) < 4 else f"{zeros[0]} to {zeros[-1]}",
        )
    console.print(table)
    floats = Table(title="convolutions in float", title_justify="left")
    for column in ("name", "precision", "why"):
        floats.add_column(column, overflow="fold")
    for layer in inspection.layers:
        if layer.precision != "int8":
            floats.add_row(escape(layer.name), layer.precision, escape(layer.why_float or "not recorded"))
    console.print(floats)


def _rows(inspection: Inspection) -> list[tuple[str, str]]:
    from slimgate.errors import name_offenders

    shares = ", ".join(f"{name} {share:.1%}" for name, share in sorted(inspection.shares.items()))
    size = f"{inspection.size_bytes / 1e6:.2f} MB, {inspection.compressed_bytes / 1e6:.2f} MB after zlib"
    classes = f"{len(inspection.class_names)}: {name_offenders(inspection.class_names)}"
    rows = [
        ("format", f"{inspection.format}, written for {inspection.target}"),
        ("precision", f"claims {inspection.precision}; convolution MACs: {shares or 'not known'}"),
        ("size", size),
        ("input", f"{inspection.image_size} x {inspection.image_size}, batch {inspection.batch or 'any'}"),
        ("classes", classes),
    ]
    if inspection.layers:
        zeros = 1 - inspection.nonzero_weights / inspection.weights
        rows.append(("weights", f"{inspection.weights:,}, {zeros:.2%} of them zero"))
        rows.append(("2:4", _semi_structured(inspection)))
        rows.append(("widths", _widths(inspection)))
        rows += _exempt_rows(inspection)
    rows += _quantized_rows(inspection)
    rows.append(("lineage", " > ".join(_describe_steps(inspection)) or "no recorded steps"))
    rows += [
        (name.replace("_", " "), _show_fact(value))
        for name, value in sorted(inspection.facts.items())
        if name not in _OF_QUANTISATION
    ]
    rows.append(("sha256", inspection.sha256))
    return rows


_OF_QUANTISATION = ("float_convolutions", "sqnr_db", "sensitivity")
"""Facts with an entry for each layer, which have rows of their own."""


def _show_fact(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(":".join(map(str, one)) if isinstance(one, list) else str(one) for one in value)
    if isinstance(value, dict):
        # An engine's table of convolutions: --json has it.
        nested = any(isinstance(one, dict) for one in value.values())
        return (
            str(len(value)) if nested else ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
        )
    return str(value)


def _widths(inspection: Inspection) -> str:
    from slimgate.errors import name_offenders

    odd = inspection.odd_layers
    exempt = [layer.name for layer in inspection.layers if layer.alignment == "exempt"]
    aligned = len(inspection.layers) - len(odd) - len(exempt)
    text = f"{aligned} aligned to {inspection.multiple}, {len(exempt)} exempt, {len(odd)} odd"
    return text + (f": {name_offenders(f'{layer.name} ({layer.outputs})' for layer in odd)}" if odd else "")


def _exempt_rows(inspection: Inspection) -> list[tuple[str, str]]:
    from slimgate.errors import name_offenders

    exempt = [layer for layer in inspection.layers if layer.alignment == "exempt"]
    return [
        (
            "exempt",
            f"{name_offenders(f'{e.name} ({e.outputs})' for e in exempt if e.reason == reason)}: {reason}",
        )
        for reason in dict.fromkeys(layer.reason for layer in exempt)
    ]


def _quantized_rows(inspection: Inspection) -> list[tuple[str, str]]:
    from slimgate.errors import name_offenders

    schemes = Counter(f"{tensor.role}: {tensor.scheme}" for tensor in inspection.quantized)
    rows = (
        [("quantised", "; ".join(f"{count} {scheme}" for scheme, count in schemes.items()))]
        if schemes
        else []
    )
    reasons = {layer.name: layer.why_float for layer in inspection.layers if layer.why_float}
    return rows + [
        ("float", f"{name_offenders(name for name in reasons if reasons[name] == reason)}: {reason}")
        for reason in dict.fromkeys(reasons.values())
    ]


def _semi_structured(inspection: Inspection) -> str:
    from slimgate.errors import name_offenders

    states = [layer.semi_structured for layer in inspection.layers]
    holds, broken = states.count("holds"), states.count("broken")
    share = inspection.semi_structured_share or 0.0
    text = f"holds in {holds} of {len(states)} layers ({share:.1%} of the MACs)"
    if not holds:
        return text
    offenders = [layer.name for layer in inspection.layers if layer.semi_structured == "broken"]
    text += f", not in {broken}" + (f" ({name_offenders(offenders)})" if offenders else "")
    return f"{text}, cannot be used in {len(states) - holds - broken}"


def _describe_steps(inspection: Inspection) -> list[str]:
    steps = []
    for step in inspection.lineage:
        settings = ", ".join(f"{name} {value}" for name, value in step.settings.items() if value is not None)
        steps.append(f"{step.operation} ({settings})" if settings else step.operation)
    return steps
