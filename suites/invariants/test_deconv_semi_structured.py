"""What must hold of transposed convolutions and of the 2:4 pattern, for any weights and small architecture."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from slimgate.artifact.semi_structured import semi_structured_state
from slimgate.compress import apply_operations
from slimgate.compress.semi_structured import two_of_four_mask
from slimgate.flow import Detector, Family, Step
from slimgate.model import build_module, count_flops, hash_weights, load_detector, save_checkpoint, strides_of

torch.set_num_threads(1)
# Each example builds networks.
_fewer = settings(max_examples=max(settings.default.max_examples // 6, 5))
PRUNE24 = Step(operation="prune24", settings={"head": "sparse"})


@st.composite
def weights(draw: st.DrawFn) -> torch.Tensor:
    """Draw a weight whose dimension 1 is a multiple of 4; ties are the rule."""
    shape = (
        draw(st.integers(1, 3)),
        4 * draw(st.integers(1, 3)),
        *draw(st.sampled_from([(), (1, 1), (3, 2)])),
    )
    values = st.one_of(st.sampled_from([-1.0, 0.0, 1.0, 0.5]), st.floats(-10, 10, width=32))
    return torch.from_numpy(draw(arrays.arrays("float32", shape, elements=values)))


@st.composite
def detectors(draw: st.DrawFn) -> tuple[Detector, dict[int, int]]:
    """Draw a detector with one or two nearest-neighbour layers; return the channels that reach each."""
    family = draw(st.sampled_from(Family))
    anchors = family is Family.YOLOV5_ANCHOR
    width = draw(st.sampled_from([0.25, 0.5, 1.0]))
    backbone, neck, last = (8 * draw(st.integers(1, 3)) for _ in range(3))
    scaled = [round(channels / width) - draw(st.integers(0, 1)) for channels in (backbone, neck, last)]
    up = [-1, 1, "nn.Upsample", [None, 2, "nearest"]]
    head: list[Any] = [[-1, 1, "Conv", [scaled[1], 1, 1]], up, [[-1, 1], 1, "Concat", [1]]]
    arriving = {4: neck}
    if twice := draw(st.booleans()):
        head += [[-1, 1, "C3", [scaled[2], False]], up, [[-1, 0], 1, "Concat", [1]]]
        arriving[7] = last
    # Not 3: 2 anchors of 3 + 5 rows are 16, which YOLOv5 takes for the head's own width in any row.
    class_count = draw(st.sampled_from([1, 2, 4]))
    architecture: dict[str, Any] = {
        "nc": class_count,
        "width_multiple": width,
        "backbone": [
            [-1, 1, "Conv", [scaled[0], 3, 2]],
            [-1, 1, "Conv", [scaled[0], 3, 2]],
            [-1, 1, "Conv", [scaled[0], 3, 2]],
        ],
        "head": head,
    }
    levels = [[8, 2], [5, 2]][not twice]
    architecture["head"].append([levels, 1, "Detect", ["nc", "anchors"] if anchors else ["nc"]])
    architecture |= {"anchors": [[4, 5, 8, 9]] * 2} if anchors else {"reg_max": 4}
    torch.manual_seed(draw(st.integers(0, 2**31)))
    module = build_module(architecture, family=family, class_count=class_count)
    detector = Detector(
        name="drawn",
        family=family,
        class_names=tuple(f"class {index}" for index in range(class_count)),
        image_size=8 * draw(st.integers(2, 5)),
        stride=max(strides_of(module)),
        architecture=architecture,
        module=module,
        weights_sha256=hash_weights(module),
        source="drawn",
    )
    return detector, arriving


@_fewer
@given(detectors(), st.sampled_from(["2", "4"]))
def test_a_conversion_changes_no_output_and_counts_input_positions(
    drawn: tuple[Detector, dict[int, int]], kernel: str
) -> None:
    detector, arriving = drawn
    converted = apply_operations(detector, [Step(operation="deconv", settings={"kernel": kernel})])
    assert converted.lineage[0].notes["layers"] == {f"model.{i}": c for i, c in arriving.items()}
    size = detector.image_size
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(detector.module).double()(x)
        assert torch.equal(copy.deepcopy(converted.module).double()(x), expected)
    # The first reads a map of stride 8, the second one of stride 4: c channels meet c kernels at each position.
    sides = dict(zip(arriving, (size // 8, size // 4), strict=False))
    macs = sum(c * c * int(kernel) ** 2 * sides[index] ** 2 for index, c in arriving.items())
    assert count_flops(converted) - count_flops(detector) == 2 * macs
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_detector(save_checkpoint(converted, Path(folder, "drawn")))
    assert replace(loaded, module=converted.module, source="drawn") == converted
    with torch.no_grad():
        assert torch.equal(loaded.module(x.float()), converted.module(x.float()))


@given(weights())
def test_the_two_largest_of_every_four_stay(weight: torch.Tensor) -> None:
    mask = two_of_four_mask(weight)
    pruned = weight * mask
    assert semi_structured_state(pruned.numpy()) == "holds"
    groups = [np.moveaxis(a.numpy(), 1, -1).reshape(-1, 4) for a in (weight.abs(), mask)]
    for magnitudes, kept in zip(*groups, strict=True):
        assert kept.sum() == 2
        assert magnitudes[~kept].max() <= magnitudes[kept].min()


@given(weights(), st.data())
def test_pruning_again_changes_nothing_and_another_weight_breaks_it(
    weight: torch.Tensor, data: st.DataObject
) -> None:
    pruned = weight * two_of_four_mask(weight)
    assert torch.equal(pruned * two_of_four_mask(pruned), pruned)
    groups = pruned.movedim(1, -1).reshape(-1, 4)
    groups[data.draw(st.integers(0, len(groups) - 1))] = 1.0
    broken = groups.reshape(pruned.movedim(1, -1).shape).movedim(-1, 1)
    assert semi_structured_state(broken.numpy()) == "broken"


@given(weights())
def test_the_mask_does_not_depend_on_sign_or_scale(weight: torch.Tensor) -> None:
    assert torch.equal(two_of_four_mask(weight), two_of_four_mask(weight * -4))


@_fewer
@given(detectors(), st.booleans())
def test_a_pruned_detector_keeps_half_of_what_it_prunes(
    drawn: tuple[Detector, dict[int, int]], deconv: bool
) -> None:
    detector, _ = drawn
    steps = [Step(operation="deconv", settings={})] if deconv else []
    pruned = apply_operations(detector, [*steps, PRUNE24])
    notes = pruned.lineage[-1].notes
    layers = dict(pruned.module.named_modules())
    for name, count in notes["layers"].items():
        assert semi_structured_state(layers[name].weight.detach().numpy()) == "holds"
        assert 2 * count["nonzero"] <= count["weights"]
    assert not set(notes["layers"]) & set(notes["left"])
    assert apply_operations(pruned, [PRUNE24]).weights_sha256 == pruned.weights_sha256
