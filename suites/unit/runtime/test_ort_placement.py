"""Placement of nodes: from a real profile of the CPU provider, and what of it a GPU runtime refuses."""

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
from slimgate.errors import InputError
from slimgate.runtime import RUNTIMES
from slimgate.runtime.ort_placement import CPU, Placed, check_placement, placement_from_profile

from fixtures.artifacts import random_images

CUDA = "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def profile(artifacts, tmp_path_factory):
    """Return the profile of one real run."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path_factory.mktemp("profile") / "run")
    session = onnxruntime.InferenceSession(
        str(artifacts.fp32.path), options, providers=["CPUExecutionProvider"]
    )
    session.run(None, {"images": random_images(1)})
    return Path(session.end_profiling())


@pytest.fixture
def placement(profile):
    return placement_from_profile(profile)


def test_what_ran_is_what_the_graph_holds(placement, artifacts):
    graph = onnx.load(artifacts.fp32.path).graph
    ran = [placed for placed in placement.values() if placed.operator == "Conv"]
    assert len(ran) == sum(node.op_type == "Conv" for node in graph.node)
    assert {placed.provider for placed in placement.values()} == {CPU}


def test_a_run_on_the_cpu_is_no_run_on_cuda(placement):
    check_placement("m.onnx on onnxruntime", placement, provider=CPU)
    with pytest.raises(
        InputError, match=r"m\.onnx on cuda: \d+ convolutions left to another provider: "
    ) as caught:
        check_placement("m.onnx on cuda", placement, provider=CUDA)
    assert f"expected: every convolution on {CUDA}\n" in str(caught.value)


def test_one_convolution_left_behind(placement):
    moved = {name: Placed(CUDA, placed.operator) for name, placed in placement.items()}
    check_placement("m.onnx on cuda", moved, provider=CUDA)
    left = next(name for name, placed in placement.items() if placed.operator == "Conv")
    with pytest.raises(InputError, match="1 convolutions left to another provider: ") as caught:
        check_placement("m.onnx on cuda", moved | {left: Placed(CPU, "Conv")}, provider=CUDA)
    assert left in str(caught.value)


def test_arithmetic_that_fell_back_and_shapes_that_may():
    good = {"c": Placed(CUDA, "Conv"), "s": Placed(CPU, "Shape"), "g": Placed(CPU, "Gather")}
    check_placement("m.onnx", good, provider=CUDA)
    with pytest.raises(InputError, match=r"1 nodes fell back to the CPU: pool \(MaxPool\)\n") as caught:
        check_placement("m.onnx", good | {"pool": Placed(CPU, "MaxPool")}, provider=CUDA)
    assert f"expected: nodes that compute on {CUDA}, or another GPU provider" in str(caught.value)


def test_what_tensorrt_leaves_to_cuda_is_no_fall_back():
    placed = {"c": Placed("TensorrtExecutionProvider", "Conv"), "n": Placed(CUDA, "NonMaxSuppression")}
    check_placement("m.onnx", placed, provider="TensorrtExecutionProvider")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{half", r"not a profile \(JSONDecodeError"),
        ("{}", "no node ran"),
        (json.dumps([{"cat": "Session", "name": "session_initialization"}]), "no node ran"),
        (json.dumps([{"cat": "Node", "name": "c_kernel_time", "args": {}}]), r"not a profile \(KeyError"),
        (None, r"not a profile \(FileNotFoundError"),
    ],
)
def test_what_is_no_profile(tmp_path, content, found):
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"profile\.json: {found}"):
        placement_from_profile(path)


def test_int8_on_cuda_is_float(artifacts):
    with RUNTIMES["onnxruntime"].open(artifacts.int8("tensorrt"), threads=1) as runner:
        assert runner.executed_shares() is None
        runner.provider = CUDA
        shares = runner.executed_shares()
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1)
    assert "int8" not in shares
