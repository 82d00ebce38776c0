"""``slimgate compress``: change a detector and save it as a new checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.cli.outputs import require_file_place
from slimgate.cli.progress import show_epoch, show_step
from slimgate.errors import SlimgateError

if TYPE_CHECKING:
    from slimgate.flow import Detector

_EPILOG = """\
operations (applied in the order given, each recorded in the new checkpoint's lineage):
  prune:RATIO[,scope=global|layer]   set the smallest weights to zero, RATIO from 0 to 1
                                     global (default): of all weights together
                                     layer: of each layer's own, as YOLOv5's prune(model, amount)
  prune24[:HEAD]                     set two of every four weights along the input channels to zero: the 2:4 pattern
                                     that sparse tensor cores use; HEAD: dense (default) leaves the head's outputs
  deconv[:KERNEL]                    replace nearest-neighbour upsampling by transposed convolutions with equal
                                     outputs; KERNEL: 2 (default; 2 x 2) or 4 (4 x 4, padding 1), both of stride 2
  sparsify:STRENGTH[,epochs=10][,ramp=0.3][,...]
                                     train with a pull of batch norms' scales to zero: do this before slim.
                                     STRENGTH 0.1 to 1 is the pull per step, relative to the learning rate
  drop-levels:LEVELS                 remove the coarsest detection levels and every layer of their strides: where
                                     objects are small or few pixels are needed, they find nothing and cost as much
  shallow:BLOCKS                     keep at most so many blocks in every stage that repeats them; finetune follows
  slim:RATIO[,flops=SHARE][,parameters=SHARE][,scope=global|layer][,importance=gamma|taylor|l1|l2|fpgm|random]
                                     remove whole channels by coupled group: RATIO of them, or as few as leave a
                                     share of the FLOPs or parameters, or bring the latency at batch 1, measured
                                     here, to a share: [,latency=SHARE][,runtime=onnxruntime|openvino|...].
                                     taylor: what the loss on training pictures would change by [,data=codes]
                                     [,images=640]; gamma: after sparsify
                                     [,per=channel|flops] rank by importance, or by importance per FLOP;
                                     [,favour=4:0.5/16:2/head:1.5] times a factor by stride, or for the head
                                     [,multiple=8][,floor=0.125][,head_floor=0.25] widths are rounded up to the
                                     multiple, and layers keep at least their floor.
                                     [,dense_gammas=refuse|accept][,narrow=refuse|keep][,capped=refuse|accept][,seed=0]
  align:MULTIPLE                     pad widths up to a multiple with channels of exact zeros: equal outputs
  rederive:WEIGHTS[,match=kept|first][,seed=0]
                                     the same (slim) architecture with new weights: inherited from the pretrained
                                     detector WEIGHTS, or at random when none is named
  finetune:EPOCHS[,teacher=FILE][,distill=1][,...]
                                     train on from the weights as they are; weights that prune set to zero stay zero.
                                     teacher: learn the outputs of that checkpoint too (same classes, at
                                     least the same strides), such as the detector before slim; distill: its weight
  swap-activation:relu|hardswish|silu
                                     another activation everywhere (relu is what INT8 gains most from): the weights
                                     stay, the accuracy is gone until finetune follows. Setting: activation
  transfer-head:SEED                 a legacy anchor detector's backbone and neck under a new anchor-free head, which
                                     finetune or sparsify then trains; a legacy detector cannot be trained otherwise
  recalibrate[:IMAGES][,data=codes]  batch norms' statistics anew from so many training pictures (640): after slim,
                                     which changes what arrives, and wherever evaluation is far worse than training
settings of operations that train (sparsify, finetune), with their defaults:
  learning_rate=0.001 final_rate=0.02 (sparsify: 0.1) warmup=0.5 batch=16 mosaic=0.25 plain_epochs=3 seed=0
  average=0.9999 (sparsify: 0.999)   highest decay per step of the averaged weights, which are what is kept
  statistics=0 (sparsify: 640)       pictures that batch norms' statistics are computed from after every epoch
  data=codes|DATA.yaml images=0 val_images=0 (0: all) precision=bf16|fp32 workers=1 threads=0 (0: every core)
  keep=map|f1|last                   which epoch goes on: best mAP50-95 (finetune), best F1, last (sparsify)

examples:
  slimgate compress yolov5n.pt --op prune:0.3 -o yolov5n-prune30
  slimgate compress best.pt --op prune:0.5,scope=layer -o out/best-prune50 --half
  slimgate compress codes.safetensors --op prune:0.2 --op prune:0.4 -o codes-prune40 --force
  slimgate compress best.pt --op deconv:2 --op align:16 --op prune24:dense -o best-npu
  slimgate compress codes.safetensors --op sparsify:0.5,epochs=12 -o codes-sparse --run runs/sparse
  slimgate compress codes-sparse.safetensors --op slim:flops=0.18 --op finetune:30 -o codes-slim --run runs/slim
  slimgate compress codes.safetensors --op slim:flops=0.5,importance=taylor,per=flops --op finetune:4 -o codes-half
  slimgate compress codes.safetensors --op drop-levels:1 --op shallow:1 --op finetune:2 -o codes-two-levels
  slimgate compress codes-slim.safetensors --op finetune:30,teacher=codes.safetensors -o codes-taught
  slimgate compress codes-sparse.safetensors --op slim:flops=0.3 --op recalibrate:640 -o codes-slim
  slimgate compress codes.safetensors --op swap-activation:relu --op finetune:12 -o codes-relu
  slimgate compress old-yolov5.pt --op transfer-head:0 --op finetune:12,data=data.yaml -o new
  slimgate compress codes-slim.safetensors --op rederive:codes.safetensors --op finetune:30 -o codes-nas

Writes OUT.safetensors and OUT.json. Training keeps every epoch in the run's folder (--run): stopped with Ctrl-C or
killed, the same command with --resume goes on from the last whole epoch and gives the same weights.
Zeros neither shrink a dense file nor speed up a dense network: they show in the non-zero count and in the size
after compression. Find out what they cost with slimgate val, or slimgate study.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compress",
        help="prune, slim, convert or train a detector and save it as a new checkpoint",
        description="Apply operations to a detector and save the result as a slimgate checkpoint.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", type=Path, help=".safetensors, YOLOv5 .pt or ultralytics .pt"
    )
    parser.add_argument(
        "--op",
        dest="operations",
        metavar="OPERATION",
        action="append",
        required=True,
        help="such as prune:0.3; repeat for several",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        type=Path,
        required=True,
        help="checkpoint to write, with or without suffix",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="side of the network input to record (default: MODEL's)",
    )
    parser.add_argument(
        "--run",
        dest="run_folder",
        type=Path,
        metavar="DIR",
        help="folder that keeps every epoch of operations that train (default: OUT-run)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue what is in that folder, when it was started with the same settings",
    )
    parser.add_argument("--half", action="store_true", help="store the weights as float16, at half the size")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compress and save; returns 0."""
    from rich.console import Console

    from slimgate.compress import Workspace, apply_operations, parse_operation
    from slimgate.data.fetch import find_model
    from slimgate.model import load_detector, save_checkpoint
    from slimgate.study.latency import latency_ratio

    steps = [parse_operation(text) for text in args.operations]
    refuse_overwriting(args.out, force=args.force)
    require_file_place("--out", args.out, example="slim.safetensors")
    console = Console(stderr=True, highlight=False)
    with console.status(f"loading {args.model.name}"):
        before = load_detector(find_model(args.model), image_size=args.image_size)
    workspace = Workspace(
        run=args.run_folder or args.out.with_name(f"{args.out.name.removesuffix('.safetensors')}-run"),
        resume=args.resume,
        progress=show_epoch,
        step=show_step,
        latency=latency_ratio,
    )
    console.print(f"applying {', '.join(args.operations)}", soft_wrap=True, markup=False)
    try:
        after = apply_operations(before, steps, workspace)
    except KeyboardInterrupt:
        raise _stopped(workspace.run) from None
    with console.status(f"writing {args.out.name}"):
        written = save_checkpoint(after, args.out, storage="float16" if args.half else "float32")
    # What is reported is what a user of the file gets, float16 rounding included.
    summarise(before, load_detector(written), written)
    return 0


def _stopped(run_folder: Path | None) -> SlimgateError:
    return SlimgateError(
        "slimgate compress",
        found="interrupted",
        expected="the operations to finish",
        action=f"run the same command with --resume: the whole epochs in {run_folder} are kept"
        if run_folder is not None and run_folder.exists()
        else "run it again",
    )


def refuse_overwriting(out: Path, *, force: bool, option: str = "--out") -> None:
    """Refuse a checkpoint's name that is a directory, or taken and not to be overwritten.

    Raises:
        UsageError: it is; the message names the option that gave it.
    """
    from slimgate.errors import UsageError
    from slimgate.model import checkpoint_paths

    if out.is_dir():
        raise UsageError(
            f"{option} {out}",
            found="a directory",
            expected="the new checkpoint's file name",
            action=f"write {option} {out / 'compressed'}",
        )
    existing = [file.name for file in checkpoint_paths(out) if file.exists()]
    if existing and not force:
        raise UsageError(
            f"{option} {out}",
            found=f"{' and '.join(existing)} exists already",
            expected="a new name",
            action="choose another name, or add --force to overwrite",
        )


def summarise(before: Detector, after: Detector, written: Path) -> None:
    """Print what a checkpoint that was written has in place of the detector it was made from."""
    from rich.console import Console
    from rich.table import Table

    from slimgate.artifact import compressed_bytes
    from slimgate.compress.reached import tell_reached
    from slimgate.model import count_flops, count_parameters

    table = Table(title=f"{before.name} → {written.name}")
    for column in ("", "before", "after"):
        table.add_column(column, justify="right" if column else "left")
    counts = [count_parameters(detector.module) for detector in (before, after)]
    table.add_row("parameters", *(f"{count.total:,}" for count in counts))
    table.add_row("non-zero parameters", *(f"{count.nonzero:,}" for count in counts))
    flops = (count_flops(detector) / 1e9 for detector in (before, after))
    table.add_row(f"GFLOPs at {after.image_size}", *(f"{value:.2f}" for value in flops))
    table.add_row("file, MB", "", f"{written.stat().st_size / 1e6:.2f}")
    table.add_row("file after zlib, MB", "", f"{compressed_bytes(written) / 1e6:.2f}")
    console = Console(highlight=False)
    console.print(table)
    for step in after.lineage[len(before.lineage) :]:
        if told := tell_reached(step):
            console.print(told, soft_wrap=True, markup=False)
    lineage = ", ".join(step.operation for step in after.lineage)
    console.print(f"weights sha256 {after.weights_sha256[:12]}…, lineage: {lineage}")
    console.print(f"wrote {written} and {written.with_suffix('.json').name}", soft_wrap=True, markup=False)
