"""``slimgate align``: repair odd channel widths without changing what a detector computes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.flow import Detector

_EPILOG = """\
examples:
  slimgate align best.pt -o best-aligned                   every width a multiple of 8
  slimgate align slim.safetensors --multiple 16 -o slim16  for hardware that computes 16 channels at a time
  slimgate inspect best.pt --multiple 16                   which widths are odd, and which are exempt and why

Kernels compute 4 to 32 channels at a time, so an odd width costs what the next multiple costs, or is refused by an
NPU. Widths are padded with channels of exact zeros: their filters, batch norms and everything that reads them are
zero, so the outputs stay. What is gained is the hardware's path, not size: parameters and FLOPs grow a little.
Exempt are the image and the outputs of the head, whose widths boxes and classes decide.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "align",
        help="pad odd channel widths up to a multiple, with equal outputs",
        description="Pad every channel width up to a multiple with zeros and save the result as a checkpoint.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", type=Path, help=".safetensors, YOLOv5 .pt or ultralytics .pt"
    )
    parser.add_argument(
        "--multiple", default="8", metavar="N", help="what every width becomes a multiple of (default: 8)"
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        type=Path,
        required=True,
        help="checkpoint to write, with or without suffix",
    )
    parser.add_argument("--half", action="store_true", help="store the weights as float16, at half the size")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Align, save and say what was padded; returns 0."""
    from slimgate.cli.compress import refuse_overwriting, summarise
    from slimgate.cli.outputs import require_file_place
    from slimgate.compress import apply_operations, parse_operation
    from slimgate.data.fetch import find_model
    from slimgate.model import load_detector, save_checkpoint

    step = parse_operation(f"align:multiple={args.multiple}")
    refuse_overwriting(args.out, force=args.force)
    require_file_place("--out", args.out, example="even.safetensors")
    before = load_detector(find_model(args.model))
    after = apply_operations(before, [step])
    written = save_checkpoint(after, args.out, storage="float16" if args.half else "float32")
    summarise(before, load_detector(written), written)
    _say_what_was_padded(before, after)
    return 0


def _say_what_was_padded(before: Detector, after: Detector) -> None:
    from rich.console import Console

    from slimgate.errors import name_offenders

    step = after.lineage[-1]
    padded, exempt = step.notes["padded"], step.notes["exempt"]
    console = Console(highlight=False)
    if padded:
        layers = name_offenders(f"{name} ({widths})" for name, widths in padded.items())
        console.print(f"padded {len(padded)} layers: {layers}", soft_wrap=True, markup=False)
    else:
        console.print(f"every width is a multiple of {step.settings['multiple']} already")
    for reason in dict.fromkeys(exempt.values()):
        layers = name_offenders(name for name, why in exempt.items() if why == reason)
        console.print(f"exempt ({reason}): {layers}", soft_wrap=True, markup=False)
    console.print(f"largest difference between the outputs, in float64: {_difference(before, after):.2g}")


def _difference(before: Detector, after: Detector) -> float:
    """Return the largest difference between two detectors' outputs for one image of noise."""
    import copy

    import torch

    image = torch.rand(
        (1, 3, before.image_size, before.image_size),
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        one, other = (copy.deepcopy(detector.module).double()(image) for detector in (before, after))
    return float((one - other).abs().max())
