"""``slimgate init``: a study, a floors file and a test for somebody's own model and data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.cli.init_files import find_pytest_configuration, refuse_existing, write_all
from slimgate.errors import InputError, SlimgateError, UsageError

if TYPE_CHECKING:
    from slimgate.data import Dataset
    from slimgate.flow import Detector, Precision
    from slimgate.study.draft import Draft

_EPILOG = """\
examples:
  slimgate init --model best.pt --data data.yaml
  slimgate init gate --model best.pt --data data.yaml --runtimes onnxruntime openvino
  slimgate init --model best.pt --data val.json --calibration train.json --precisions fp32 fp16 int8

It writes, and never overwrites:
  NAME.toml                  the study: FP32 and the other precisions in each runtime
  golden/floors/NAME.toml    a floors file without floors: 'slimgate accept' prints them, people paste them
  test_NAME.py               the gate for pytest: one test per case and kind of floor
  pytest.ini                 names the study; only where no pytest configuration is found

NAME is the model's file name, or --name. Model and data are read whole before anything is written: classes and
image size must agree, every label must be readable, no evaluated image may be among the calibration images.
INT8 is calibrated on the train images of the data.yaml unless --calibration names others.
"""

_CALIBRATION_IMAGES = 512


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "init",
        help="write a study, a floors file and a test for your model and data",
        description="Set up the gate of your own detector: a study, a floors file without floors, a test.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the files go (default: the current folder)",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="checkpoint: .safetensors, YOLOv5 or ultralytics .pt, or fetch:NAME",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="what is evaluated: COCO .json, YOLO data.yaml, folder with images/ and labels/, coco128, codes:SPLIT",
    )
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        help="what INT8 is calibrated on (default: the train images of the data.yaml)",
    )
    parser.add_argument(
        "--runtimes",
        nargs="+",
        default=["onnxruntime"],
        metavar="NAME",
        help="what runs the variants (default: onnxruntime)",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("fp32", "fp16", "bf16", "int8"),
        metavar="P",
        help="fp32, fp16, bf16, int8; fp32 always comes along (default: fp32 and int8)",
    )
    parser.add_argument(
        "--imgsz", type=int, metavar="PX", help="side of the square input (default: the model's own)"
    )
    parser.add_argument("--name", metavar="NAME", help="of the study and its files (default: the model's)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check model and data, write the files, print what comes next, and return 0."""
    from slimgate.study.draft import PYTEST_KEYS, draft_floors, draft_study, draft_test, id_from_name

    name = args.name or id_from_name(Path(args.model.removeprefix("fetch:")).stem)
    if not name or id_from_name(name) != name:
        raise UsageError(
            f"--name {name}",
            found="no name for case ids",
            expected="letters, digits and . _ + -",
            action="give another --name",
        )
    folder: Path = args.folder
    study = folder / f"{name}.toml"
    test = folder / f"test_{_module_name(name)}.py"
    configured = find_pytest_configuration(folder)
    paths = [study, folder / "golden" / "floors" / f"{name}.toml", test]
    if configured is None:
        paths.append(folder / "pytest.ini")
    refuse_existing(paths)
    draft = check_inputs(args, name)
    texts = [
        draft_study(draft),
        draft_floors(name),
        draft_test(study.name),
        PYTEST_KEYS.format(study=study.name),
    ]
    write_all(dict(zip(paths, texts, strict=False)))
    _say("")
    for path in paths:
        _say(f"wrote {path}")
    print_next(folder, study, configured)
    return 0


def check_inputs(args: argparse.Namespace, name: str) -> Draft:
    """Load the model and the data, hold them against each other, and return what the study is to say.

    Raises:
        SlimgateError: one of them cannot be used, or they do not fit together.
    """
    from slimgate.data import check_class_names, check_image_size, load_dataset
    from slimgate.flow import Precision
    from slimgate.study.build import load_weights
    from slimgate.study.draft import Draft

    asked = [Precision(one) for one in args.precisions or ("fp32", "int8")]
    precisions = list(dict.fromkeys([Precision.FP32, *asked]))
    variants = [(precision, runtimes_for(precision, args.runtimes)) for precision in precisions]
    detector = load_weights(args.model, args.imgsz)
    check_image_size(detector.image_size, detector.stride)
    dataset = load_dataset(args.data)
    check_class_names(detector.class_names, dataset)
    objects = count_objects(dataset)
    _describe(detector, dataset, objects)
    if not any(objects.values()):
        raise InputError(
            args.data,
            found=f"no labelled object in {len(dataset)} images",
            expected="objects to find: nothing can be measured without",
            action="label them, or name the data that is labelled",
        )
    calibration, images = args.data, _CALIBRATION_IMAGES
    if Precision.INT8 in precisions:
        calibration, images = check_calibration(args, dataset)
    recalls = [f"recall/{label}" for label, count in objects.items() if count]
    int8 = ["int8_share"] if Precision.INT8 in precisions else []
    return Draft(
        id=name,
        weights=_seen_from(args.folder, args.model),
        image_size=detector.image_size,
        evaluation=_seen_from(args.folder, args.data),
        calibration=_seen_from(args.folder, calibration),
        calibration_images=images,
        required=["map50_95", "map50", *recalls, "size_bytes", *int8],
        variants=variants,
    )


def runtimes_for(precision: Precision, names: Sequence[str]) -> list[str]:
    """Return those of the named runtimes that can run a precision.

    A checkpoint runs in FP32 alone; BF16 is arithmetic of some runtimes, which then run nothing else in float.

    Raises:
        UsageError: there is no such runtime, or none of them can.
    """
    from slimgate.flow import Precision
    from slimgate.runtime import get_runtime
    from slimgate.study.spec import BF16_RUNTIMES

    found = [get_runtime(name) for name in dict.fromkeys(names)]
    able = [one.name for one in found if precision is Precision.FP32 or set(one.formats) & {"onnx", "engine"}]
    if precision is not Precision.INT8:
        able = [name for name in able if (name in BF16_RUNTIMES) == (precision is Precision.BF16)]
    if not able:
        raise UsageError(
            f"--runtimes {' '.join(names)}",
            found=f"none of them runs {precision.value}",
            expected="a runtime of exported files, such as onnxruntime",
            action="name another runtime, or leave that precision out of --precisions",
        )
    return able


def check_calibration(args: argparse.Namespace, evaluated: Dataset) -> tuple[str, int]:
    """Return what INT8 is calibrated on, and how many of its images; found usable.

    Raises:
        InputError: there is none, it cannot be read, or evaluated images are among them.
    """
    from slimgate.data import calibration_list, load_dataset

    source = args.calibration or _train_split(args.data)
    try:
        dataset = load_dataset(source)
    except SlimgateError as error:
        if args.calibration:
            raise
        raise InputError(
            args.data,
            found=f"no train images to calibrate INT8 on ({error.subject}: {error.found})",
            expected="a data.yaml with usable train images, or --calibration",
            action="name training images with --calibration, or leave INT8 out: --precisions fp32 fp16",
        ) from None
    count = min(len(dataset), _CALIBRATION_IMAGES)
    calibration_list(dataset, count=count, evaluated=evaluated)
    _say(f"calibration  {source}: {count} images, none of them evaluated")
    return source, count


def count_objects(dataset: Dataset) -> Mapping[str, int]:
    """Return how many labelled objects of each class there are to be found."""
    counts = dict.fromkeys(dataset.class_names, 0)
    for sample in dataset.samples:
        for label in sample.classes[~sample.crowd]:
            counts[dataset.class_names[label]] += 1
    return counts


def print_next(folder: Path, study: Path, configured: Path | None) -> None:
    """Print the commands that lead from here to a green gate."""
    if configured is not None:
        value = os.path.relpath(study.resolve(), configured.parent)
        shown = f'"{value}"' if configured.suffix == ".toml" else value
        _say(f"\nadd to pytest's settings in {os.path.relpath(configured)}:\n  slimgate_study = {shown}")
    _say("\nnext:")
    if folder.resolve() != Path.cwd():
        _say(f"  cd {folder}")
    _say("  printf 'runs/\\n.slimgate/\\n' >> .gitignore          # runs are not for the repository")
    _say("  git add . && git commit -m 'Set up the gate'      # records name the commit they come from")
    _say(
        f"  slimgate study {study.name} --out runs/first      # red: there are no floors yet; look at the report"
    )
    _say("  slimgate accept runs/first                        # writes the records, prints floors to paste")
    _say("  pytest                                            # green when the pasted floors hold")


def _describe(detector: Detector, dataset: Dataset, objects: Mapping[str, int]) -> None:
    from slimgate.model import count_parameters

    size = count_parameters(detector.module).total
    _say(
        f"model        {detector.source}: {detector.family.value}, {len(detector.class_names)} classes, "
        f"{detector.image_size} px, {size:,} parameters"
    )
    listed = ", ".join(f"{count} {label}" for label, count in objects.items())
    _say(f"data         {dataset.name}: {len(dataset)} images, {listed}")


def _train_split(data: str) -> str:
    if data.startswith("codes:"):
        return "codes:calib"
    path = Path(data)
    return f"{path / 'data.yaml' if path.is_dir() else path}:train"


def _seen_from(folder: Path, source: str) -> str:
    """Return a source as a file in a folder names it: paths are relative to that file."""
    from slimgate.study.spec import is_named

    if is_named(source) or Path(source).is_absolute():
        return source
    return Path(os.path.relpath(Path(source).resolve(), folder.resolve())).as_posix()


def _module_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
