"""What a training starts from: random weights, another detector's tensors, a file that is what it should be."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from slimgate.errors import InputError
from slimgate.flow import Detector, Family, Json
from slimgate.model import build_module, hash_weights, strides_of
from slimgate.model.head import head_of
from slimgate.model.load import resize_detector


def fresh_detector(
    architecture: Mapping[str, Json],
    *,
    class_names: Sequence[str],
    image_size: int,
    name: str,
    seed: int,
) -> Detector:
    """Return an untrained detector of the ultralytics family; the same seed gives the same weights.

    Raises:
        InputError: the architecture cannot be built.
        UsageError: the image size is not a multiple of its stride.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_module(architecture, family=Family.ULTRALYTICS, class_count=len(class_names))
        # Widths may have replaced the output convolutions, and with them the rare-object prior of their biases.
        module.model[-1].bias_init()  # type: ignore[union-attr,index]
    stride = max(strides_of(module))
    detector = Detector(
        name=name,
        family=Family.ULTRALYTICS,
        class_names=tuple(class_names),
        image_size=stride,
        stride=stride,
        architecture=dict(architecture) | {"nc": len(class_names)},
        module=module,
        weights_sha256=hash_weights(module),
        source=f"random weights, seed {seed}",
    )
    # A checkpoint of any other size would be refused when it is loaded: after the training.
    return resize_detector(detector, image_size)


def inherit_tensors(detector: Detector, source: Detector) -> tuple[Detector, int]:
    """Return the detector with the tensors of another that match by name and shape, and how many those are.

    The training record of the source goes along: what was inherited was trained there.

    Raises:
        InputError: no weight before the head matches: what was asked for would be training from random weights.
    """
    module = copy.deepcopy(detector.module)
    own, theirs = module.state_dict(), source.module.state_dict()
    taken = {key: theirs[key] for key in own if key in theirs and theirs[key].shape == own[key].shape}
    head = head_of(module)
    prefix = next(f"{name}." for name, layer in module.named_modules() if layer is head)
    # Counters fit anything, and parts of the head fit heads of other widths.
    if not any(tensor.dim() > 1 and not key.startswith(prefix) for key, tensor in taken.items()):
        raise InputError(
            f"tensors of {source.name} for {detector.name}",
            found=f"no weight before the head fits by name and shape (of {len(own)} tensors, {len(taken)} do)",
            expected="a detector with layers of the same names and widths",
            action="name such a detector, or leave --init out to start from random weights",
        )
    module.load_state_dict({**own, **taken})
    inherited = dataclasses.replace(
        detector,
        module=module,
        weights_sha256=hash_weights(module),
        source=source.source,
        training=source.training,
    )
    return inherited, len(taken)


def check_init(path: Path, sha256: str | None) -> Path:
    """Return ``path`` after checking its sha256, or the beginning of it.

    Raises:
        InputError: the file is missing, or it is another one.
    """
    if not path.is_file():
        raise InputError(
            str(path), found="no such file", expected="a detector file to start from", action="check the path"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is not None and not found.startswith(sha256.lower().rstrip(".…")):
        raise InputError(
            str(path),
            found=f"sha256 {found[:16]}…",
            expected=f"{sha256[:16]}…",
            action="fetch the file again from its official release",
        )
    return path
