"""What must hold of alignment for any network, however odd its widths."""

from __future__ import annotations

import copy
from typing import Any

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slimgate.compress import apply_operations
from slimgate.flow import Detector, Step
from slimgate.model import hash_weights
from slimgate.model.channels import trace_channels

from fixtures.specs import NetworkSpec, build_from_spec, specs

torch.set_num_threads(1)
# Each example builds several networks.
_fewer = settings(max_examples=max(settings.default.max_examples // 4, 10))
MULTIPLES = st.sampled_from([1, 3, 4, 8, 16, 32])


def applied(detector: Detector, operation: str, **given: Any) -> Detector:
    return apply_operations(detector, [Step(operation=operation, settings=given)])


def odd_detector(spec: NetworkSpec, ratio: float) -> Detector:
    """Return a network whose widths follow no rule: random channels gone, to no multiple."""
    given = {"importance": "random", "multiple": 1, "floor": 0.01, "head_floor": 0.01, "capped": "accept"}
    return applied(build_from_spec(spec), "slim", ratio=ratio, **given)


def predictions(module: torch.nn.Module) -> torch.Tensor:
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return copy.deepcopy(module).double()(images)


@_fewer
@given(specs(), st.floats(0.05, 1), MULTIPLES)
@example(spec=NetworkSpec(down="DWConv"), ratio=1.0, multiple=8)  # a depthwise layer of one channel
@example(
    spec=NetworkSpec(widths=(8, 8, 16), down="DWConv", up="deconv2", neck="Bottleneck"), ratio=1.0, multiple=3
)
@example(spec=NetworkSpec(widths=(8, 8, 24), down="DWConv"), ratio=0.5, multiple=16)  # 8 groups
def test_aligned_or_exempt_and_nothing_changes(spec: NetworkSpec, ratio: float, multiple: int) -> None:
    odd = odd_detector(spec, ratio)
    before = hash_weights(odd.module)
    aligned = applied(odd, "align", multiple=multiple)
    assert hash_weights(odd.module) == before
    torch.testing.assert_close(predictions(aligned.module), predictions(odd.module), rtol=1e-9, atol=1e-9)
    graph = trace_channels(aligned.module)
    assert graph.exempt == trace_channels(odd.module).exempt
    for group in graph.free:
        assert len(group.channels) % multiple == 0
    narrow = trace_channels(odd.module)
    fixed = {channel for group in graph.groups if group.fixed for channel in group.channels}
    for name, width in graph.widths(graph.all_channels()).items():
        layer: Any = aligned.module.get_submodule(name)
        assert layer.out_channels == width
        # What is coupled to fixed channels, as a shortcut beside them is, has those and a multiple more.
        held = sum(channel in fixed for channel in graph.layers[name].outputs)
        assert (width - held) % multiple == 0
        assert (held == width) == (name in graph.exempt)
        assert width - len(narrow.layers[name].outputs) >= 0
    # What was added is zero from end to end, and nothing else is.
    for name, text in aligned.lineage[-1].notes["padded"].items():
        narrower, wider = (int(part) for part in text.split(" to "))
        assert narrower == len(narrow.layers[name].outputs)
        layer = aligned.module.get_submodule(name)
        weight = layer.weight.transpose(0, 1) if isinstance(layer, torch.nn.ConvTranspose2d) else layer.weight
        assert int((weight.flatten(1).abs().sum(1) == 0).sum()) == wider - narrower
    # Once is enough.
    again = applied(aligned, "align", multiple=multiple)
    assert again.weights_sha256 == aligned.weights_sha256
    assert again.lineage[-1].notes["padded"] == {}
    assert again.architecture == aligned.architecture
