"""Which layers are coupled, against Torch-Pruning's dependency graph (Fang et al. 2023, arXiv:2301.12900)."""

from __future__ import annotations

import pytest
import torch
from slimgate.flow import Family
from slimgate.model import architecture_from_name, build_module
from slimgate.model.channels import trace_channels
from torch import nn
from ultralytics.nn.modules import C2f

pruning = pytest.importorskip("torch_pruning", reason="torch-pruning is an oracle of these tests only")


def _coupled_by_oracle(module: nn.Module, names: list[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Return, by layer, the convolutions that lose outputs and those that lose inputs when it loses all its outputs."""
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    graph = pruning.DependencyGraph().build_dependency(module, example_inputs=torch.rand(1, 3, 64, 64))
    layers = dict(module.named_modules())
    known = {id(layer): name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)}
    coupled = {}
    for name in names:
        group = graph.get_pruning_group(
            layers[name], pruning.prune_conv_out_channels, idxs=list(range(layers[name].out_channels))
        )
        made: set[str] = set()
        read: set[str] = set()
        for dependency, _ in group:
            target = known.get(id(dependency.target.module))
            if target is not None:
                (made if dependency.handler in _MAKING else read).add(target)
        coupled[name] = (made, read)
    return coupled


def _is_of_split_block(module: nn.Module, name: str) -> bool:
    """Whether a layer's outputs meet a C2f's chunk, which the oracle couples even where no shortcut adds anything."""
    block = module.get_submodule(".".join(name.split(".")[:2]))
    return isinstance(block, C2f) and name.split(".")[2] != "cv2"


_MAKING = (pruning.prune_conv_out_channels, pruning.prune_depthwise_conv_out_channels)


@pytest.mark.parametrize(("name", "least"), [("yolov5n", 65), ("yolov8n", 25)])
def test_what_loses_channels_together_is_what_torch_pruning_says(name: str, least: int) -> None:
    architecture = architecture_from_name(name, class_count=3)
    module = build_module(architecture, family=Family.ULTRALYTICS, class_count=3)
    graph = trace_channels(module)
    names = sorted(name for name in graph.choosable if not _is_of_split_block(module, name))
    assert len(names) >= least
    oracle = _coupled_by_oracle(module, names)
    for layer in names:
        ours = set(graph.layers[layer].outputs)
        made = {other for other, one in graph.layers.items() if ours & set(one.outputs)}
        read = {other for other, one in graph.layers.items() if ours & set(one.inputs or ())}
        assert made == oracle[layer][0], layer
        assert read == oracle[layer][1] | {o for o in made if graph.layers[o].kind == "depthwise"}, layer
