"""What must hold of checkpoints for any small architecture."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slimgate.flow import Detector, Family, Step
from slimgate.model import build_module, hash_weights, load_detector, save_checkpoint, strides_of

torch.set_num_threads(1)
# Each example builds or copies a network.
_fewer = settings(max_examples=max(settings.default.max_examples // 6, 5))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
STEPS = st.builds(
    lambda o, s, n: Step(operation=o, settings=s, notes=n), st.text(max_size=8), SETTINGS, SETTINGS
)


@st.composite
def detectors(draw: st.DrawFn) -> Detector:
    """Draw a detector: family, widths, depth, block, activation, classes and weights."""
    family = draw(st.sampled_from(Family))
    width = draw(st.sampled_from([8, 16]))
    block = draw(st.sampled_from(["C3", "BottleneckCSP", "Conv"]))
    rest: list[Any] = [3] if block == "Conv" else []
    stem = draw(st.sampled_from([["Conv", [width, 6, 2, 2]], ["Focus", [width, 3]]]))
    pool = draw(st.sampled_from([["SPPF", [width, 5]], ["SPP", [width, [3, 5]]]]))
    up = draw(
        st.sampled_from([["nn.Upsample", [None, 2, "nearest"]], ["nn.ConvTranspose2d", [width, 4, 2, 1]]])
    )
    anchors = family is Family.YOLOV5_ANCHOR
    class_count = draw(st.integers(1, 4))
    architecture: dict[str, Any] = {
        "nc": class_count,
        "backbone": [
            [-1, 1, *stem],
            [-1, draw(st.integers(1, 2)), block, [width, *rest]],
            [-1, 1, "Conv", [16, 3, 2]],
        ],
        "head": [[-1, 1, *pool], [-1, 1, *up], [[-1, 1], 1, "Concat", [1]]],
    }
    architecture["head"].append([[5, 3], 1, "Detect", ["nc", "anchors"] if anchors else ["nc"]])
    architecture |= {"anchors": [[4, 5, 8, 9]] * 2} if anchors else {"reg_max": draw(st.sampled_from([1, 4]))}
    activation = draw(st.sampled_from([None, "nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.Hardswish()"]))
    if activation:
        architecture["activation"] = activation
    torch.manual_seed(draw(st.integers(0, 2**31)))
    module = build_module(architecture, family=family, class_count=class_count)
    return Detector(
        name=draw(st.text(max_size=10)),
        family=family,
        class_names=tuple(draw(st.lists(st.text(max_size=6), min_size=class_count, max_size=class_count))),
        image_size=4 * draw(st.integers(8, 16)),
        stride=max(strides_of(module)),
        architecture=architecture,
        module=module,
        weights_sha256=hash_weights(module),
        source="drawn",
        training=draw(SETTINGS),
        lineage=tuple(draw(st.lists(STEPS, max_size=2))),
    )


@_fewer
@given(detectors())
def test_a_checkpoint_gives_back_every_bit(detector: Detector) -> None:
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_detector(save_checkpoint(detector, Path(folder, "drawn")))
    assert replace(loaded, module=detector.module) == replace(detector, source="drawn.safetensors")
    ours, theirs = detector.module.state_dict(), loaded.module.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.numpy().tobytes() == theirs[name].numpy().tobytes()
    x = torch.rand(1, 3, detector.image_size, detector.image_size)
    with torch.no_grad():
        assert torch.equal(detector.module(x), loaded.module(x))


@_fewer
@given(detectors())
def test_half_storage_is_the_same_when_stored_again(detector: Detector) -> None:
    with tempfile.TemporaryDirectory() as folder:
        once = load_detector(save_checkpoint(detector, Path(folder, "once"), storage="float16"))
        twice = load_detector(save_checkpoint(once, Path(folder, "twice"), storage="float16"))
    assert once.weights_sha256 == twice.weights_sha256
