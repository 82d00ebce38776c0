"""INT8 as ``slimgate export`` offers it: its options, and from images to a file; and FP16's look at ranges."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.compress.quantize import QuantizationPlan
    from slimgate.data import CalibrationList, Dataset
    from slimgate.flow import Artifact


_OBSERVER = "minmax"


def add_int8_options(parser: argparse.ArgumentParser) -> None:
    """Add what only ``--precision int8`` reads."""
    options = parser.add_argument_group("INT8")
    options.add_argument(
        "--calib",
        metavar="DATA",
        help="training images for INT8: data.yaml (its train images), COCO .json, codes:calib",
    )
    options.add_argument(
        "--calib-count", type=int, default=512, metavar="N", help="how many (default: %(default)s)"
    )
    options.add_argument(
        "--evaluated",
        metavar="DATA",
        help="the dataset it will be judged on, to be kept apart (default: the val images of --calib's data.yaml)",
    )
    options.add_argument(
        "--observer",
        choices=("minmax", "percentile", "mse", "entropy"),
        help=f"how ranges are taken from calibration images (default: {_OBSERVER})",
    )
    options.add_argument(
        "--sensitivity",
        action="store_true",
        help="measure what INT8 costs each group of layers, and record it in the file",
    )
    options.add_argument(
        "--score-groups",
        action="store_true",
        help="measure the mAP50-95 that each group alone costs as well, on the --labelled pictures",
    )
    options.add_argument(
        "--budget",
        type=float,
        metavar="DROP",
        help="largest drop of mAP50-95 to accept, such as 0.002: groups go back to float until it is kept",
    )
    options.add_argument(
        "--labelled",
        metavar="DATA",
        help="labelled training pictures for mAP: data.yaml (its train images), COCO .json, codes:train",
    )
    options.add_argument(
        "--labelled-count",
        type=int,
        default=256,
        metavar="N",
        help="how many, beside those that are calibrated on (default: %(default)s)",
    )
    options.add_argument(
        "--plan-out",
        type=Path,
        metavar="FILE",
        help="write every tensor's scheme, scale and zero point as JSON",
    )


def check_int8_options(args: argparse.Namespace, out: Path) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: INT8 without calibration images, options of INT8 without it, or mAP without pictures.
    """
    from slimgate.errors import UsageError

    given = [
        option
        for option, value in (
            ("--observer", args.observer),
            ("--sensitivity", args.sensitivity),
            ("--score-groups", args.score_groups),
            ("--budget", args.budget is not None),
            ("--labelled", args.labelled),
            ("--plan-out", args.plan_out),
        )
        if value
    ]
    if args.precision != "int8":
        _refuse_images_that_nobody_reads(args)
        if given:
            raise UsageError(
                given[0],
                found=f"the precision is {args.precision}",
                expected="--precision int8, which alone is calibrated",
                action=f"add --precision int8, or leave {given[0]} out",
            )
        return
    if args.calib is None:
        raise UsageError(
            "--precision int8",
            found="no calibration images",
            expected="--calib DATA: training images like those that will be seen",
            action="add --calib with a data.yaml, a COCO .json, or codes:calib",
        )
    asked = [name for name in ("--budget", "--score-groups") if name in given]
    if bool(asked) != (args.labelled is not None):
        raise UsageError(
            "--labelled" if not asked else asked[0],
            found="stands without the other one",
            expected="--labelled DATA beside --budget DROP or --score-groups: mAP is measured on labelled training "
            "pictures",
            action="give both, or neither",
        )
    if args.plan_out is not None and args.plan_out.resolve() == out.resolve():
        raise UsageError(
            f"--plan-out {args.plan_out}",
            found="the name of the model itself, which it would replace",
            expected="a file of its own",
            action=f"write --plan-out {out.with_suffix('.plan.json')}",
        )
    if args.plan_out is not None and args.plan_out.exists() and not args.force:
        raise UsageError(
            f"--plan-out {args.plan_out}",
            found="exists already",
            expected="a new name",
            action="choose another name, or add --force to overwrite",
        )


def _refuse_images_that_nobody_reads(args: argparse.Namespace) -> None:
    """Refuse images of FP32, which looks at none, and images that FP16 is to keep apart from none."""
    from slimgate.errors import UsageError

    if args.calib is not None and args.precision == "fp32":
        raise UsageError(
            "--calib",
            found="the precision is fp32",
            expected="--precision int8, which is calibrated, or fp16, which looks for values that it cannot hold",
            action="add the precision, or leave --calib out",
        )
    if args.evaluated is not None and args.calib is None:
        raise UsageError(
            "--evaluated",
            found="stands without --calib",
            expected="--calib DATA, whose images are kept apart from these",
            action="add --calib DATA, or leave --evaluated out",
        )


def quantize(args: argparse.Namespace, fp32: Artifact, path: Path, *, target: str) -> Artifact:
    """Write the INT8 file of an FP32 one, and its plan where that was asked for.

    Raises:
        SlimgateError: the file or the images cannot be used.
    """
    from rich.console import Console
    from rich.progress import Progress

    from slimgate.compress.quantize import QuantizationSettings
    from slimgate.compress.quantize.source import load_quantizable
    from slimgate.data import check_class_names, labelled_list, load_dataset, training_source
    from slimgate.study.int8 import Pictures, calibrate, write_int8

    # Before hundreds of images are read.
    load_quantizable(fp32.path)
    settings = QuantizationSettings(
        observer=args.observer or _OBSERVER,
        budget=args.budget,
        sensitivity=args.sensitivity,
        score_groups=args.score_groups,
    )
    calibration, evaluated = _read_calibration(args)
    labelled = None
    if args.labelled is not None:
        labelled = labelled_list(
            load_dataset(training_source(args.labelled), count=args.labelled_count + len(calibration.paths)),
            count=args.labelled_count,
            calibration=calibration,
            evaluated=(evaluated,) if evaluated else (),
        )
        check_class_names(fp32.class_names, labelled)
    pictures = Pictures(calibration=calibration, labelled=labelled)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calibrating", total=len(calibration.paths))
        plan = calibrate(fp32, pictures, settings, lambda done: bar.update(task, completed=done))
        if settings.sensitivity or settings.needs_labels:
            bar.add_task("measuring what INT8 costs each group", total=None)
        artifact, plan = write_int8(fp32, plan, path, target=target, pictures=pictures, settings=settings)
    if args.plan_out is not None:
        _write_plan(args.plan_out, artifact, plan)
    return artifact


def observe_ranges(args: argparse.Namespace, fp32: Artifact) -> dict[str, float] | None:
    """Return the largest value of each tensor over the calibration images; None when none were named."""
    from slimgate.compress.quantize import observe_maxima
    from slimgate.study.int8 import calibration_inputs

    if args.calib is None:
        return None
    calibration, _ = _read_calibration(args)
    return observe_maxima(fp32.path, calibration_inputs(calibration.paths, fp32))


def _read_calibration(args: argparse.Namespace) -> tuple[CalibrationList, Dataset | None]:
    """Return what is calibrated on, and what it was found to be kept apart from, if anything was named."""
    from slimgate.data import calibration_list, held_out_source, load_dataset, training_source

    kept_apart = args.evaluated or held_out_source(args.calib)
    evaluated = load_dataset(kept_apart) if kept_apart else None
    images = load_dataset(training_source(args.calib), count=args.calib_count)
    return calibration_list(images, count=args.calib_count, evaluated=evaluated), evaluated


def _write_plan(path: Path, artifact: Artifact, plan: QuantizationPlan) -> None:
    from slimgate.artifact.qdq import describe_quantization
    from slimgate.artifact.write import replace_file

    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(describe_quantization(artifact, plan), indent=1) + "\n")
