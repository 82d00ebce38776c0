"""What ``slimgate search`` times: its options, and the clock behind costs and budgets."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.data import CalibrationList, Dataset
    from slimgate.flow import Detector

COSTS = ("flops", "latency")

_CALIBRATION_IMAGES = 32


def add_clock_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how much a candidate may cost, and how that is measured."""
    parser.add_argument(
        "--budget",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="largest share of what MODEL costs (default: %(default)s)",
    )
    parser.add_argument(
        "--budget-of",
        choices=COSTS,
        default="flops",
        help="what the budget is a share of; a latency is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--cost", choices=COSTS, default="flops", help="what is to be small (default: %(default)s)"
    )
    parser.add_argument(
        "--runtime", default="onnxruntime", help="that latency is measured on (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="of the candidates whose latency is measured; MODEL's own is in FP32 (default: %(default)s)",
    )


def check_clock(args: argparse.Namespace) -> None:
    """Refuse a clock that there is none of.

    Raises:
        UsageError: an unknown runtime, one that runs no INT8, or INT8 where nothing is timed.
    """
    from slimgate.errors import UsageError, unknown_name
    from slimgate.runtime import RUNTIMES
    from slimgate.study.build import TARGET_BY_RUNTIME

    if args.runtime not in RUNTIMES:
        raise unknown_name("runtime", args.runtime, RUNTIMES)
    if args.precision != "int8":
        return
    if "latency" not in (args.cost, args.budget_of):
        raise UsageError(
            "--precision int8",
            found="nothing is timed: the budget is of FLOPs, and so is the cost",
            expected="--budget-of latency or --cost latency: INT8 changes no FLOPs",
            action="add one of them, or leave --precision out",
        )
    if args.runtime not in TARGET_BY_RUNTIME:
        raise UsageError(
            f"--runtime {args.runtime}",
            found="it runs no INT8 file",
            expected=f"one of {', '.join(TARGET_BY_RUNTIME)}",
            action="name one of them, or leave --precision int8 out",
        )


def name_clock(args: argparse.Namespace) -> str:
    """Return what a latency is of, in words."""
    return f"latency {'in INT8 ' if args.precision == 'int8' else ''}on {args.runtime}"


def calibration_of(pictures: Dataset) -> CalibrationList:
    """Return the training pictures that INT8 is calibrated on: enough for its time, which is all that is asked."""
    from slimgate.data import calibration_list

    return calibration_list(pictures, count=min(_CALIBRATION_IMAGES, len(pictures)), evaluated=None)


@contextlib.contextmanager
def open_clock(
    args: argparse.Namespace, detector: Detector, pictures: Dataset
) -> Iterator[tuple[Callable[[Detector], float], Callable[[Detector], float]]]:
    """Yield what candidates cost, and what measures their latency; it is not called where nothing is timed."""
    from slimgate.model import count_flops
    from slimgate.study.latency import LatencyMeter

    whole = count_flops(detector)
    timed = "latency" in (args.cost, args.budget_of)
    calibration = calibration_of(pictures) if args.precision == "int8" else None
    meter = LatencyMeter(detector, args.runtime, calibration)
    with meter if timed else contextlib.nullcontext():
        yield (meter.ratio if args.cost == "latency" else lambda made: count_flops(made) / whole), meter.ratio
