"""INT8 by other tools: the same head in float, and refused where it cannot be."""

import sys

import numpy as np
import pytest
from slimgate.artifact import float_head_nodes, inspect_file
from slimgate.artifact.peer import PYTHON_VARIABLE, _version_elsewhere, peer_version, quantize_with_peer
from slimgate.artifact.peer_tools import DISTRIBUTIONS, TOOLS
from slimgate.compress.quantize import QuantizationSettings
from slimgate.compress.quantize import settings as settings_of
from slimgate.errors import InputError, UnavailableError, UsageError
from slimgate.runtime import get_runtime

from fixtures.artifacts import random_images


def _quantize(source, path, *, peer="onnxruntime", count=2):
    images = (image[None] for image in random_images(count, seed=1))
    return quantize_with_peer(source, images, path, peer=peer, calibration_sha256="c")


def test_onnxruntimes_file_has_our_share_of_int8_and_our_head_in_float(artifacts, tmp_path):
    made = _quantize(artifacts.fp32, tmp_path / "m.onnx")
    assert made.shares == pytest.approx(dict(artifacts.int8("x86").shares))
    assert made.target == "x86-onnxruntime"
    assert made.lineage[-1].settings == {"peer": "onnxruntime"}
    floats = {layer.name for layer in inspect_file(made.path).layers if layer.precision == "fp32"}
    ours = {
        layer.name for layer in inspect_file(artifacts.int8("x86").path).layers if layer.precision == "fp32"
    }
    assert floats == ours
    assert floats & set(float_head_nodes(artifacts.fp32))
    with get_runtime("onnxruntime").open(made, threads=1) as runner:
        assert np.isfinite(runner.run(random_images(1))).all()


def test_ultralytics_chooses_for_itself_what_of_the_head_is_quantised(artifacts, tmp_path):
    made = _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="ultralytics")
    assert made.shares["int8"] > artifacts.int8("x86").shares["int8"]
    assert made.lineage[-1].settings == {"peer": "ultralytics"}
    assert made.lineage[-1].notes["version"] == peer_version("ultralytics")
    with get_runtime("onnxruntime").open(made, threads=1) as runner:
        assert np.isfinite(runner.run(random_images(1))).all()


def test_the_settings_know_the_peers_that_there_are():
    assert tuple(TOOLS) == tuple(DISTRIBUTIONS) == settings_of.PEERS
    assert QuantizationSettings(peer="nncf").to_json() == {"peer": "nncf"}
    with pytest.raises(UsageError, match="peer 'nnfc': unknown peer; did you mean 'nncf'"):
        QuantizationSettings(peer="nnfc")
    with pytest.raises(UsageError, match="peer 'nncf': observer beside it\n  expected: a peer alone"):
        QuantizationSettings(peer="nncf", observer="mse")


def test_an_unknown_peer(artifacts, tmp_path):
    with pytest.raises(UsageError, match="peer 'nnfc': unknown peer; did you mean 'nncf'"):
        _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="nnfc")


def _installed_elsewhere(monkeypatch, python):
    """Make this environment one without peers, beside another one."""
    monkeypatch.setattr("slimgate.artifact.peer.version_of", lambda name: None)
    _version_elsewhere.cache_clear()
    if python is None:
        monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(PYTHON_VARIABLE, python)


def test_a_peer_that_is_not_installed(artifacts, tmp_path, monkeypatch):
    _installed_elsewhere(monkeypatch, None)
    with pytest.raises(UnavailableError, match="peer 'nncf': the package nncf is not installed") as caught:
        _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="nncf")
    assert "pip install nncf" in str(caught.value)
    assert PYTHON_VARIABLE in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_of_another_environment_writes_the_same_file(artifacts, tmp_path, monkeypatch):
    here = _quantize(artifacts.fp32, tmp_path / "here.onnx")
    _installed_elsewhere(monkeypatch, sys.executable)
    there = _quantize(artifacts.fp32, tmp_path / "there.onnx")
    assert there.sha256 == here.sha256


@pytest.mark.parametrize(("python", "found"), [("/bin/false", "it failed: "), ("/absent", "No such file")])
def test_an_environment_that_cannot_run_the_peer(artifacts, tmp_path, monkeypatch, python, found):
    _installed_elsewhere(monkeypatch, python)
    with pytest.raises(UnavailableError, match=found) as caught:
        _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="modelopt")
    assert f"peer 'modelopt' with {PYTHON_VARIABLE}={python}" in str(caught.value)
    assert "expected: a Python whose environment has nvidia-modelopt" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_without_images_or_of_a_quantised_file(artifacts, tmp_path):
    with pytest.raises(InputError, match="no images\n  expected: at least one"):
        _quantize(artifacts.fp32, tmp_path / "m.onnx", count=0)
    with pytest.raises(InputError, match="already quantised"):
        _quantize(artifacts.int8("x86"), tmp_path / "m.onnx")
