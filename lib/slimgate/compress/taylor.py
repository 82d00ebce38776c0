"""Taylor importance: what the loss would change by, to first order, if a channel went silent.

Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771, section 3.2: a gate of 1
behind every batch norm, whose gradient is γ·∂L/∂γ + β·∂L/∂β ("Taylor-FO-BN", equation 8 on the gate). Channels that
a shortcut couples go silent together, so their contributions are added before squaring.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slimgate.compress.training_data import CODES
from slimgate.data import Dataset, Letterbox, Sample, batch_from_images, load_dataset, read_image
from slimgate.data.yolo_txt import read_yolo
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family
from slimgate.model.channels import ChannelGraph

_BATCH = 16


def taylor_importance(detector: Detector, graph: ChannelGraph, dataset: Dataset) -> dict[int, float]:
    """Return the importance of every channel that may be removed, from the loss on training pictures.

    Args:
        detector: of the ultralytics family; it stays as it is.
        graph: its channels.
        dataset: pictures with labels, of the detector's classes.

    Raises:
        InputError: a legacy detector, which has no training loss here; other classes; or a gradient is not finite.
    """
    if dataset.class_names != detector.class_names:
        raise InputError(
            f"data {dataset.name}",
            found=f"the classes {', '.join(dataset.class_names)}",
            expected=f"those of {detector.name}: {', '.join(detector.class_names)}",
            action="give it pictures with the detector's classes in the same order",
        )
    module = _differentiable(detector)
    scores = taylor_scores(module, graph, _losses(module, dataset, detector.image_size))
    wanted = {channel: scores[channel] for group in graph.free for channel in group.channels}
    bad = sum(not math.isfinite(value) for value in wanted.values())
    if bad:
        raise InputError(
            f"importance taylor of {detector.name}",
            found=f"NaN or infinite for {bad} of {len(wanted)} channels",
            expected="finite weights and losses",
            action="use a checkpoint from before the training diverged",
        )
    return wanted


def taylor_scores(module: nn.Module, graph: ChannelGraph, losses: Iterable[torch.Tensor]) -> dict[int, float]:
    """Return the mean over some losses of the squared first-order change of each channel's removal.

    Args:
        module: the network that ``graph`` was traced from; its gradients are overwritten.
        graph: its channels.
        losses: scalars that depend on the module's parameters, each made when it is asked for.

    Returns:
        Importance by channel id, of every channel that has a batch norm or a convolution without one.

    Raises:
        InputError: there is no loss.
    """
    layers: dict[str, Any] = dict(module.named_modules())
    normed = {channel for channels in graph.norms.values() for channel in channels}
    bare = {
        name: layer.outputs
        for name, layer in graph.layers.items()
        if layer.kind in ("conv", "deconv") and not normed.intersection(layer.outputs)
    }
    total: dict[int, float] = {}
    count = 0
    for loss in losses:
        module.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        change: dict[int, float] = {}
        for name, channels in (*graph.norms.items(), *bare.items()):
            contribution = _gate_gradient(layers[name])
            for channel, value in zip(channels, contribution.tolist(), strict=True):
                change[channel] = change.get(channel, 0.0) + value
        for channel, value in change.items():
            total[channel] = total.get(channel, 0.0) + value * value
        count += 1
    module.zero_grad()
    if not count:
        raise InputError(
            "importance taylor",
            found="no losses",
            expected="the loss on at least one batch of training pictures",
            action="give it pictures with data=codes or data=DATA.yaml, or choose another importance",
        )
    return {channel: value / count for channel, value in total.items()}


def _differentiable(detector: Detector) -> Any:
    """Return a copy of the detector's network that ultralytics' loss can be computed of."""
    if detector.family is not Family.ULTRALYTICS:
        raise InputError(
            f"importance taylor of {detector.name}",
            found="a legacy anchor detector, which has no training loss here",
            expected="a detector of the ultralytics family",
            action="put transfer-head and finetune first, or choose another importance",
        )
    from ultralytics.cfg import get_cfg

    module: Any = copy.deepcopy(detector.module).eval().float()
    module.args = get_cfg()
    module.requires_grad_(True)
    module.model[-1].export = False
    return module


def _losses(module: Any, dataset: Dataset, size: int) -> Iterator[torch.Tensor]:
    """Yield the training loss per image on batches of pictures, letterboxed and not augmented."""
    for start in range(0, len(dataset.samples), _BATCH):
        samples = dataset.samples[start : start + _BATCH]
        images, placements = batch_from_images([read_image(one.path) for one in samples], size)
        losses, _ = module.loss({"img": torch.from_numpy(images), **_targets(samples, placements, size)})
        yield losses.sum() / len(samples)


def labelled_pictures(source: str, count: int) -> Dataset:
    """Return the first so many training pictures of a source with their labels.

    Args:
        source: ``codes``, or a YOLO ``data.yaml`` with ``train``.
        count: how many.

    Raises:
        InputError: there are no such pictures.
        UsageError: there are fewer.
    """
    dataset = load_dataset("codes:train", count=count) if source == CODES else _yolo(source)
    if len(dataset) < count:
        raise UsageError(
            f"data {source}",
            found=f"{len(dataset)} training pictures, {count} asked for",
            expected=f"at most {len(dataset)}",
            action="ask for fewer with images=",
        )
    return dataset.head(count)


def _yolo(source: str) -> Dataset:
    path = Path(source)
    config = path / "data.yaml" if path.is_dir() else path
    if not config.is_file():
        raise InputError(
            f"data {source}",
            found="no such data.yaml",
            expected="codes, a YOLO data.yaml with train and val, or a folder with a data.yaml",
            action="name the data.yaml",
        )
    return read_yolo(config, name=f"{config.stem}:train", split="train")


def _targets(
    samples: Iterable[Sample], placements: Iterable[Letterbox], size: int
) -> dict[str, torch.Tensor]:
    """Return the labels of a batch as ultralytics' loss takes them: boxes as centre and size, 0..1."""
    numbers, classes, boxes = [], [], []
    for number, (sample, placement) in enumerate(zip(samples, placements, strict=True)):
        corners = placement.to_canvas(sample.boxes) / size
        numbers.append(np.full(len(corners), number))
        classes.append(sample.classes)
        boxes.append(
            np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        )
    return {
        "batch_idx": torch.from_numpy(np.concatenate(numbers)).float(),
        "cls": torch.from_numpy(np.concatenate(classes)).float()[:, None],
        "bboxes": torch.from_numpy(np.concatenate(boxes)).float(),
    }


def _gate_gradient(layer: Any) -> torch.Tensor:
    """Return, per output channel, the gradient of a gate of 1 behind the layer: 0 where no loss depends on it."""
    weight = _slope(layer.weight)
    if weight.ndim > 1:
        # A transposed convolution has its outputs in dimension 1.
        weight = (
            (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1).sum(1)
        )
    if layer.bias is None:
        return torch.Tensor(weight)
    return torch.Tensor(weight + _slope(layer.bias))


def _slope(parameter: torch.Tensor) -> torch.Tensor:
    """Return a parameter times its gradient, in float64; autograd leaves none where nothing was reached."""
    value = parameter.detach().double()
    return torch.zeros_like(value) if parameter.grad is None else value * parameter.grad.double()
