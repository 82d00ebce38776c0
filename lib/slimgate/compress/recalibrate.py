"""Batch norms' statistics, computed anew for the weights as they are.

A batch norm remembers mean and variance as an average over the last training steps. Where weights moved quickly
(sparsity training pulls every scale by a few hundredths within that time) or channels are gone (slimming), what it
remembers is not what arrives: after five epochs of sparsify a detector that did well in training found nothing in
evaluation. Passing pictures through and averaging their statistics repairs that; no weight changes ("precise batch
norm", Wu and Johnson 2021, arXiv:2105.07576, section 3).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from slimgate.compress.gammas import prunable_norms, refuse_without_norms
from slimgate.compress.operation import Operation, Setting, Workspace, read_count, read_text, recorded
from slimgate.compress.training_data import CODES, fingerprint_data, read_training_data, refuse_other_classes
from slimgate.data import batch_from_images, read_image
from slimgate.flow import Detector, Json, Step
from slimgate.model.load import replace_module

_BATCH = 16


def recompute_statistics(module: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Replace the running mean and variance of every batch norm by the averages over some pictures, in place.

    Args:
        module: in eval mode; it stays in it.
        batches: images ``(n, 3, s, s)`` in 0..1, several a batch. A batch counts by its pictures, so that a last
            one of few weighs no more than they do.

    Returns:
        How many images there were; with none, nothing changes.
    """
    norms = list(prunable_norms(module).values())
    before = [(norm.momentum, copy.deepcopy(norm.num_batches_tracked)) for norm in norms]
    count = 0
    with torch.no_grad():
        for images in batches:
            if not count:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.train()
            count += len(images)
            for norm in norms:
                norm.momentum = len(images) / count  # of equal batches the k-th weighs 1 / k: a plain average
            module(images)
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
            norm.eval()
    return count


def recalibrate(detector: Detector, settings: Mapping[str, Json], workspace: Workspace) -> Detector:
    """Return the detector with batch-norm statistics of training pictures, and the same weights.

    Args:
        detector: of any family; it stays as it is.
        settings: ``images`` and ``data``, checked.
        workspace: not used; nothing is trained.

    Raises:
        InputError: the detector has no batch norms, or the data does not fit it.
        UsageError: there are fewer pictures.
    """
    refuse_without_norms(detector)
    data = read_training_data(settings["data"], count=settings["images"])
    refuse_other_classes(data, detector.class_names, detector.name)
    module = copy.deepcopy(detector.module).eval()
    count = recompute_statistics(module, _batches(data.train, detector.image_size))
    notes = {"images": count, "data": data.facts["train"]}
    return replace_module(
        detector, module, Step(operation="recalibrate", settings=recorded(settings), notes=notes)
    )


def _batches(paths: Sequence[Path], size: int) -> Iterator[torch.Tensor]:
    # No batch of one: of a single value, where a map is 1 x 1, there are no statistics.
    count = max(len(paths) // _BATCH, 1) if len(paths) % _BATCH == 1 else -(-len(paths) // _BATCH)
    for number in range(count):
        stop = len(paths) if number == count - 1 else (number + 1) * _BATCH
        images, _ = batch_from_images([read_image(path) for path in paths[number * _BATCH : stop]], size)
        yield torch.from_numpy(images)


OPERATION = Operation(
    name="recalibrate",
    summary="compute batch norms' statistics anew from training pictures; no weight changes",
    example="recalibrate:640",
    positional="images",
    settings={
        "images": Setting(
            read=read_count(2, 100_000), default=640, meaning="the first so many training pictures"
        ),
        "data": Setting(
            read=read_text,
            default=CODES,
            fingerprint=fingerprint_data,
            meaning="codes, or a YOLO data.yaml with train and val",
        ),
    },
    successors=frozenset(
        {
            "drop-levels",
            "shallow",
            "align",
            "deconv",
            "finetune",
            "prune",
            "prune24",
            "rederive",
            "slim",
            "sparsify",
            "swap-activation",
            "transfer-head",
        }
    ),
    apply=recalibrate,
)
