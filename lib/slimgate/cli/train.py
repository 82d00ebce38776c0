"""``slimgate train``: trains a detector on the built-in codes set or on YOLO folders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

_EPILOG = """\
examples:
  slimgate train --run runs/codes --init yolov5n.pt --init-sha256 4f180cf2... --epochs 12
  slimgate train --run runs/codes --resume
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a detector on the built-in codes set",
        description="Train a detector on the built-in codes set; every epoch is kept, and a killed run resumes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run", dest="run_folder", type=Path, required=True, metavar="DIR", help="folder of the run"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in DIR from its last whole epoch"
    )
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="detector file whose matching tensors to start from"
    )
    parser.add_argument(
        "--init-sha256", metavar="HEX", help="what the file must hash to, or the beginning of it"
    )
    parser.add_argument(
        "--architecture", default="yolov5n", help="a name that slimgate or ultralytics ships, or a yaml file"
    )
    parser.add_argument("--image-size", type=int, default=320, metavar="PIXELS", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=16, help="default: %(default)s")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=0.001,
        metavar="RATE",
        help="at its highest (default: %(default)s)",
    )
    parser.add_argument("--count", type=int, metavar="N", help="only the first N training pictures")
    parser.add_argument("--val-count", type=int, metavar="N", help="only the first N validation pictures")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--fp32", action="store_true", help="train in float32 instead of bfloat16")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the best epoch here as float16"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, print one line per epoch, write the checkpoint."""
    from slimgate.compress.train import TrainSettings, train_detector
    from slimgate.data.codes import CLASS_NAMES, materialise_split
    from slimgate.model import save_checkpoint

    init = _checked_init(args.init, args.init_sha256)
    train = materialise_split("train", count=args.count, progress=_show)
    val = materialise_split("val", count=args.val_count, progress=_show)
    detector = train_detector(
        train,
        val,
        args.run_folder,
        class_names=CLASS_NAMES,
        settings=TrainSettings(
            architecture=args.architecture,
            image_size=args.image_size,
            epochs=args.epochs,
            batch=args.batch,
            learning_rate=args.learning_rate,
            seed=args.seed,
            half=not args.fp32,
        ),
        name=f"codes-{Path(args.architecture).name.removesuffix('.yaml')}",
        init=init,
        data={"train": _facts(train), "val": _facts(val)},
        resume=args.resume,
        progress=_print_epoch,
        step=_print_step,
    )
    if args.output is not None:
        save_checkpoint(detector, args.output, storage="float16")
        sys.stdout.write(f"wrote {args.output}\n")
    return 0


def _facts(folder: Path) -> dict[str, str | int]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "set": f"codes:{manifest['split']}",
        "digest": manifest["digest"],
        "seed": manifest["seed"],
        "images": len(manifest["images"]),
    }


def _checked_init(path: Path | None, expected: str | None) -> Path | None:
    from slimgate.compress.train import check_init

    return None if path is None else check_init(path, expected)


def _show(done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        sys.stderr.write(f"\rdrawing pictures {done}/{total}" + ("\n" if done == total else ""))


def _print_step(epoch: int, done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        sys.stderr.write(f"\repoch {epoch}: {done}/{total}" + ("\n" if done == total else ""))
        sys.stderr.flush()


def _print_epoch(row: Mapping[str, float]) -> None:
    sys.stdout.write(
        f"epoch {row['epoch']:.0f}: mAP50 {row['map50']:.4f}  mAP50-95 {row['map50_95']:.4f}  "
        f"box {row['box_loss']:.3f}  class {row['class_loss']:.3f}  {row['seconds']:.0f} s\n"
    )
    sys.stdout.flush()
