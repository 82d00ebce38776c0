"""``slimgate rederive``: a slim detector's widths as an architecture of its own, to read, edit and train."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """\
examples:
  slimgate rederive slim.safetensors -o nas.yaml
      the widths as a yaml that a person can read and edit
  slimgate rederive slim.safetensors -o nas.yaml --checkpoint nas
      and the network built again, with random weights
  slimgate rederive slim.safetensors -o nas.yaml --weights best.pt --checkpoint nas
      and with the weights of the detector that was slimmed, in the channels that slimming kept
  slimgate train --architecture nas.yaml --run runs/nas
      train what the file says, edited or not

What pruning found may be the widths and not the weights. --match says which channels of PRETRAINED are inherited where
it is wider: kept (the default with --weights: those that slimming kept, as the lineage of SLIM records), first (the
first ones of every layer, for any detector with the same layers) or none (none: random weights).
Layers that are added to each other must have equal widths; the yaml says so beside each of them.
"""

_MATCHES = ("kept", "first", "none")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "rederive",
        help="write a slim detector's widths as an architecture, and build it again",
        description="Write a (slim) detector's architecture as yaml; build it again without its pruned weights.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="SLIM", type=Path, help=".safetensors, YOLOv5 .pt or ultralytics .pt"
    )
    parser.add_argument("-o", "--out", metavar="YAML", type=Path, required=True, help="architecture to write")
    parser.add_argument(
        "--checkpoint", metavar="OUT", type=Path, help="also write the network that was built again"
    )
    parser.add_argument(
        "--weights",
        metavar="PRETRAINED",
        type=Path,
        help="detector whose weights OUT inherits (default: none)",
    )
    parser.add_argument(
        "--match", choices=_MATCHES, help="which channels of PRETRAINED (default: kept; without it none)"
    )
    parser.add_argument(
        "--seed", default="0", metavar="N", help="of the weights that start at random (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite YAML and OUT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the architecture, and the checkpoint where one is wanted; returns 0."""
    from rich.console import Console

    from slimgate.compress import apply_operations
    from slimgate.data.fetch import find_model
    from slimgate.flow import Step
    from slimgate.model import load_detector, save_checkpoint
    from slimgate.model.write_architecture import write_architecture

    settings = _settings(args)
    _check_outputs(args)
    slim = load_detector(find_model(args.model))
    # Built before anything is written: what cannot be inherited leaves no file behind.
    steps = [Step(operation="rederive", settings=settings)] if args.checkpoint is not None else []
    built = apply_operations(slim, steps)
    console = Console(highlight=False)
    written = write_architecture(slim, args.out, force=args.force)
    console.print(f"wrote {written}", soft_wrap=True, markup=False)
    if args.checkpoint is not None:
        notes = built.lineage[-1].notes
        checkpoint = save_checkpoint(built, args.checkpoint)
        console.print(
            f"inherited {notes['inherited']} of {notes['tensors']} tensors"
            + (f" from {notes['weights_name']}" if "weights_name" in notes else ": random weights"),
            markup=False,
        )
        console.print(
            f"wrote {checkpoint} and {checkpoint.with_suffix('.json').name}", soft_wrap=True, markup=False
        )
    return 0


def _settings(args: argparse.Namespace) -> dict[str, object]:
    """Return the operation's settings; match=none is no setting of it, but no weights."""
    from slimgate.data.fetch import find_model
    from slimgate.errors import UsageError

    match = args.match or ("kept" if args.weights else "none")
    if args.weights is not None and (match == "none" or args.checkpoint is None):
        raise UsageError(
            f"--weights {args.weights}",
            found="--match none" if match == "none" else "no --checkpoint",
            expected="--match kept or first, and --checkpoint OUT: only a checkpoint holds weights",
            action="add --checkpoint OUT and say which channels it inherits, or leave --weights out",
        )
    if args.weights is None and match != "none":
        raise UsageError(
            f"--match {match}",
            found="no --weights",
            expected="the pretrained detector that the channels are taken from",
            action="add --weights PRETRAINED, or leave --match out to start from random weights",
        )
    inherited = {"weights": str(find_model(args.weights)), "match": match} if args.weights is not None else {}
    return {**inherited, "seed": args.seed}


def _check_outputs(args: argparse.Namespace) -> None:
    from slimgate.cli.compress import refuse_overwriting
    from slimgate.errors import UsageError

    if args.out.suffix not in (".yaml", ".yml") or args.out.is_dir():
        raise UsageError(
            f"--out {args.out}",
            found="a directory" if args.out.is_dir() else f"suffix '{args.out.suffix}'",
            expected="the name of a yaml file, which is how 'slimgate train --architecture' knows it",
            action=f"write -o {args.out / 'nas.yaml' if args.out.is_dir() else args.out.with_suffix('.yaml')}",
        )
    if args.checkpoint is not None:
        refuse_overwriting(args.checkpoint, force=args.force, option="--checkpoint")
