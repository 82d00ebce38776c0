"""``slimgate export``: one file for one target, in a precision that is proven."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from slimgate.cli.export_engine import add_engine_arguments, build_from_arguments, refuse_engine_arguments
from slimgate.cli.int8 import add_int8_options, check_int8_options, observe_ranges, quantize

if TYPE_CHECKING:
    from slimgate.detect import GraphNms
    from slimgate.flow import Artifact

_EPILOG = """\
examples:
  slimgate export best.pt                                      best.onnx, FP32, any batch size
  slimgate export best.pt --precision fp16                     half precision; inputs and outputs stay float32
  slimgate export best.pt --precision fp16 --calib data.yaml   the same, and layers that reach 65504 stay in float32
  slimgate export best.pt --precision int8 --calib data.yaml   INT8 for onnxruntime on x86
  slimgate export best.pt --precision int8 --calib codes:calib --target openvino
  slimgate export best.pt --precision int8 --calib data.yaml --budget 0.002 --labelled data.yaml
  slimgate export best.pt --precision fp16 --format engine --compute-capability 8.6
  slimgate export best.pt --precision int8 --format engine --calib data.yaml
  slimgate export best.pt --nms --nms-conf .25 --nms-iou .45   answers with detections, for predict and for shipping
  slimgate export best.pt --format engine --profile 1:1:1 --profile 32:32:32      tuned for two batch sizes

INT8 is calibrated on training images (512 by default), those that a data.yaml calls train, never on the images it will
be judged on: its val images, or what --evaluated names. The overlap is checked by content. The head stays in float.
Targets of INT8: x86 (onnxruntime), openvino, tensorrt; the same Q/DQ file is not the same network in all of them, so
each gets its own.
--budget returns groups of layers to float until INT8 loses no more mAP than that on labelled training pictures;
--plan-out writes every scale and zero point, and why each float layer stays float. docs/quantization.md has more.

An engine is built by tensorrt or, with no GPU at hand, ahead of time by tensorrt-rtx; it comes with a manifest,
OUT.json, that belongs beside it. The share of convolution arithmetic per precision is printed: that is the proof.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write an ONNX file or a TensorRT engine in FP32, FP16 or INT8",
        description="Export a detector for deployment and say what precision the file is really in.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", type=Path, help="checkpoint (.safetensors, .pt) or FP32 .onnx"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="default: %(default)s"
    )
    parser.add_argument("--format", choices=("onnx", "engine"), default="onnx", help="default: %(default)s")
    parser.add_argument(
        "--target",
        choices=("x86", "openvino", "tensorrt"),
        help="whose INT8 to write (default: x86, and tensorrt for an engine)",
    )
    add_int8_options(parser)
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="fixed batch size, 0: any, for an engine 1 to 32 (default: 0 for onnx, 1 for an engine)",
    )
    parser.add_argument("--imgsz", type=int, metavar="PX", help="side of the square input (default: MODEL's)")
    parser.add_argument(
        "--nms",
        action="store_true",
        help="suppress inside the graph: the output is (n, max_det, 6), box, score and class (not in tensorrt-rtx)",
    )
    parser.add_argument(
        "--nms-conf", type=float, metavar="F", help="scores must exceed this (default: .001, as val asks for)"
    )
    parser.add_argument("--nms-iou", type=float, metavar="F", help="overlap that suppresses (default: .6)")
    parser.add_argument("--nms-max-det", type=int, metavar="N", help="rows per image (default: 300)")
    parser.add_argument(
        "--opset", type=int, metavar="N", help="of ONNX (default: 17, and MODEL's for an .onnx)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="default: beside MODEL, named for it")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and print what was proven; returns 0."""
    from slimgate.data.fetch import find_model

    out = _output_path(args)
    _check_options(args, out)
    args.model = find_model(args.model)
    with tempfile.TemporaryDirectory(prefix="slimgate-export-") as folder:
        artifact = _export(args, out, Path(folder))
    _summarise(artifact)
    return 0


def _output_path(args: argparse.Namespace) -> Path:
    if args.out is not None:
        return Path(args.out)
    # A published model lies in a cache: what is made of it goes to the current folder.
    model = Path(str(args.model).removeprefix("fetch:"))
    parts = [model.stem]
    if args.precision != "fp32":
        parts.append(args.precision)
    if args.precision == "int8" and args.format == "onnx":
        parts.append(args.target or "x86")
    return Path(model.with_name(f"{'-'.join(parts)}.{args.format}"))


def _check_options(args: argparse.Namespace, out: Path) -> None:
    from slimgate.errors import UsageError

    if out.is_dir() or out.suffix != f".{args.format}":
        better = out / f"model.{args.format}" if out.is_dir() else out.with_suffix(f".{args.format}")
        raise UsageError(
            f"--out {out}",
            found="a directory" if out.is_dir() else f"suffix '{out.suffix}'",
            expected=f"a file name that ends in .{args.format}",
            action=f"write -o {better}",
        )
    if out.exists() and not args.force:
        raise UsageError(
            f"--out {out}",
            found="exists already",
            expected="a new name",
            action="choose another name with -o, or add --force to overwrite",
        )
    if args.format != "engine":
        refuse_engine_arguments(args)
    check_int8_options(args, out)
    if args.format == "engine" and args.target not in (None, "tensorrt"):
        raise UsageError(
            f"--target {args.target}",
            found="an engine runs in TensorRT",
            expected="--target tensorrt",
            action="leave --target out",
        )


def _export(args: argparse.Namespace, out: Path, folder: Path) -> Artifact:
    from slimgate.artifact import append_nms, convert_fp16

    settings = _nms_settings(args)
    final = args.format == "onnx"
    raw = final and settings is None
    fp32 = _fp32(args, out if raw and args.precision == "fp32" else folder / "fp32.onnx")
    path = out if raw else folder / f"{args.precision}.onnx"
    artifact = fp32
    if args.precision == "fp16":
        artifact = convert_fp16(fp32, path, maxima=observe_ranges(args, fp32))
    elif args.precision == "int8":
        target = args.target or ("tensorrt" if args.format == "engine" else "x86")
        artifact = quantize(args, fp32, path, target=target)
    if settings is not None:
        artifact = append_nms(artifact, out if final else folder / "nms.onnx", settings)
    if final:
        return artifact
    args.out = out
    return build_from_arguments(args, artifact)


def _nms_settings(args: argparse.Namespace) -> GraphNms | None:
    from slimgate.detect import GraphNms
    from slimgate.errors import UsageError

    given = {
        name: value
        for name in ("conf", "iou", "max_det")
        if (value := getattr(args, f"nms_{name}")) is not None
    }
    if given and not args.nms:
        raise UsageError(
            f"--nms-{next(iter(given)).replace('_', '-')}",
            found="no NMS is asked for",
            expected="--nms beside it",
            action="add --nms, or leave it out",
        )
    return GraphNms(**given) if args.nms else None


def _fp32(args: argparse.Namespace, path: Path) -> Artifact:
    from slimgate.artifact import artifact_from_file, export_onnx
    from slimgate.errors import UsageError
    from slimgate.model import load_detector

    if args.model.suffix.lower() == ".onnx":
        if args.precision == "fp32" and args.format == "onnx" and not args.nms:
            raise UsageError(
                str(args.model),
                found="is ONNX already",
                expected="another precision or format, or NMS",
                action="add --precision fp16 or int8, --nms, or --format engine",
            )
        artifact = artifact_from_file(args.model)
        _refuse_another_graph(args, artifact)
        if "nms" in artifact.facts and args.precision != "fp32":
            raise UsageError(
                str(args.model),
                found="suppresses inside the graph already",
                expected="raw predictions: the precision is changed first, NMS added last",
                action="start from the file without NMS",
            )
        return artifact
    detector = load_detector(args.model, image_size=args.imgsz)
    # An engine's own profile fixes its batch; the graph below it stays free.
    batch = args.batch or 0 if args.format == "onnx" else 0
    return export_onnx(detector, path, batch=batch, opset=17 if args.opset is None else args.opset)


def _refuse_another_graph(args: argparse.Namespace, artifact: Artifact) -> None:
    """Refuse options that would have to change the graph of an ONNX file: it stays as it was exported."""
    from slimgate.artifact.graph import load_onnx, opset_of
    from slimgate.errors import UsageError

    asked = {
        "--imgsz": (args.imgsz, artifact.image_size),
        # An engine's batch is its profile's, and a graph of any batch size has them all.
        "--batch": (args.batch, artifact.batch) if args.format == "onnx" else (None, 0),
        "--opset": (args.opset, opset_of(load_onnx(artifact.path))),
    }
    for option, (given, there) in asked.items():
        if given is not None and given != there:
            raise UsageError(
                f"{option} {given}",
                found=f"{args.model.name} is ONNX already, with {there}",
                expected="a checkpoint, which can be exported with other settings",
                action=f"export the checkpoint that it was made from, or leave {option} out",
            )


def _summarise(artifact: Artifact) -> None:
    from rich.console import Console
    from rich.table import Table

    from slimgate.artifact import compressed_bytes

    table = Table(show_header=False, title=artifact.path.name, title_justify="left")
    table.add_row(
        "size", f"{artifact.size_bytes / 1e6:.2f} MB ({compressed_bytes(artifact.path) / 1e6:.2f} zlib)"
    )
    table.add_row("target", artifact.target)
    profiles = [":".join(str(size) for size in sizes) for sizes in artifact.facts.get("profiles", ())]
    table.add_row("batch", str(artifact.batch or ", ".join(profiles) or "any"))
    shares = ", ".join(f"{name} {share:.1%}" for name, share in sorted(artifact.shares.items()))
    table.add_row("convolution MACs", shares)
    fused = artifact.facts.get("ort_int8_conv_share")
    if fused is not None:
        table.add_row("of them INT8 kernels", f"{fused:.1%} in onnxruntime")
    largest = artifact.facts.get("largest_activation")
    if largest is not None:
        table.add_row("largest activation", f"{largest:.4g} of 65504, on the calibration images")
    if "nms" in artifact.facts:
        table.add_row(
            "NMS inside", ", ".join(f"{key} {value:g}" for key, value in artifact.facts["nms"].items())
        )
    memory = artifact.facts.get("weight_memory_bytes")
    if memory is not None:
        table.add_row("weight memory", f"{memory / 1e6:.2f} MB")
    table.add_row("built in", f"{artifact.build_s:.1f} s")
    table.add_row("steps", ", ".join(step.operation for step in artifact.lineage) or "none")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"wrote {artifact.path}", soft_wrap=True, markup=False)
