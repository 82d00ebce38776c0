"""The part of ``slimgate export`` that builds engines: its options, and from options to a build."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimgate.artifact import EngineOptions, Profile
    from slimgate.flow import Artifact

_KINDS = ("tensorrt", "tensorrt-rtx")
_HARDWARE = (
    "none",
    "ampere+",
    "same-compute-capability",
)  # of slimgate.artifact.engine_options, not loaded here
_MEBIBYTE = 1 << 20


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that only ``--format engine`` has."""
    group = parser.add_argument_group("engines", "only with --format engine; docs/engines.md says more")
    group.add_argument("--kind", choices=_KINDS, help="what builds the engine (default: what is installed)")
    group.add_argument(
        "--compute-capability",
        metavar="X.Y",
        help="GPU generation, such as 8.6; tensorrt-rtx also takes several: 8.6,8.9",
    )
    group.add_argument(
        "--profile",
        action="append",
        metavar="MIN:OPT:MAX",
        help="batch sizes of one optimisation profile, instead of --batch; may be given several times",
    )
    group.add_argument(
        "--workspace", type=int, metavar="MIB", help="most scratch memory (default: all there is)"
    )
    group.add_argument(
        "--optimization-level",
        type=int,
        metavar="0-5",
        help="how long tensorrt looks for kernels (default: 3, TensorRT's own)",
    )
    group.add_argument(
        "--version-compatible",
        action="store_true",
        help="tensorrt: also runs on later versions, somewhat slower",
    )
    group.add_argument(
        "--hardware-compatibility", choices=_HARDWARE, default="none", help="tensorrt: other GPUs it runs on"
    )
    group.add_argument(
        "--timing-cache",
        type=Path,
        metavar="FILE",
        help="tensorrt: kernel timings, read when FILE is there and else written",
    )
    group.add_argument(
        "--timing-cache-sha256",
        default="",
        metavar="SHA256",
        help="what FILE must hash to; then nothing is timed anew",
    )


def refuse_engine_arguments(args: argparse.Namespace) -> None:
    """Refuse, by name, an option of engines where no engine is built.

    Raises:
        UsageError: the first such option.
    """
    from slimgate.errors import UsageError

    given = {
        "--kind": args.kind,
        "--compute-capability": args.compute_capability,
        "--profile": args.profile,
        "--workspace": args.workspace,
        "--optimization-level": args.optimization_level,
        "--version-compatible": args.version_compatible,
        "--hardware-compatibility": args.hardware_compatibility != _HARDWARE[0],
        "--timing-cache": args.timing_cache,
        "--timing-cache-sha256": args.timing_cache_sha256,
    }
    for name, value in given.items():
        if value not in (None, False, ""):
            raise UsageError(
                name,
                found=f"--format {args.format} has no such option",
                expected="--format engine",
                action="add --format engine, or leave it out",
            )


def build_from_arguments(args: argparse.Namespace, source: Artifact) -> Artifact:
    """Build the engine that the options ask for, at ``args.out``.

    Raises:
        UsageError: ``--batch`` and ``--profile`` together, or what ``build_engine`` refuses.
        UnavailableError: nothing here can build it.
        InputError: TensorRT refuses it.
    """
    from slimgate.artifact import build_engine

    return build_engine(
        source,
        args.out,
        kind=args.kind or _installed_kind(),
        compute_capability=args.compute_capability,
        batch=_batch(args),
        options=_options(args),
    )


def _batch(args: argparse.Namespace) -> int | tuple[Profile, ...]:
    from slimgate.artifact.profile import profile_from_text
    from slimgate.errors import UsageError

    if not args.profile:
        return 1 if args.batch is None else int(args.batch)
    if args.batch is not None:
        raise UsageError(
            f"--batch {args.batch}",
            found=f"beside --profile {args.profile[0]}",
            expected="one of the two: a batch size, or profiles",
            action="leave --batch out",
        )
    return tuple(profile_from_text(text) for text in args.profile)


def _options(args: argparse.Namespace) -> EngineOptions:
    from slimgate.artifact import EngineOptions

    return EngineOptions(
        workspace_bytes=None if args.workspace is None else args.workspace * _MEBIBYTE,
        optimization_level=args.optimization_level,
        version_compatible=args.version_compatible,
        hardware_compatibility=args.hardware_compatibility,
        timing_cache=args.timing_cache,
        timing_cache_sha256=args.timing_cache_sha256,
    )


def _installed_kind() -> str:
    from slimgate.artifact.trt import why_not_installed
    from slimgate.errors import UnavailableError
    from slimgate.runtime.gpu import why_no_gpu

    installed = [kind for kind in _KINDS if why_not_installed(kind) is None]
    # tensorrt proper builds only where a GPU is.
    usable = [kind for kind in installed if kind != "tensorrt" or why_no_gpu() is None]
    if not usable:
        raise UnavailableError(
            "--format engine",
            found=f"installed: {', '.join(installed) or 'neither tensorrt nor tensorrt-rtx'}; no GPU"
            if why_no_gpu()
            else "neither tensorrt nor tensorrt-rtx is installed",
            expected="tensorrt-rtx, or tensorrt with an NVIDIA GPU",
            action="pip install slimgate[tensorrt-rtx]",
        )
    return usable[0]
