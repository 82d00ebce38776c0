"""The ``slimgate`` command: one file per subcommand, one message and exit code 2 for everything that is bad input."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from slimgate import __version__
from slimgate.errors import SlimgateError, nearest_name

COMMANDS = (
    "init",
    "study",
    "predict",
    "val",
    "export",
    "compress",
    "align",
    "rederive",
    "search",
    "inspect",
    "train",
    "report",
    "accept",
    "causes",
    "history",
    "compare",
)
"""Modules of this package, in the order a user meets them."""

_EPILOG = """\
exit codes: 0 passed, 1 a gate failed, 2 bad use or bad input

start here:
  slimgate study                        compress, measure and judge the built-in barcode detector
  slimgate inspect best.onnx            what precision is this file really in?
  slimgate val best.pt --data data.yaml the 12 COCO numbers, and misses per class
  slimgate init --model best.pt --data data.yaml   a study, floors to fill and a test for your own detector

MODEL is a slimgate checkpoint (.safetensors), a YOLOv5 or ultralytics .pt, an .onnx or an .engine.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors name the nearest known command."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print one message and leave with exit code 2."""
        if "invalid choice" in message and "argument COMMAND" in message:
            given = message.split("'")[1]
            message = (
                f"unknown command '{given}'{nearest_name(given, COMMANDS)}\n"
                f"  expected: one of {', '.join(COMMANDS)}\n  what to do: slimgate --help"
            )
        self.exit(2, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every subcommand."""
    parser = _Parser(
        prog="slimgate",
        description="Compress object detectors and gate what is shipped.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"slimgate {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"slimgate.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 passed, 1 a gate failed, 2 bad use or bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except SlimgateError as error:
        return _explain(str(error))
    except KeyboardInterrupt:
        return _explain(
            "interrupted\n  expected: the command to finish\n"
            "  what to do: run it again; finished artifacts are kept and reused"
        )
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM):
            raise
        return _explain(
            f"{error.filename or 'output'}: {os.strerror(error.errno)}\n"
            "  expected: a writable place with enough room\n"
            "  what to do: free space, or name another directory (--out, -o, SLIMGATE_CACHE)"
        )


def _explain(message: str) -> int:
    sys.stderr.write(f"slimgate: {message}\n")
    return 2
