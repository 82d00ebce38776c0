"""TensorRT engines, really built; and the files beside them."""

import dataclasses
import json

import onnx
import pytest
from slimgate.artifact import EngineOptions, Profile, artifact_from_file, build_engine, convert_fp16
from slimgate.artifact.manifest import manifest_path
from slimgate.artifact.trt import load_trt, why_not_installed
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.flow import Precision

RTX = "tensorrt-rtx"
needs_rtx = pytest.mark.skipif(
    why_not_installed(RTX) is not None,
    reason="tensorrt-rtx is not installed (pip install slimgate[tensorrt-rtx])",
)


@pytest.fixture(scope="module")
def engine(artifacts, tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "model.engine"
    return build_engine(artifacts.fp32, path, kind=RTX, compute_capability="8.6")


@pytest.fixture
def copied(engine, tmp_path):
    """Return a copy that a test may damage."""
    path = tmp_path / "model.engine"
    path.write_bytes(engine.path.read_bytes())
    manifest_path(path).write_bytes(manifest_path(engine.path).read_bytes())
    return path


@needs_rtx
def test_an_engine_says_what_it_is(engine, artifacts):
    assert engine.format == "engine"
    assert engine.target.startswith("tensorrt-rtx-")
    assert engine.target.endswith("-sm86")
    assert engine.precision is Precision.FP32
    assert (engine.batch, engine.image_size, engine.class_names) == (1, 64, artifacts.detector.class_names)
    assert engine.facts["kind"] == RTX
    assert engine.facts["compute_capability"] == "8.6"
    assert engine.facts["onnx_sha256"] == artifacts.fp32.sha256
    assert engine.lineage[-1].operation == "engine"
    assert engine.build_s > 0
    assert artifact_from_file(engine.path) == engine


@needs_rtx
def test_the_suffix_may_be_in_capitals(copied):
    path = copied.rename(copied.with_name("MODEL.ENGINE"))
    manifest_path(copied).rename(manifest_path(path))
    assert artifact_from_file(path).format == "engine"


@needs_rtx
def test_weight_memory_is_at_least_the_weights_and_shrinks_with_the_precision(artifacts, engine, tmp_path):
    memory = {"fp32": engine.facts["weight_memory_bytes"]}
    for precision in ("fp16", "int8"):
        source = artifacts.of(precision, "tensorrt")
        built = build_engine(source, tmp_path / f"{precision}.engine", kind=RTX, compute_capability="8.6")
        assert built.precision == precision
        assert built.shares == source.shares
        memory[precision] = built.facts["weight_memory_bytes"]
    weights = sum(
        4 * onnx.numpy_helper.to_array(tensor).size
        for tensor in onnx.load(artifacts.fp32.path).graph.initializer
        if tensor.name.endswith("weight")
    )
    assert memory["fp32"] >= weights
    assert memory["fp16"] < 0.8 * memory["fp32"]
    assert memory["int8"] < 0.8 * memory["fp32"]


@needs_rtx
@pytest.mark.parametrize("batch", [0, 4])
def test_batches_and_legacy_heads(legacy_artifacts, tmp_path, batch):
    built = build_engine(legacy_artifacts.fp16, tmp_path / "m.engine", kind=RTX, batch=batch)
    assert built.batch == batch
    assert built.target.endswith("-any")


@needs_rtx
def test_int8_of_another_target(artifacts, tmp_path):
    with pytest.raises(InputError, match="quantised for target 'x86'\n  expected: target 'tensorrt'"):
        build_engine(artifacts.int8("x86"), tmp_path / "m.engine", kind=RTX)


@needs_rtx
def test_an_engine_is_no_source(engine, tmp_path):
    with pytest.raises(InputError, match="format 'engine'\n  expected: an ONNX artifact"):
        build_engine(engine, tmp_path / "m.engine", kind=RTX)


@needs_rtx
def test_another_batch_than_the_file_is_fixed_to(artifacts, tmp_path):
    fixed = dataclasses.replace(artifacts.fp32, batch=2)
    with pytest.raises(UsageError, match=r"batch 1: .* is fixed to batch 2\n  expected: batch 2"):
        build_engine(fixed, tmp_path / "m.engine", kind=RTX)
    with pytest.raises(UsageError, match=r"batch 1:1:2: .* is fixed to batch 2\n  expected: batch 2"):
        build_engine(fixed, tmp_path / "m.engine", kind=RTX, batch=(Profile(1, 1, 2),))


@needs_rtx
def test_one_engine_for_several_generations_and_batch_sizes(artifacts, tmp_path):
    profiles = (Profile(1, 1, 1), Profile(2, 4, 8))
    built = build_engine(
        artifacts.fp16, tmp_path / "m.engine", kind=RTX, compute_capability="8.6,8.9", batch=profiles
    )
    assert built.target.endswith("-sm86-sm89")
    assert built.facts["compute_capability"] == "8.6,8.9"
    assert built.facts["profiles"] == [[1, 1, 1], [2, 4, 8]]
    assert built.batch == 0
    assert built.lineage[-1].settings["batch"] == "1:1:1, 2:4:8"


@needs_rtx
def test_the_manifest_says_what_each_convolution_is_in_the_graph(artifacts, tmp_path):
    built = build_engine(artifacts.int8("tensorrt"), tmp_path / "m.engine", kind=RTX)
    table = built.facts["convolutions"].values()
    total = sum(entry["macs"] for entry in table)
    eight_bit = sum(entry["macs"] for entry in table if entry["precision"] == "int8")
    assert eight_bit / total == pytest.approx(built.shares["int8"])


@needs_rtx
def test_a_workspace_that_no_kernel_fits_into(artifacts, tmp_path):
    options = EngineOptions(workspace_bytes=1)
    with pytest.raises(InputError, match=r"no tactics to implement the operation within workspace limit"):
        build_engine(artifacts.fp32, tmp_path / "m.engine", kind=RTX, options=options)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
@pytest.mark.parametrize("wanted", ["8.7", "banana", "8.6,8.7"])
def test_unknown_compute_capability(artifacts, tmp_path, wanted):
    with pytest.raises(
        UsageError, match=f"compute capability {wanted.split(',')[-1]}: not a target of tensorrt-rtx"
    ) as caught:
        build_engine(artifacts.fp32, tmp_path / "m.engine", kind=RTX, compute_capability=wanted)
    assert "one of 7.5, 8.0, 8.6, 8.9, 12.0" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_a_graph_that_tensorrt_refuses_is_one_message(artifacts, tmp_path):
    model = onnx.load(artifacts.fp32.path)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type = "Bernoulli"
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    source = dataclasses.replace(artifacts.fp32, path=path)
    with pytest.raises(InputError, match=r"odd\.onnx: tensorrt-rtx refuses it \(.*Bernoulli") as caught:
        build_engine(source, tmp_path / "m.engine", kind=RTX)
    assert len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "m.engine").exists()


def test_unknown_kind(artifacts, tmp_path):
    with pytest.raises(
        UsageError, match="engine kind 'tensorrt-rtz': unknown engine kind; did you mean 'tensorrt-rtx'"
    ):
        build_engine(artifacts.fp32, tmp_path / "m.engine", kind="tensorrt-rtz")


def test_a_kind_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError) as caught:
        load_trt("tensorrt")
    assert str(caught.value) == (
        "engine kind 'tensorrt': the package 'tensorrt' is not installed\n"
        "  expected: the Python package of tensorrt\n"
        "  what to do: pip install slimgate[tensorrt]"
    )


@pytest.mark.parametrize(("content", "text"), [(None, "No such file"), (b"", "the file is empty")])
def test_no_engine_at_all(tmp_path, content, text):
    path = tmp_path / "model.engine"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        artifact_from_file(path)


@needs_rtx
def test_an_engine_without_its_manifest(copied):
    manifest_path(copied).unlink()
    with pytest.raises(InputError, match=r"no manifest 'model\.engine\.json' beside it"):
        artifact_from_file(copied)


@needs_rtx
def test_a_truncated_engine(copied):
    content = copied.read_bytes()
    copied.write_bytes(content[:-100])
    with pytest.raises(InputError, match=f"{len(content) - 100} bytes, not the {len(content)} bytes"):
        artifact_from_file(copied)


@needs_rtx
def test_an_engine_with_one_bit_changed(copied):
    content = bytearray(copied.read_bytes())
    content[-1] ^= 1
    copied.write_bytes(bytes(content))
    with pytest.raises(InputError, match="expected: the engine with sha256"):
        artifact_from_file(copied)


@needs_rtx
def test_an_engine_of_another_kind_than_its_manifest(copied):
    path = manifest_path(copied)
    manifest = json.loads(path.read_text())
    manifest["facts"]["kind"] = "tensorrt"
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"built by tensorrt-rtx [\d.]+; its manifest says tensorrt\n"):
        artifact_from_file(copied)


@needs_rtx
@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda value: "{half", "not a readable manifest"),
        (lambda value: json.dumps(value | {"format": "other"}), "format 'other'"),
        (lambda value: json.dumps({key: value[key] for key in value if key != "card"}), "KeyError: 'card'"),
        (lambda value: "[]", "format 'list'"),
    ],
)
def test_a_damaged_manifest(copied, damage, text):
    path = manifest_path(copied)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(InputError, match=r"model\.engine\.json: not a readable manifest") as caught:
        artifact_from_file(copied)
    assert text in str(caught.value)


def test_converting_an_engine_is_refused_by_its_content(tmp_path, artifacts):
    source = dataclasses.replace(artifacts.fp32, path=tmp_path / "missing.onnx")
    with pytest.raises(InputError, match=r"missing\.onnx: No such file"):
        convert_fp16(source, tmp_path / "m.onnx")
