"""``slimgate val``: the 12 COCO numbers of a model on a dataset, and what a fixed confidence finds and misses."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.cli.outputs import require_file_place

if TYPE_CHECKING:
    from slimgate.data import Dataset
    from slimgate.detect import Protocol
    from slimgate.measure import Confusion, StageTimes

_EPILOG = """\
examples:
  slimgate val best.pt --data data.yaml                   a YOLO dataset (its val images)
  slimgate val best.onnx --data annotations.json          COCO annotations, images beside them or in images/
  slimgate val fetch:yolov5n.pt --data coco128 --imgsz 320   both fetched, or found where SLIMGATE_DATA points
  slimgate val best.onnx --data codes:val --runtime openvino --json val.json

The 12 lines follow COCO: every class of every candidate above .001, at most 300 detections per image.
-1.000 means that the dataset has no such object. The table below them is what a user of --conf sees; there
each candidate answers for its best class only. miss rate: objects that no detection of their class overlaps
by IoU .5. partial: those misses where the nearest box covers less than 80 % of the object.

A file with NMS inside (export --nms) is judged by what it answers: each candidate's best class, in the 12 lines too.
"""

_COLUMNS = ("class", "objects", "TP", "FP", "FN", "precision", "recall", "F1", "miss rate", "partial")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "val",
        help="the 12 COCO numbers of a model on a dataset, and misses per class",
        description="Evaluate a model on a dataset.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint (.safetensors, .pt), .onnx or .engine")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="COCO .json, YOLO data.yaml, folder with images/ and labels/, coco128, or codes:SPLIT",
    )
    parser.add_argument("--count", type=int, metavar="N", help="only the first N images")
    parser.add_argument(
        "--imgsz", type=int, metavar="PX", help="side of the square input (default: the model's own)"
    )
    parser.add_argument(
        "--conf", type=float, default=0.5, help="confidence of the per-class table (default: %(default)s)"
    )
    parser.add_argument(
        "--iou", type=float, help="overlap above which NMS suppresses (default: .6, or the file's own NMS)"
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="images per network call (default: %(default)s)"
    )
    parser.add_argument("--runtime", metavar="NAME", help="what runs the model (default: by its format)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write every number to this file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print; always 0 when it could be measured."""
    from rich.console import Console
    from rich.progress import Progress

    from slimgate.data import check_class_names, load_dataset
    from slimgate.detect import Protocol
    from slimgate.errors import UsageError
    from slimgate.measure import environment, evaluate_runner
    from slimgate.runtime import open_model

    if args.batch < 1:
        raise UsageError(
            "--batch", found=str(args.batch), expected="at least 1 image", action="use --batch 1 or more"
        )
    if args.json is not None:
        # Before minutes of evaluation, not after: an unwritable place is told at once.
        require_file_place("--json", args.json, example="val.json")
    opened = open_model(args.model, runtime=args.runtime, image_size=args.imgsz)
    baked = opened.runner.nms
    iou = args.iou if args.iou is not None else baked.iou if baked else 0.6
    protocol = Protocol(image_size=opened.image_size, iou=iou, deployed_conf=args.conf)
    if baked is not None:
        protocol = baked.judging(protocol)
    with opened.runner as runner:
        dataset = load_dataset(args.data, count=args.count)
        check_class_names(opened.class_names, dataset)
        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("evaluating", total=len(dataset))
            evaluation = evaluate_runner(
                runner, dataset, protocol, batch=args.batch, progress=lambda count: bars.advance(task, count)
            )
        execution = runner.describe()
    footer = _footer(dataset, protocol, execution, evaluation.stages)
    _write_lines([*evaluation.coco.lines(), "", *_table(evaluation.confusion), "", *footer])
    if args.json is not None:
        _write_json(
            args.json,
            {
                "format": "slimgate-val/1",
                "model": opened.label,
                "class_names": list(opened.class_names),
                "data": {
                    "name": dataset.name,
                    "images": len(dataset),
                    "sha256": dataset.sha256,
                    "notes": dataset.notes,
                },
                "protocol": protocol.to_json(),
                **evaluation.to_json(),
                "execution": execution,
                "environment": environment(),
            },
        )
    return 0


def _table(confusion: Confusion) -> list[str]:
    """Return the per-class table as aligned lines; classes without objects and detections are left out."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    shown = {
        name: counts
        for name, counts in confusion.per_class.items()
        if counts.instances or counts.tp + counts.fp
    }
    for name, counts in {**shown, "all": confusion.overall}.items():
        rates = (counts.precision, counts.recall, counts.f1, counts.miss_rate)
        rows.append(
            (
                name,
                *(str(number) for number in (counts.instances, counts.tp, counts.fp, counts.fn)),
                *("-" if rate is None else f"{rate:.3f}" for rate in rates),
                str(counts.partial),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    title = f"at conf {confusion.conf:g}, IoU {confusion.iou:g}:"
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs)
        )
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return [title, *lines]


def _footer(
    dataset: Dataset, protocol: Protocol, execution: Mapping[str, Any], stages: StageTimes
) -> list[str]:
    lines = [
        f"{dataset.name}: {len(dataset)} images at {protocol.image_size}, sha256 {dataset.sha256[:12]}",
        f"{execution.get('runtime', '')} ({execution.get('provider', '')}), {protocol.evaluator}; "
        f"median per image: pre-process {stages.preprocess_s * 1e3:.1f} ms, "
        f"inference {stages.inference_s * 1e3:.1f} ms, NMS {stages.nms_s * 1e3:.2f} ms",
    ]
    return [*lines, f"note: {dataset.notes}"] if dataset.notes else lines


def _write_lines(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
