"""The ``slimgate`` command: one file per subcommand, one message and exit code 2 for everything that is bad input."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from slimgate import __version__
from slimgate.cli.failures import describe_defect, describe_os_error
from slimgate.cli.parser import Parser
from slimgate.errors import SlimgateError

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

DEFECT = 3
"""Exit code of an error that nobody expected."""

_EPILOG = """\
exit codes: 0 passed, 1 a gate failed or nothing could be judged, 2 bad use or bad input, 3 an error of slimgate itself

start here:
  slimgate study                        compress, measure and judge the built-in barcode detector
  slimgate inspect best.onnx            what precision is this file really in?
  slimgate val best.pt --data data.yaml the 12 COCO numbers, and misses per class
  slimgate init --model best.pt --data data.yaml   a study, floors to fill and a test for your own detector

MODEL is a slimgate checkpoint (.safetensors), a YOLOv5 or ultralytics .pt, an .onnx, an .engine,
or fetch:yolov5n.pt, the official checkpoint.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every subcommand."""
    parser = Parser(
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
    """Run the command line and return its exit code.

    0 passed, 1 a gate failed, 2 bad use or bad input, 3 an error of slimgate itself.
    """
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
        refused = describe_os_error(error)
        return _explain(refused) if refused else _explain(describe_defect(error), DEFECT)
    except Exception as error:  # noqa: BLE001 - Python would leave with 1, and 1 says that a gate failed
        return _explain(describe_defect(error), DEFECT)


def _explain(message: str, code: int = 2) -> int:
    sys.stderr.write(f"slimgate: {message}\n")
    return code
