"""What must hold of operations in any legal order, and of what they leave on disk."""

from __future__ import annotations

import collections
import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from slimgate.artifact import export_onnx
from slimgate.artifact.placement import TARGETS
from slimgate.compress import OPERATIONS, apply_operations, parse_operation
from slimgate.compress.apply import check_order
from slimgate.compress.semi_structured import two_of_four_mask
from slimgate.errors import UsageError
from slimgate.flow import Artifact, Detector, Precision, Step
from slimgate.model import (
    architecture_from_file,
    build_module,
    count_parameters,
    fuse_batchnorm,
    hash_weights,
    load_detector,
    save_checkpoint,
    strides_of,
)
from slimgate.model.channels import trace_channels
from slimgate.model.write_architecture import write_architecture

from fixtures.exported import check_fp16, check_int8, predict
from fixtures.specs import NetworkSpec, build_from_spec, specs

torch.set_num_threads(1)
# An export takes about a second.
_few = settings(max_examples=max(settings.default.max_examples // 12, 4))
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def predictions(module: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(module).double()(IMAGES.double())


def check_export(detector: Detector, folder: Path) -> Artifact:
    """Return the file, which computes what the network does, with as many parameters."""
    artifact = export_onnx(detector, folder / "drawn.onnx")
    assert artifact.lineage == detector.lineage
    graph = onnx.load(artifact.path).graph
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    shapes = collections.Counter(stored[name] for node in convolutions for name in node.input[1:])
    fused = fuse_batchnorm(detector.module)
    expected = collections.Counter(
        tuple(parameter.shape)
        for name, layer in fused.named_modules()
        # The constants of the box integral are a matrix product in the file.
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)) and ".dfl." not in f".{name}."
        for parameter in layer.parameters()
    )
    assert shapes == expected
    found = predict(artifact, IMAGES.numpy())
    np.testing.assert_allclose(found, predictions(detector.module).numpy(), rtol=1e-3, atol=1e-2)
    return artifact


class Compression(RuleBasedStateMachine):
    """Applies operations in legal orders only, and asks after each that the detector is whole."""

    @initialize(
        spec=specs(),
        shipped_after=st.integers(1, 3),
        built_for=st.sampled_from(sorted(TARGETS)),
        observer=st.sampled_from(["minmax", "percentile"]),
    )
    def build(self, spec: NetworkSpec, shipped_after: int, built_for: str, observer: str) -> None:
        # Drawn here and done by invariants: rules are drawn too rarely for every example to reach both precisions.
        self.shipped_after, self.built_for, self.observer = shipped_after, built_for, observer
        self.folder = tempfile.TemporaryDirectory()
        self.detector = build_from_spec(spec)
        self.spec = spec
        self.pretrained = save_checkpoint(self.detector, Path(self.folder.name, "pretrained"))
        self.artifact: Artifact | None = None
        self.made: set[Precision] = set()
        self.steps = 0

    def may(self, name: str) -> bool:
        last = [step.operation for step in self.detector.lineage[-1:]]
        return not last or name in OPERATIONS[last[0]].successors

    def apply(self, name: str, **given: Any) -> Detector:
        before = self.detector
        held = hash_weights(before.module)
        self.detector = apply_operations(before, [Step(operation=name, settings=given)])
        assert hash_weights(before.module) == held, "the one given stays as it is"
        self.steps += 1
        self.artifact = None
        return before

    def exported(self) -> Artifact:
        """Return the file of the detector as it is now; an export takes about a second."""
        if self.artifact is None:
            self.artifact = check_export(self.detector, Path(self.folder.name))
        return self.artifact

    @precondition(lambda self: self.may("slim"))
    @rule(
        ratio=st.floats(0, 1),
        scope=st.sampled_from(["global", "layer"]),
        importance=st.sampled_from(["l1", "gamma", "random"]),
        multiple=st.sampled_from([1, 4, 8]),
    )
    def slim(self, ratio: float, scope: str, importance: str, multiple: int) -> None:
        before = self.apply(
            "slim",
            ratio=ratio,
            scope=scope,
            importance=importance,
            multiple=multiple,
            narrow="keep",
            dense_gammas="accept",
            capped="accept",
            floor=0.01,
            head_floor=0.01,
        )
        counts = [count_parameters(one.module).total for one in (self.detector, before)]
        assert counts[0] <= counts[1]

    @precondition(lambda self: self.may("align"))
    @rule(multiple=st.sampled_from([4, 8, 16]))
    def align(self, multiple: int) -> None:
        before = self.apply("align", multiple=multiple)
        torch.testing.assert_close(
            predictions(self.detector.module), predictions(before.module), rtol=1e-9, atol=1e-9
        )
        graph = trace_channels(self.detector.module)
        assert all(len(group.channels) % multiple == 0 for group in graph.free)

    @precondition(lambda self: self.may("deconv") and self.has_upsampling())
    @rule(kernel=st.sampled_from(["2", "4"]))
    def deconv(self, kernel: str) -> None:
        arriving = self.detector.module.get_submodule("model.4.cv2.conv").out_channels
        if arriving % 8:
            return  # refused by name: a row names multiples of 8
        before = self.apply("deconv", kernel=kernel)
        torch.testing.assert_close(
            predictions(self.detector.module), predictions(before.module), rtol=1e-9, atol=1e-9
        )

    @precondition(lambda self: self.may("drop-levels") and self.has_a_level_to_spare())
    @rule()
    def drop_levels(self) -> None:
        before = self.apply("drop-levels", levels=1)
        assert strides_of(self.detector.module) == (4,)
        counts = [count_parameters(one.module).total for one in (self.detector, before)]
        assert counts[0] < counts[1]

    @precondition(lambda self: self.may("shallow") and self.repeats_blocks())
    @rule()
    def shallow(self) -> None:
        before = self.apply("shallow", blocks=1)
        assert not self.repeats_blocks()
        counts = [count_parameters(one.module).total for one in (self.detector, before)]
        assert counts[0] < counts[1]

    def has_a_level_to_spare(self) -> bool:
        # What adds to what was concatenated, or has groups of it, is refused without a part of it.
        return len(strides_of(self.detector.module)) > 1 and self.spec.neck not in ("Bottleneck", "DWConv")

    def repeats_blocks(self) -> bool:
        stage: Any = self.detector.module.get_submodule("model.2")
        return self.spec.block == "C3" and len(stage.m) > 1

    def has_upsampling(self) -> bool:
        return any(isinstance(layer, torch.nn.Upsample) for layer in self.detector.module.modules())

    @precondition(lambda self: self.may("prune"))
    @rule(ratio=st.floats(0, 1), scope=st.sampled_from(["global", "layer"]))
    def prune(self, ratio: float, scope: str) -> None:
        before = self.apply("prune", ratio=ratio, scope=scope)
        counts = [count_parameters(one.module) for one in (self.detector, before)]
        assert counts[0].total == counts[1].total
        assert counts[0].nonzero <= counts[1].nonzero

    @precondition(lambda self: self.may("prune24") and self.steps < 6)
    @rule()
    def prune24(self) -> None:
        layers = dict(self.detector.module.named_modules())
        if not any(
            isinstance(layer, torch.nn.Conv2d) and layer.groups == 1 and layer.in_channels % 4 == 0
            for name, layer in layers.items()
            if name.startswith("model.") and not name.startswith("model.8")
        ):
            return  # refused by name: nothing has the pattern's inputs
        self.apply("prune24")
        for name in self.detector.lineage[-1].notes["layers"]:
            weight = self.detector.module.get_submodule(name).weight
            assert not weight[~two_of_four_mask(weight)].any()

    @precondition(lambda self: self.may("rederive"))
    @rule(seed=st.integers(0, 3))
    def rederive(self, seed: int) -> None:
        before = self.apply("rederive", seed=seed)
        ours, theirs = self.detector.module.state_dict(), before.module.state_dict()
        assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}

    @rule(half=st.booleans())
    def save_and_reload(self, half: bool) -> None:
        path = Path(self.folder.name, "saved")
        loaded = load_detector(save_checkpoint(self.detector, path, storage="float16" if half else "float32"))
        if not half:
            same = replace(self.detector, source=loaded.source, module=loaded.module)
            assert same == loaded
            assert torch.equal(predictions(loaded.module), predictions(self.detector.module))
        self.detector = loaded

    @rule()
    def write_and_build_again(self) -> None:
        path = write_architecture(self.detector, Path(self.folder.name, "nas.yaml"), force=True)
        architecture = architecture_from_file(path, class_count=3, family=self.detector.family)
        built = build_module(architecture, family=self.detector.family, class_count=3)
        built.load_state_dict(self.detector.module.state_dict())
        assert torch.equal(predictions(built), predictions(self.detector.module))

    @precondition(lambda self: self.artifact is None and Precision.FP32 not in self.made and self.steps > 1)
    @rule()
    def fuse_and_export(self) -> None:
        torch.testing.assert_close(
            predictions(fuse_batchnorm(self.detector.module)),
            predictions(self.detector.module),
            rtol=1e-4,
            atol=1e-3,
        )
        self.exported()
        self.made.add(Precision.FP32)

    @precondition(lambda self: self.steps >= self.shipped_after and Precision.INT8 not in self.made)
    @invariant()
    def it_is_quantised_and_reloaded(self) -> None:
        check_int8(
            self.exported(),
            IMAGES.numpy(),
            Path(self.folder.name, "int8.onnx"),
            target=self.built_for,
            observer=self.observer,
        )
        self.made.add(Precision.INT8)

    @precondition(lambda self: self.steps >= self.shipped_after and Precision.FP16 not in self.made)
    @invariant()
    def it_is_halved_and_reloaded(self) -> None:
        check_fp16(self.exported(), IMAGES.numpy(), Path(self.folder.name, "fp16.onnx"))
        self.made.add(Precision.FP16)

    @rule(name=st.sampled_from(sorted(OPERATIONS)))
    def an_illegal_successor_is_refused_by_name(self, name: str) -> None:
        if self.may(name):
            return
        last = self.detector.lineage[-1].operation
        with pytest.raises(UsageError) as caught:
            apply_operations(self.detector, [parse_operation(OPERATIONS[name].example)])
        assert f"{name} after {last}" in str(caught.value)
        assert f"after {last}: {', '.join(sorted(OPERATIONS[last].successors))}" in str(caught.value)

    @invariant()
    def the_detector_is_whole(self) -> None:
        if not hasattr(self, "detector"):
            return
        detector = self.detector
        assert detector.weights_sha256 == hash_weights(detector.module)
        assert len(detector.lineage) == self.steps
        check_order([step.operation for step in detector.lineage], OPERATIONS)
        assert not detector.module.training
        output = predictions(detector.module)
        assert output.shape[:2] == (2, 4 + len(detector.class_names))
        assert torch.isfinite(output).all()
        graph = trace_channels(detector.module)
        for name, layer in graph.layers.items():
            built: Any = detector.module.get_submodule(name)
            assert layer.inputs is not None
            assert (built.in_channels, built.out_channels) == (len(layer.inputs), len(layer.outputs))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestCompression = Compression.TestCase
TestCompression.settings = settings(
    settings.default, max_examples=max(settings.default.max_examples // 6, 6), stateful_step_count=8
)


@_few
@given(specs(), st.floats(0, 1), st.sampled_from([1, 4, 8]))
def test_what_is_exported_is_as_small_and_the_same(spec: NetworkSpec, ratio: float, multiple: int) -> None:
    step = parse_operation(f"slim:{ratio},importance=l2,narrow=keep,capped=accept,multiple={multiple}")
    slim = apply_operations(build_from_spec(spec), [step])
    with tempfile.TemporaryDirectory() as folder:
        check_export(slim, Path(folder))
