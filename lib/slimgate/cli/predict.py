"""``slimgate predict``: what a model sees on pictures, how long each stage takes, and the annotated pictures."""

from __future__ import annotations

import argparse
import glob
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.cli.outputs import require_folder_place

if TYPE_CHECKING:
    from slimgate.measure import Prediction

_EPILOG = """\
examples:
  slimgate predict best.pt photo.jpg                   one line per image, then the mean
  slimgate predict best.onnx photos/ 'more/*.png'      folders and patterns
  slimgate predict fetch:yolov5n.pt bus.jpg --imgsz 640 --conf .25 --iou .45 --out annotated

Times are per image, without reading the file; the model is warmed up before the first image.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "predict",
        help="detect on pictures: counts, times and annotated copies",
        description="Run a model on pictures: print what it finds and how long it takes, save copies.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint (.safetensors, .pt), .onnx or .engine")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files, folders or quoted patterns")
    parser.add_argument(
        "--conf", type=float, default=0.25, help="scores must exceed this (default: %(default)s)"
    )
    parser.add_argument(
        "--iou", type=float, help="overlap above which NMS suppresses (default: .45, or the file's own NMS)"
    )
    parser.add_argument(
        "--imgsz", type=int, metavar="PX", help="longer side of the input (default: the model's own)"
    )
    parser.add_argument(
        "--square",
        action="store_true",
        help="square input, as every fixed-size file gets and as val and study judge; else a checkpoint gets the "
        "smallest rectangle, as YOLOv5 and ultralytics predict",
    )
    parser.add_argument("--runtime", metavar="NAME", help="what runs the model (default: by its format)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="where annotated pictures go (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predict, print and draw; 0 when every picture could be read."""
    from rich.console import Console
    from rich.progress import Progress

    from slimgate.data import inspect_image, read_image
    from slimgate.detect import Protocol
    from slimgate.measure import iterate_predictions, warm_up
    from slimgate.report.pictures import draw_detections
    from slimgate.runtime import open_model

    paths = find_images(args.images)
    # All of them before the first is written: one bad picture would leave a folder of some of the results.
    for path in paths:
        inspect_image(path)
    opened = open_model(args.model, runtime=args.runtime, image_size=args.imgsz)
    baked = opened.runner.nms
    iou = args.iou if args.iou is not None else baked.iou if baked else 0.45
    max_det = min(300, baked.max_det) if baked else 300
    protocol = Protocol(
        image_size=opened.image_size, conf=args.conf, iou=iou, max_det=max_det, multi_label=False
    )
    require_folder_place("--out", args.out)
    copies = name_copies(paths, args.out)
    console = Console(stderr=True)
    # A terminal shows lines above the bar; into a pipe they must go as they are.
    on_terminal = sys.stdout.isatty() and console.is_terminal
    bars = Progress(console=console, transient=True) if on_terminal and len(paths) > 1 else None
    done: list[Prediction] = []
    with opened.runner as runner, bars or nullcontext():
        warm_up(runner, protocol)
        task = bars.add_task("predicting", total=len(paths)) if bars else None
        stride = 0 if args.square else runner.rectangle_stride
        predictions = iterate_predictions(runner, paths, [protocol], rectangle_stride=stride)
        for prediction, copy in zip(predictions, copies, strict=True):
            found = prediction.detections[0]
            picture = draw_detections(
                read_image(prediction.path), found.boxes, found.scores, found.classes, opened.class_names
            )
            save_picture(picture, copy)
            sys.stdout.write(describe_prediction(prediction, opened.class_names) + "\n")
            done.append(prediction)
            if bars and task is not None:
                bars.advance(task)
    sys.stdout.write(f"{describe_mean(done)}\nannotated pictures: {args.out}\n")
    return 0


def find_images(given: Sequence[str]) -> list[Path]:
    """Return the image files that files, folders and patterns stand for, each once, in the order given.

    Raises:
        InputError: a path is not there, or a folder or pattern holds no images.
    """
    from slimgate.data import list_images
    from slimgate.errors import InputError

    paths: dict[Path, None] = {}
    for text in given:
        path = Path(text)
        if path.is_file():
            chosen = [path]
        elif path.is_dir():
            chosen = list_images(path)
        else:
            matches = glob.glob(text, recursive=True)  # noqa: PTH207 - patterns may be absolute
            chosen = [Path(match) for match in sorted(matches) if Path(match).is_file()]
        if not chosen:
            kind = "no images in this folder" if path.is_dir() else "no such file, folder or pattern"
            raise InputError(
                text, found=kind, expected="image files, or a folder of them", action="check the path"
            )
        paths |= dict.fromkeys(chosen)
    return list(paths)


def name_copies(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return a file name below ``folder`` for each picture, no two the same, none an input file."""
    taken = {path.resolve() for path in paths}
    names = []
    for path in paths:
        copy = folder / f"{path.stem}.jpg"
        number = 2
        while copy.resolve() in taken:
            copy = folder / f"{path.stem}-{number}.jpg"
            number += 1
        taken.add(copy.resolve())
        names.append(copy)
    return names


def save_picture(picture: Any, path: Path) -> None:
    """Write an RGB array ``(h, w, 3)`` as JPEG, whole or not at all."""
    from PIL import Image

    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        Image.fromarray(picture).save(unfinished, format="JPEG", quality=92)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def describe_prediction(prediction: Prediction, class_names: Sequence[str]) -> str:
    """Return one line: name, size, counts per class, milliseconds per stage."""
    counts = Counter(class_names[label] for label in prediction.detections[0].classes.tolist())
    found = ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing"
    size = f"{prediction.width}×{prediction.height}"
    times = _describe_times(prediction.preprocess_s, prediction.inference_s, prediction.nms_s)
    return f"{prediction.path.name} {size}: {found}; {times}"


def describe_mean(predictions: Sequence[Prediction]) -> str:
    """Return one line with the mean milliseconds per stage and the number of detections."""
    count = len(predictions)
    means = (
        sum(getattr(prediction, name) for prediction in predictions) / count
        for name in ("preprocess_s", "inference_s", "nms_s")
    )
    total = sum(len(prediction.detections[0]) for prediction in predictions)
    return f"mean of {count} images: {total / count:.1f} detections; {_describe_times(*means)}"


def _describe_times(preprocess_s: float, inference_s: float, nms_s: float) -> str:
    return (
        f"pre-process {preprocess_s * 1e3:.1f} ms, inference {inference_s * 1e3:.1f} ms, "
        f"NMS {nms_s * 1e3:.2f} ms"
    )
