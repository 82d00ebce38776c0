"""Taylor importance: the first-order change of the loss, and what may be asked of it."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from slimgate.compress import apply_operations, parse_operation
from slimgate.compress.taylor import labelled_pictures, taylor_importance, taylor_scores
from slimgate.data import Dataset, load_dataset
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector
from slimgate.model import count_flops
from slimgate.model.channels import ChannelGraph, trace_channels
from torch import nn

from fixtures.specs import NetworkSpec, build_from_spec


@pytest.fixture
def dataset(dataset_folder: Path) -> Dataset:
    return load_dataset(dataset_folder / "instances.json")


@pytest.fixture
def detector() -> Detector:
    """Return one with shortcuts, and a transposed convolution that has no batch norm."""
    return build_from_spec(NetworkSpec(up="deconv2", widths=(8, 8, 16)))


def _loss(module: nn.Module, size: int) -> torch.Tensor:
    """Return a smooth loss: that of training is not, its targets follow the predictions."""
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    boxes_and_scores = module(pictures)
    return boxes_and_scores[:, 4:].log().sum() + boxes_and_scores[:, :4].square().mean()


def test_it_is_the_slope_of_the_loss_when_a_channel_fades(detector: Detector) -> None:
    """Scaling everything that produces a channel by 1 ± ε changes the loss by what Taylor says."""
    graph = trace_channels(detector.module)
    module = copy.deepcopy(detector.module).eval().double().requires_grad_(True)
    scores = taylor_scores(module, graph, [_loss(module, detector.image_size)])
    normed = {channel for channels in graph.norms.values() for channel in channels}
    shortcut = max(graph.free, key=lambda group: len(group.layers))
    deconv = next(group for group in graph.free if not normed.intersection(group.channels))
    assert len(shortcut.layers) > 1
    for group in (graph.free[0], shortcut, deconv):
        channel = max(group.channels, key=lambda c: scores[c])
        with torch.no_grad():
            up, down = (
                float(_loss(_faded(module, graph, channel, 1 + step), detector.image_size))
                for step in (1e-5, -1e-5)
            )
        assert ((up - down) / 2e-5) ** 2 == pytest.approx(scores[channel], rel=1e-3), group.layers


def test_what_no_loss_depends_on_is_worth_nothing(detector: Detector) -> None:
    graph = trace_channels(detector.module)
    module = copy.deepcopy(detector.module).eval().requires_grad_(True)
    first = dict(module.named_modules())[next(iter(graph.norms))]
    scores = taylor_scores(module, graph, [first.weight.square().sum()])
    worth = {channel for channel, score in scores.items() if score}
    assert worth == set(graph.norms[next(iter(graph.norms))])


def _faded(module: nn.Module, graph: ChannelGraph, channel: int, factor: float) -> nn.Module:
    faded = copy.deepcopy(module)
    layers = dict(faded.named_modules())
    normed = {c for channels in graph.norms.values() for c in channels}
    with torch.no_grad():
        for name, channels in graph.norms.items():
            if channel in channels:
                layers[name].weight[channels.index(channel)] *= factor
                layers[name].bias[channels.index(channel)] *= factor
        for name, layer in graph.layers.items():
            if channel in layer.outputs and channel not in normed:
                layers[name].weight[:, layer.outputs.index(channel)] *= factor
                layers[name].bias[layer.outputs.index(channel)] *= factor
    return faded


def test_a_dead_channel_is_worth_nothing_and_goes_first(detector: Detector, dataset: Dataset) -> None:
    norm = detector.module.get_submodule("model.0.bn")
    with torch.no_grad():
        norm.weight[3] = 0
        norm.bias[3] = 0
    graph = trace_channels(detector.module)
    scores = taylor_importance(detector, graph, dataset)
    assert set(scores) == {channel for group in graph.free for channel in group.channels}
    dead = graph.layers["model.0.conv"].outputs[3]
    assert scores[dead] == 0 == min(scores.values())


def test_slim_by_taylor_and_per_flop(detector: Detector, dataset_folder: Path) -> None:
    config = dataset_folder / "data.yaml"
    config.write_text(config.read_text().replace("val: images", "train: images\nval: images"))
    before = copy.deepcopy(detector.module.state_dict())
    text = f"slim:flops=0.6,importance=taylor,multiple=2,data={config},images=4"
    plain, per_flop = (
        apply_operations(detector, [parse_operation(text + more)]) for more in ("", ",per=flops")
    )
    for after in (plain, per_flop):
        assert count_flops(after) <= 0.6 * count_flops(detector)
        assert after.lineage[-1].settings["images"] == 4
    assert plain.architecture["widths"] != per_flop.architecture["widths"]
    assert all(torch.equal(value, before[key]) for key, value in detector.module.state_dict().items())


def test_a_legacy_detector_has_no_loss(tiny_legacy_detector: Detector, dataset: Dataset) -> None:
    graph = trace_channels(tiny_legacy_detector.module)
    with pytest.raises(InputError) as caught:
        taylor_importance(tiny_legacy_detector, graph, dataset)
    assert str(caught.value) == (
        f"importance taylor of {tiny_legacy_detector.name}: a legacy anchor detector, which has no training loss here\n"
        "  expected: a detector of the ultralytics family\n"
        "  what to do: put transfer-head and finetune first, or choose another importance"
    )


def test_other_classes_are_refused(detector: Detector, dataset: Dataset) -> None:
    other = dataclasses.replace(dataset, class_names=("cat", "dog", "cow"))
    with pytest.raises(InputError, match="the classes cat, dog, cow"):
        taylor_importance(detector, trace_channels(detector.module), other)


def test_without_a_loss_there_is_nothing_to_rank_by(detector: Detector) -> None:
    with pytest.raises(InputError, match="importance taylor: no losses"):
        taylor_scores(detector.module, trace_channels(detector.module), [])


def test_weights_that_are_not_finite_are_refused(detector: Detector, dataset: Dataset) -> None:
    with torch.no_grad():
        detector.module.get_submodule("model.1.conv").weight[0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite for"):
        taylor_importance(detector, trace_channels(detector.module), dataset)


def test_more_pictures_than_there_are(dataset_folder: Path) -> None:
    config = dataset_folder / "data.yaml"
    config.write_text(config.read_text().replace("val: images", "train: images\nval: images"))
    with pytest.raises(UsageError, match="6 training pictures, 7 asked for"):
        labelled_pictures(str(config), 7)
    with pytest.raises(InputError, match=r"no such data\.yaml"):
        labelled_pictures(str(dataset_folder / "nothing.yaml"), 1)
