"""``slimgate search``: which widths, depths and activation to spend a budget on."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimgate.cli.progress import show_step
from slimgate.cli.search_clock import add_clock_options, calibration_of, check_clock, name_clock, open_clock

if TYPE_CHECKING:
    from slimgate.compress.candidates import Candidate
    from slimgate.data import Dataset
    from slimgate.flow import Detector

_EPILOG = """\
Each candidate is MODEL after drop-levels, shallow, slim by Taylor importance per FLOP and swap-activation, trained for
a moment with MODEL as its teacher, and scored by mAP50-95 on training pictures that it was not trained on: neither
the validation nor the test split is looked at. What is searched is where channels stay, how many blocks and detection
levels, and the activation. Score and cost of every candidate are in OUT/search.json, those on the Pareto front have
their checkpoints in OUT, and a study shows the front in its report with [search] file = "OUT/search.json".

With --budget-of latency each candidate is slimmed until it is as fast as it is to be, measured in pairs against MODEL;
one that is too slow all the same is not trained. With --precision int8 candidates are timed in INT8 against MODEL in
FP32: that is where an activation swap pays.

OUT/journal.log is Optuna's journal: the same command in another process, or on another machine with the same folder
and another --seed, shares the search; run again, it goes on. A winner is worth a real training.

examples:
  slimgate search codes.safetensors --budget 0.3 --trials 30 --out search
  slimgate search codes.safetensors --budget 0.3 --trials 30 --out search --seed 1     # beside it
  slimgate search codes.safetensors --budget 0.3 --cost latency --runtime openvino --out search-openvino
  slimgate search codes.safetensors --budget 0.2 --budget-of latency --cost latency --precision int8 \\
      --runtime openvino --activations silu,relu --out search-int8
  slimgate compress search/candidate-12.safetensors --op finetune:30,teacher=codes.safetensors -o codes-found
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "search",
        help="search widths, depths and activation under a budget",
        description="Search the architecture of a slimmer detector, and keep the Pareto front.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="slimgate checkpoint (.safetensors) to slim; the teacher too",
    )
    add_clock_options(parser)
    parser.add_argument(
        "--trials", type=int, default=20, metavar="N", help="candidates in all (default: %(default)s)"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="folder of the journal and the results"
    )
    parser.add_argument(
        "--activations",
        default="",
        metavar="NAMES",
        help="such as silu,relu: searched too (default: MODEL's own)",
    )
    parser.add_argument(
        "--data", default="codes", help="codes, or a YOLO data.yaml with train and val (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=640,
        metavar="N",
        help="training pictures of a candidate (default: %(default)s)",
    )
    parser.add_argument(
        "--score-images",
        type=int,
        default=256,
        metavar="N",
        help="training pictures after those, to score on (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=1,
        metavar="N",
        help="of a candidate's training (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, write the results and print the front; returns 0."""
    from slimgate.compress import OPERATIONS, Workspace
    from slimgate.compress.candidates import FORMAT, pareto_front
    from slimgate.compress.search import run_search
    from slimgate.compress.search_space import search_space
    from slimgate.compress.train import refuse_anchors
    from slimgate.data.fetch import find_model
    from slimgate.model import load_detector, save_checkpoint

    _check_numbers(args)
    args.model = find_model(args.model)
    check_clock(args)
    detector = load_detector(args.model)
    refuse_anchors(detector, "search")
    activations = [name.strip() for name in args.activations.split(",") if name.strip()]
    space = search_space(detector, budget=args.budget, budget_of=args.budget_of, activations=activations)
    pictures, held_out = _pictures(args.data, args.images, args.score_images)
    _check_classes(detector, held_out)
    settings = {
        "weights_sha256": detector.weights_sha256,
        "train_sha256": pictures.sha256,
        "score_sha256": held_out.sha256,
        "score_images": len(held_out),
        "images": args.images,
        "epochs": args.epochs,
        "cost": "flops" if args.cost == "flops" else name_clock(args),
        **({"budget_of": name_clock(args)} if args.budget_of == "latency" else {}),
        **({"calibration_sha256": calibration_of(pictures).sha256} if args.precision == "int8" else {}),
    }
    training = [
        f"finetune:{args.epochs},teacher={args.model},data={args.data},images={args.images},"
        f"val_images={min(16, args.images)},plain_epochs=0,average=0.99"
    ]
    with open_clock(args, detector, pictures) as (cost, latency):
        args.out.mkdir(parents=True, exist_ok=True)
        candidates = run_search(
            detector,
            space,
            OPERATIONS,
            trials=args.trials,
            journal=args.out / "journal.log",
            training=training,
            workspace=Workspace(run=args.out / "runs", step=show_step),
            score=lambda made: _score(made, held_out),
            cost=cost,
            settings=settings,
            slim_settings=f"data={args.data},images={args.images}"
            + (f",runtime={args.runtime}" if args.budget_of == "latency" else ""),
            seed=args.seed,
            latency=latency if args.budget_of == "latency" else None,
            keep=lambda number, made: _keep(save_checkpoint, made, _checkpoint(args.out, number)),
            progress=_show,
        )
    front = pareto_front(candidates)
    _remove_beaten(args.out, candidates, front)
    result = {
        "format": FORMAT,
        "detector": detector.name,
        **settings,
        "space": dataclasses.asdict(space),
        "candidates": [one.to_json() for one in candidates],
        "front": [one.number for one in front],
    }
    unfinished = args.out / ".search.json.unfinished"
    unfinished.write_text(json.dumps(result, indent=1), encoding="utf-8")
    unfinished.replace(args.out / "search.json")
    _print_front(front, args.out, settings["cost"])
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    from slimgate.errors import UsageError

    for name in ("trials", "images", "score_images", "epochs"):
        value = getattr(args, name)
        if value < 1:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                option, found=str(value), expected="at least 1", action=f"write {option} 1 or more"
            )


def _check_classes(detector: Detector, pictures: Dataset) -> None:
    from slimgate.data import check_class_names

    check_class_names(detector.class_names, pictures)


def _pictures(source: str, images: int, score_images: int) -> tuple[Dataset, Dataset]:
    """Return the pictures that candidates are trained on, and those after them."""
    from slimgate.compress.taylor import labelled_pictures
    from slimgate.data import Dataset

    every = labelled_pictures(source, images + score_images)
    held_out = Dataset.from_samples(
        every.samples[images:],
        name=f"{every.name}, {score_images} held out",
        class_names=every.class_names,
        category_ids=every.category_ids,
    )
    return every.head(images), held_out


def _score(detector: Detector, pictures: Dataset) -> float:
    """Return mAP50-95 in torch."""
    import tempfile

    from slimgate.detect import Protocol
    from slimgate.measure import evaluate_runner
    from slimgate.model import save_checkpoint
    from slimgate.runtime import open_model

    with tempfile.TemporaryDirectory() as folder:
        opened = open_model(str(save_checkpoint(detector, Path(folder) / "candidate")), runtime="torch")
        with opened.runner as runner:
            evaluation = evaluate_runner(runner, pictures, Protocol(image_size=opened.image_size), batch=16)
    return float(evaluation.coco.numbers["AP"] or 0.0)


def _keep(save: Callable[..., Any], made: Detector, path: Path) -> None:
    save(dataclasses.replace(made, name=path.stem), path)


def _checkpoint(out: Path, number: int) -> Path:
    return out / f"candidate-{number}.safetensors"


def _remove_beaten(out: Path, candidates: Sequence[Candidate], front: Sequence[Candidate]) -> None:
    stay = {one.number for one in front}
    for one in candidates:
        if one.number not in stay:
            for path in (_checkpoint(out, one.number), _checkpoint(out, one.number).with_suffix(".json")):
                path.unlink(missing_ok=True)


def _show(one: Candidate) -> None:
    from rich.console import Console

    if one.score is None or one.cost is None or one.flops is None:
        text = f"candidate {one.number}: {one.reason}"
    else:
        text = f"candidate {one.number}: mAP50-95 {one.score:.4f}, cost {one.cost:.3f}, FLOPs {one.flops:.3f}"
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


def _print_front(front: Sequence[Candidate], out: Path, cost: object) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="Pareto front")
    for column in ("candidate", f"cost ({cost})", "FLOPs", "mAP50-95, held out", "operations"):
        table.add_column(column, justify="left" if column == "operations" else "right")
    for one in front:
        table.add_row(
            str(one.number),
            f"{one.cost:.3f}",
            f"{one.flops:.3f}",
            f"{one.score:.4f}",
            " → ".join(text for text in one.operations if not text.startswith("finetune")),
        )
    console.print(table if front else "No candidate could be made: raise the budget.")
    console.print(f"wrote {out / 'search.json'}", soft_wrap=True, markup=False)
