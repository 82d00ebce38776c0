"""What OpenVINO executes, read from its execution graph and held against the file."""

import dataclasses

import openvino
import pytest
from slimgate.errors import InputError
from slimgate.runtime import RUNTIMES
from slimgate.runtime.openvino_cpu import OpenVinoRunner
from slimgate.runtime.openvino_graph import ExecutedLayer, count_kernels, precisions_by_node

HINT = "INFERENCE_PRECISION_HINT"
without_bf16 = pytest.mark.skipif(
    RUNTIMES["openvino-bf16"].why_unavailable() is not None, reason="this CPU does not compute in bfloat16"
)


def _layer(precision, *nodes, kernel="brgconv_avx512"):
    return ExecutedLayer(name="layer", nodes=frozenset(nodes), precision=precision, kernel=kernel)


def test_a_convolution_runs_in_the_least_reduced_type_of_the_layers_that_execute_it():
    layers = [_layer("int8", "a"), _layer("bf16", "b", "b/add"), _layer("int8", "c"), _layer("fp32", "c")]
    assert precisions_by_node([*layers, _layer("boolean", "e")], ["a", "b", "c", "d", "e"]) == {
        "a": "int8",
        "b": "bf16",
        "c": "fp32",
        "d": "unknown",
        "e": "unknown",
    }
    assert count_kernels(layers) == {
        "brgconv_avx512 (bf16)": 1,
        "brgconv_avx512 (fp32)": 1,
        "brgconv_avx512 (int8)": 2,
    }


@pytest.mark.parametrize("batch", [0, 2])
def test_float_files_execute_in_float32_whatever_they_store(artifacts, batch):
    for source in (artifacts.fp32, artifacts.fp16):
        with RUNTIMES["openvino"].open(source, batch=batch, threads=1) as runner:
            assert runner.executed_shares() == {"fp32": 1.0}


@pytest.mark.parametrize("batch", [0, 2])
def test_our_int8_executes_as_its_graph_says(artifacts, batch):
    source = artifacts.int8("openvino")
    with RUNTIMES["openvino"].open(source, batch=batch, threads=1) as runner:
        assert runner.executed_shares() == pytest.approx(dict(source.shares))
        assert sum(runner.describe()["convolutions"].values()) == len(runner.convolutions)


@without_bf16
@pytest.mark.parametrize("batch", [0, 2])
def test_bfloat16_executes_in_bfloat16(artifacts, batch):
    with RUNTIMES["openvino-bf16"].open(artifacts.fp32, batch=batch, threads=1) as runner:
        assert runner.executed_shares() == {"bf16": 1.0}
    with RUNTIMES["openvino-bf16"].open(artifacts.int8("openvino"), batch=batch, threads=1) as runner:
        shares = runner.executed_shares()
        assert shares["int8"] == pytest.approx(artifacts.int8("openvino").shares["int8"])
        assert set(shares) == {"int8", "bf16"}


def _with_hint(monkeypatch, hint):
    """Plant the fault: whatever is asked for, the plugin computes in another type."""
    plain = openvino.Core.compile_model

    def compile_model(core, model, device, settings):
        return plain(core, model, device, {**settings, HINT: hint})

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)


def test_a_bfloat16_row_that_runs_in_float32_is_refused(artifacts, monkeypatch):
    _with_hint(monkeypatch, "f32")
    with pytest.raises(InputError, match="on openvino-bf16: convolutions executed in fp32") as caught:
        OpenVinoRunner(artifacts.fp32, name="openvino-bf16", precision="bf16", batch=1, threads=1)
    assert "expected: float convolutions in bf16" in str(caught.value)
    assert "this CPU, or this OpenVINO, does not compute in it" in str(caught.value)


@without_bf16
def test_a_float32_row_that_runs_in_bfloat16_is_refused(artifacts, monkeypatch):
    _with_hint(monkeypatch, "bf16")
    with pytest.raises(InputError, match="on openvino: convolutions executed in bf16") as caught:
        OpenVinoRunner(artifacts.fp32, name="openvino", precision="f32", batch=1, threads=1)
    assert "expected: float convolutions in fp32" in str(caught.value)


def test_an_int8_file_whose_convolutions_run_in_float_is_refused(artifacts, tmp_path):
    """The planted fault: the graph that is claimed is of INT8, the file that runs is not."""
    with RUNTIMES["openvino"].open(artifacts.fp32, threads=1) as runner:
        runner._path = artifacts.int8("openvino").path
        with pytest.raises(InputError, match="of the convolution MACs run in another precision") as caught:
            runner.executed_shares()
    assert "(int8 runs in fp32)" in str(caught.value)
    assert "expected: INT8 where the file's graph says so, fp32 elsewhere, within 1%" in str(caught.value)
    assert "do not ship it under this precision's name" in str(caught.value)


def test_a_cpu_without_bfloat16_says_so(artifacts, monkeypatch):
    from slimgate.errors import UnavailableError
    from slimgate.runtime import openvino_cpu

    reason = "this CPU does not compute in bfloat16"
    monkeypatch.setattr(openvino_cpu, "_why_unavailable", lambda precision: reason)
    with pytest.raises(UnavailableError, match=f"runtime 'openvino-bf16': {reason}") as caught:
        RUNTIMES["openvino-bf16"].open(dataclasses.replace(artifacts.fp32))
    assert "expected: a CPU with AVX-512 BF16 or AMX" in str(caught.value)
