"""Structured pruning of tiny detectors: what goes, what stays, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from slimgate.compress import Workspace, apply_operations, parse_operation
from slimgate.compress.masked import masked
from slimgate.compress.reached import tell_reached
from slimgate.errors import InputError, UsageError
from slimgate.flow import Detector, Family, Step
from slimgate.model import count_flops, count_parameters, load_detector, save_checkpoint
from slimgate.model.channels import trace_channels
from torch import nn

from fixtures.detectors import build_detector
from fixtures.specs import NetworkSpec, build_from_spec


def _slim(detector: Detector, text: str) -> Detector:
    return apply_operations(detector, [parse_operation(text)])


@pytest.mark.parametrize("family", Family)
def test_the_smallest_gammas_go(family: Family) -> None:
    """Half of the stem's scales are nearly zero: those channels go, and what stays is what it was."""
    detector = build_detector(family)
    norm = detector.module.get_submodule("model.0.bn")
    with torch.no_grad():
        for layer in detector.module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.fill_(1.0)
        norm.weight[[1, 3, 4, 6]] = 1e-4
    free = sum(len(group.channels) for group in trace_channels(detector.module).free)
    after = _slim(detector, f"slim:{4 / free},multiple=1,dense_gammas=accept")
    notes = after.lineage[-1].notes
    assert notes["kept"] == {"model.0.conv": "0,2,5,7"}
    assert notes["channels"] == {"before": free, "after": free - 4}
    stay = detector.module.get_submodule("model.0.conv").weight[[0, 2, 5, 7]]
    assert torch.equal(after.module.get_submodule("model.0.conv").weight, stay)
    assert after.architecture["widths"]["model.0.conv"] == 4
    assert "widths" not in detector.architecture


def test_a_slim_checkpoint_is_smaller_and_loads_bit_for_bit(tmp_path: Path) -> None:
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    after = _slim(detector, "slim:0.5,importance=l2")
    loaded = load_detector(save_checkpoint(after, tmp_path / "slim"))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.module(image), after.module(image))
    assert loaded.lineage == after.lineage
    whole = save_checkpoint(detector, tmp_path / "whole").stat().st_size
    assert (tmp_path / "slim.safetensors").stat().st_size < 0.6 * whole
    assert count_parameters(loaded.module).total < 0.5 * count_parameters(detector.module).total


@pytest.mark.parametrize("key", ["flops", "parameters"])
def test_a_target_is_a_share_of_what_there_was(key: str) -> None:
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    after = _slim(detector, f"slim:{key}=0.5,importance=l1,multiple=4")
    counts = [
        count_flops(one) if key == "flops" else count_parameters(one.module).total
        for one in (after, detector)
    ]
    notes = after.lineage[-1].notes
    assert notes[f"{key}_share"] == pytest.approx(counts[0] / counts[1])
    assert 0.4 < counts[0] / counts[1] <= 0.5
    assert 0 < notes["ratio"] < 1


def test_the_head_keeps_its_own_floor() -> None:
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    after = _slim(detector, "slim:1,importance=l1,multiple=1,floor=0.125,head_floor=0.5,capped=accept")
    before = trace_channels(detector.module)
    for name, width in after.lineage[-1].notes["widths"].items():
        whole = len(before.layers[name].outputs)
        coupled = any(
            name in g.layers and any(o.startswith("model.8") for o in g.layers) for g in before.free
        )
        assert width >= whole * (0.5 if coupled else 0.125)
        if name.startswith("model.8"):
            assert width == whole / 2


def test_exempt_and_unaligned_layers_are_listed(tiny_detector: Detector) -> None:
    notes = _slim(tiny_detector, "slim:0.5,importance=l1,narrow=keep,capped=accept").lineage[-1].notes
    assert set(notes["exempt"]) == {f"model.8.cv{b}.{level}.2" for b in (2, 3) for level in (0, 1)}
    assert notes["unaligned"]["model.2.cv1.conv"] == 4
    assert "model.0.conv" not in notes["unaligned"]


def test_silenced_channels_are_zero_from_end_to_end() -> None:
    detector = build_from_spec(NetworkSpec(up="deconv2"))
    graph = trace_channels(detector.module)
    gone = {graph.layers["model.0.conv"].outputs[1], graph.layers["model.5"].outputs[2]}
    silent = masked(detector, graph, graph.all_channels() - gone).module
    for name, part in (("model.0.conv", "weight"), ("model.0.bn", "weight"), ("model.0.bn", "bias")):
        tensor = getattr(silent.get_submodule(name), part)
        assert not tensor[1].any()
        assert tensor[0].any()
    assert not silent.get_submodule("model.5").weight[:, 2].any()
    assert silent.get_submodule("model.5").bias[2] == 0
    assert detector.module.get_submodule("model.0.bn").weight[1] != 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("slim", "operation slim: no target\n  expected: exactly one of ratio, flops, parameters"),
        ("slim:0.5,flops=0.5", "operation slim: ratio and flops\n"),
        ("slim:flops=0.5,parameters=0.5", "operation slim: flops and parameters\n"),
    ],
)
def test_exactly_one_target(tiny_detector: Detector, text: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        _slim(tiny_detector, text)
    assert str(caught.value).startswith(found)
    assert "write slim:0.5 (share of the channels to remove) or slim:flops=0.2" in str(caught.value)


def test_a_ratio_that_would_empty_layers(tiny_detector: Detector) -> None:
    with pytest.raises(
        UsageError, match=r"\d+ layers: nothing would be left of model\.0\.conv, model\.1\.conv"
    ):
        _slim(tiny_detector, "slim:1,importance=l1,multiple=1,floor=0,head_floor=0")


def test_a_multiple_larger_than_a_layer(tiny_detector: Detector) -> None:
    with pytest.raises(
        InputError,
        match=r"multiple 8: larger than the width of model\.2\.cv1\.conv \(4\)(.|\n)*use multiple=4",
    ):
        _slim(tiny_detector, "slim:0.5,importance=l1")


def test_a_target_out_of_reach(tiny_detector: Detector) -> None:
    with pytest.raises(
        UsageError, match=r"target of 0\.001 of the flops: the smallest network(.|\n)*a target of 0\."
    ):
        _slim(tiny_detector, "slim:flops=0.001,importance=l1,multiple=4")


def test_gammas_that_were_never_made_sparse(tiny_detector: Detector) -> None:
    with pytest.raises(
        InputError, match="slim of tiny-ultralytics by gamma: the sparse training did not happen"
    ):
        _slim(tiny_detector, "slim:0.5,multiple=4")


def test_dense_gammas_can_be_accepted(tiny_detector: Detector) -> None:
    after = _slim(tiny_detector, "slim:0,multiple=4,dense_gammas=accept")
    assert after.weights_sha256 == tiny_detector.weights_sha256


class _Rolled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, 1, 1)


@pytest.mark.parametrize("text", ["slim:0.5,importance=l1,multiple=4", "align:4"])
def test_an_unsupported_module_is_named(tiny_detector: Detector, text: str) -> None:
    tiny_detector.module.set_submodule("model.3.act", _Rolled())
    with pytest.raises(InputError, match=r"tiny-ultralytics: model\.3\.act \(_Rolled\): it calls roll"):
        _slim(tiny_detector, text)


def test_weights_that_do_not_fit_their_architecture(tmp_path: Path) -> None:
    """The architecture beside the weights says other widths: one message, which tensor, which two shapes."""
    detector = build_from_spec(NetworkSpec())
    path = save_checkpoint(_slim(detector, "slim:0.5,importance=l1,multiple=4"), tmp_path / "slim")
    text = path.with_suffix(".json").read_text()
    assert '"model.0.conv": 8' in text or '"model.0.conv": 4' in text
    edited = text.replace('"model.0.conv": 8', '"model.0.conv": 6').replace(
        '"model.0.conv": 4', '"model.0.conv": 6'
    )
    path.with_suffix(".json").write_text(edited)
    with pytest.raises(InputError, match=r"slim\.safetensors: .*model\.0\.conv\.weight"):
        load_detector(path)


def test_a_latency_is_reached_by_measuring() -> None:
    """Latency here falls as the square root of the FLOPs: half of it is a quarter of those."""
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    timed: list[str] = []

    def latency(original: Detector, other: Detector, runtime: str) -> float:
        assert original is detector
        assert other.architecture["widths"]
        timed.append(runtime)
        return float((count_flops(other) / count_flops(original)) ** 0.5)

    step = parse_operation("slim:latency=0.5,runtime=openvino,importance=l2,multiple=1")
    after = apply_operations(detector, [step], Workspace(latency=latency))
    share = count_flops(after) / count_flops(detector)
    assert 0.2 < share <= 0.25
    assert after.lineage[-1].notes["latency_ratio"] == share**0.5
    assert set(timed) == {"openvino"}
    assert len(timed) <= 8


def test_a_latency_out_of_reach_is_refused() -> None:
    step = parse_operation("slim:latency=0.5,importance=l2,multiple=1")
    with pytest.raises(
        UsageError, match=r"target of 0\.5 of the latency on onnxruntime: the smallest network"
    ):
        apply_operations(
            build_from_spec(NetworkSpec()), [step], Workspace(latency=lambda original, other, runtime: 0.9)
        )


def test_without_a_clock_no_latency() -> None:
    with pytest.raises(UsageError) as caught:
        _slim(build_from_spec(NetworkSpec()), "slim:latency=0.5,importance=l2")
    assert str(caught.value) == (
        "slim by latency: nothing to measure it with\n"
        "  expected: a workspace that can time detectors\n"
        "  what to do: use slimgate compress or a study, or pass Workspace(latency=...)"
    )


def test_what_was_asked_and_what_held_it_back_is_noted() -> None:
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    after = _slim(
        detector, "slim:0.5,importance=l2,scope=layer,multiple=8,floor=0.75,head_floor=0.125,capped=accept"
    )
    notes = after.lineage[-1].notes
    removed = 1 - notes["channels"]["after"] / notes["channels"]["before"]
    assert notes["asked"] == {"ratio": 0.5}
    assert notes["reached"] == {"ratio": pytest.approx(removed)}
    assert removed < 0.5
    graph = trace_channels(detector.module)
    head = [g for g in graph.free if any(name.startswith("model.8") for name in g.layers)]
    assert notes["held_back"]["groups"] == len(graph.free)
    assert notes["held_back"]["floor"] == len(graph.free) - len(head)
    told = tell_reached(after.lineage[-1])
    assert told.startswith(f"slim: 50.0% of the channels to remove asked for, {removed:.1%} reached; of ")
    assert f"{notes['held_back']['floor']} were held back by their floor" in told


def test_a_target_is_told_in_its_own_unit() -> None:
    after = _slim(
        build_from_spec(NetworkSpec(widths=(16, 32, 32))), "slim:flops=0.5,importance=l1,multiple=4"
    )
    notes = after.lineage[-1].notes
    assert (notes["asked"], notes["reached"]) == ({"flops": 0.5}, {"flops": notes["flops_share"]})
    assert tell_reached(after.lineage[-1]).startswith("slim: 50.0% of the FLOPs to keep asked for, 4")


def test_a_step_of_before_says_nothing() -> None:
    assert tell_reached(Step(operation="slim", settings={}, notes={"ratio": 0.5})) == ""


def test_a_ratio_that_no_importance_could_reach() -> None:
    detector = build_from_spec(NetworkSpec(widths=(16, 32, 32)))
    with pytest.raises(UsageError) as caught:
        _slim(detector, "slim:1,importance=l2")
    found = str(caught.value)
    assert found.startswith("ratio 1: floors and the multiple of 8 let at most 0.")
    assert "or say capped=accept to take off as much as they allow" in found
    most = float(found.partition("at most ")[2].partition(" ")[0])
    within = _slim(detector, f"slim:{most},importance=l2").lineage[-1].notes
    assert within["reached"]["ratio"] <= most
    forced = _slim(detector, "slim:1,importance=l2,capped=accept").lineage[-1].notes
    assert forced["reached"]["ratio"] == pytest.approx(most, abs=1e-4)
