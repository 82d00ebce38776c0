"""``slimgate train``: trains a detector on the built-in codes set or on YOLO folders."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.cli.compress import refuse_overwriting
from slimgate.cli.outputs import require_file_place
from slimgate.cli.progress import show_drawing, show_epoch, show_step

if TYPE_CHECKING:
    from slimgate.compress.train import Stage, TrainSettings
    from slimgate.flow import Detector, Json

_EPILOG = """\
examples:
  slimgate train --run runs/codes --init fetch:yolov5n.pt --epochs 12
  slimgate train --run runs/codes --resume
  slimgate train --run runs/more --model runs/codes/best.safetensors --epochs 6
  slimgate train --run runs/scratch --model slim.safetensors --scratch --data data.yaml --epochs 50

The run's folder holds, after every epoch, the last one and the best by mAP50-95 and by F1: last.safetensors,
best.safetensors and best-f1.safetensors. A killed run that resumes gives the same weights as one that was not.
Training as a step of compression (sparsify, finetune): slimgate compress --help.
"""


_USUAL: Mapping[str, Any] = {"epochs": 12, "batch": 16, "learning_rate": 0.001, "seed": 0}
_DATA = "codes"
_ARCHITECTURE = "yolov5n"


def _whole(least: int, said: str) -> Callable[[str], int]:
    """Return what reads a whole number; argparse words its complaint after the function's name."""

    def whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of {said} or more")
        return int(text)

    return whole


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0, and 1 at most, such as 0.001")
    return rate


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a detector on the built-in codes set, or on your own pictures",
        description="Train a detector; every epoch is kept, and a killed run resumes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run", dest="run_folder", type=Path, required=True, metavar="DIR", help="folder of the run"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in DIR from its last whole epoch, with its own settings; others are refused",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--architecture",
        help=f"a name that slimgate or ultralytics ships, or a yaml file (default: {_ARCHITECTURE})",
    )
    what.add_argument("--model", type=Path, metavar="FILE", help="train this detector, from its own weights")
    parser.add_argument("--scratch", action="store_true", help="with --model: from random weights instead")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="detector file whose matching tensors to start from"
    )
    parser.add_argument(
        "--init-sha256", metavar="HEX", help="what the file must hash to, or the beginning of it"
    )
    parser.add_argument(
        "--data", metavar="DATA", help=f"codes, or a YOLO data.yaml with train and val (default: {_DATA})"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="default: the model's, or 320 for an architecture"
    )
    # None where they are not given, so that --resume can tell what was asked for from what is usual.
    parser.add_argument("--epochs", type=_whole(1, "1"), metavar="N", help=f"default: {_USUAL['epochs']}")
    parser.add_argument("--batch", type=_whole(1, "1"), metavar="N", help=f"default: {_USUAL['batch']}")
    parser.add_argument(
        "--learning-rate",
        type=_rate,
        metavar="RATE",
        help=f"at its highest (default: {_USUAL['learning_rate']})",
    )
    parser.add_argument(
        "--count", type=_whole(0, "0 (all)"), metavar="N", help="only the first N training pictures"
    )
    parser.add_argument(
        "--val-count", type=_whole(0, "0 (all)"), metavar="N", help="only the first N validation pictures"
    )
    parser.add_argument("--seed", type=_whole(0, "0"), metavar="N", help=f"default: {_USUAL['seed']}")
    parser.add_argument("--fp32", action="store_true", help="train in float32 instead of bfloat16")
    parser.add_argument(
        "--keep",
        choices=("map", "f1", "last"),
        default="map",
        help="which epoch to write: best mAP50-95, best F1, or the last (default: %(default)s)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write that epoch here as float16")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, print one line per epoch, write the checkpoint."""
    from slimgate.compress.train import train_detector
    from slimgate.compress.training_data import read_training_data
    from slimgate.errors import UsageError
    from slimgate.model import save_checkpoint

    if args.scratch and args.model is None:
        raise UsageError(
            "--scratch",
            found="no --model beside it",
            expected="--model FILE, whose architecture is trained from random weights",
            action="add --model FILE, or leave --scratch out: --architecture starts from random weights anyway",
        )
    if args.init_sha256 is not None and args.init is None:
        raise UsageError(
            "--init-sha256",
            found="no --init beside it",
            expected="--init FILE, whose hash it is",
            action="add --init FILE, or leave --init-sha256 out",
        )
    if args.output is not None:
        refuse_overwriting(args.output, force=args.force, option="--output")
        require_file_place("--output", args.output, example="trained.safetensors")
    if args.resume:
        detector, settings, stage, (source, count, val_count) = _from_run(args)
    else:
        args.data = args.data or _DATA
        source, count, val_count = args.data, args.count or 0, args.val_count or 0
        detector, settings, stage = None, _settings(args), None
    data = read_training_data(source, count=count, val_count=val_count, progress=show_drawing)
    if detector is None:
        detector, stage = _start(args, data.class_names)
    trained = train_detector(
        detector,
        data,
        args.run_folder,
        settings=settings,
        stage=stage,
        resume=args.resume,
        progress=partial(show_epoch, ""),
        step=partial(show_step, ""),
    )
    kept = trained.by_policy[args.keep]
    if args.output is not None:
        save_checkpoint(kept, args.output, storage="float16")
        sys.stdout.write(f"wrote {args.output}\n")
    return 0


def _settings(args: argparse.Namespace) -> TrainSettings:
    from slimgate.compress.train import TrainSettings

    given = {name: getattr(args, name) for name in _USUAL if getattr(args, name) is not None}
    return TrainSettings(**{**_USUAL, **given}, half=not args.fp32)


def _start(args: argparse.Namespace, class_names: tuple[str, ...]) -> tuple[Detector, Stage]:
    """Return the detector to train and what the record says of where it came from."""
    import dataclasses

    from slimgate.compress.start import check_init, fresh_detector, inherit_tensors
    from slimgate.compress.train import Stage
    from slimgate.data.fetch import find_model
    from slimgate.model import architecture_from_name, load_detector

    if args.model is None:
        architecture = args.architecture or _ARCHITECTURE
        detector = fresh_detector(
            architecture_from_name(architecture, class_count=len(class_names)),
            class_names=class_names,
            image_size=320 if args.image_size is None else args.image_size,
            name=f"{_name_of(args.data or _DATA)}-{Path(architecture).stem}",
            seed=args.seed or _USUAL["seed"],
        )
    else:
        args.model = find_model(args.model)
        detector = load_detector(args.model, image_size=args.image_size)
        if args.scratch:
            fresh = fresh_detector(
                detector.architecture,
                class_names=detector.class_names,
                image_size=detector.image_size,
                name=detector.name,
                seed=args.seed or _USUAL["seed"],
            )
            detector = dataclasses.replace(fresh, lineage=detector.lineage)
    notes: dict[str, Json] = {
        "init_sha256": None if args.model is None or args.scratch else _sha256(args.model)
    }
    if args.init is not None:
        args.init = find_model(args.init)
        check_init(args.init, args.init_sha256)
        detector, taken = inherit_tensors(detector, load_detector(args.init))
        total = len(detector.module.state_dict())
        notes = {"init_sha256": _sha256(args.init), "init_tensors": taken, "tensors": total}
    return detector, Stage(notes=notes)


def _name_of(data: str) -> str:
    return data if data == _DATA else Path(data).parent.name


def _from_run(
    args: argparse.Namespace,
) -> tuple[Detector, TrainSettings, Stage, tuple[str, int, int]]:
    """Return what a run was started with, which is all that it may be asked for again."""
    from slimgate.compress.train import Stage, TrainSettings
    from slimgate.compress.training_request import read_run
    from slimgate.compress.training_run import START
    from slimgate.errors import UsageError, name_offenders
    from slimgate.model import load_detector

    folder = args.run_folder
    found = read_run(folder)
    if found["operation"] != "train":
        raise UsageError(
            str(folder),
            found=f"a run of the operation '{found['operation']}'",
            expected="a run that slimgate train started",
            action="repeat the slimgate compress that started it, with --resume",
        )
    counts = (found["data"]["train"]["images"], found["data"]["val"]["images"])
    detector = load_detector(folder / START)
    differing = [
        f"{option} {asked}, the run has {there}"
        for option, asked, there in _asked_again(args, found)
        if asked not in (None, there)
    ]
    if args.architecture is not None and not _is_architecture(args.architecture, detector):
        differing.append(f"--architecture {args.architecture}, the run has another")
    if differing:
        raise UsageError(
            f"--resume {folder}",
            found=name_offenders(differing),
            expected="the settings that the run was started with, or none",
            action="leave these options out, or start another run with another --run",
        )
    stage = Stage(notes={k: v for k, v in found["start"].items() if k not in ("init", "init_weights_sha256")})
    return detector, TrainSettings(**found["settings"]), stage, (found["source"], *counts)


def _asked_again(args: argparse.Namespace, found: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yield each option, what it asks for beside --resume, None where it was not given, and what the run has."""
    from slimgate.data.fetch import find_model

    for name in _USUAL:
        yield f"--{name.replace('_', '-')}", getattr(args, name), found["settings"][name]
    yield "--image-size", args.image_size, found["image_size"]
    # A count of 0 means all pictures; how many those were is in the run.
    yield "--count", args.count or None, found["data"]["train"]["images"]
    yield "--val-count", args.val_count or None, found["data"]["val"]["images"]
    if args.data is not None and Path(args.data).resolve() != Path(found["source"]).resolve():
        yield "--data", args.data, found["source"]
    if args.fp32:
        yield "--fp32", "float32", "bfloat16" if found["settings"]["half"] else "float32"
    start = args.init or args.model
    if start is not None and not args.scratch:
        there = found["start"].get("init_sha256")
        yield "--init" if args.init else "--model", _sha256(find_model(start)), there


def _is_architecture(name: str, detector: Detector) -> bool:
    """Return whether a detector is of the architecture that a name or a yaml file stands for."""
    from slimgate.model import architecture_from_name

    asked = architecture_from_name(name, class_count=len(detector.class_names))
    asked = json.loads(json.dumps({**asked, "nc": len(detector.class_names)}))
    return bool(asked == json.loads(json.dumps(dict(detector.architecture))))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
