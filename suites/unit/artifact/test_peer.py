"""INT8 by other tools: the same head in float, and refused where it cannot be."""

import builtins

import numpy as np
import pytest
from slimgate.artifact import float_head_nodes, inspect_file
from slimgate.artifact.peer import PEERS, quantize_with_peer
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


def test_the_settings_know_the_peers_that_there_are():
    assert tuple(PEERS) == settings_of.PEERS
    assert QuantizationSettings(peer="nncf").to_json() == {"peer": "nncf"}
    with pytest.raises(UsageError, match="peer 'nnfc': unknown peer; did you mean 'nncf'"):
        QuantizationSettings(peer="nnfc")
    with pytest.raises(UsageError, match="peer 'nncf': observer beside it\n  expected: a peer alone"):
        QuantizationSettings(peer="nncf", observer="mse")


def test_an_unknown_peer(artifacts, tmp_path):
    with pytest.raises(UsageError, match="peer 'nnfc': unknown peer; did you mean 'nncf'"):
        _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="nnfc")


def test_a_peer_that_is_not_installed(artifacts, tmp_path, monkeypatch):
    plain = builtins.__import__

    def absent(name, *arguments, **options):
        if name == "nncf":
            raise ModuleNotFoundError(name)
        return plain(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UnavailableError, match="peer 'nncf': the package nncf is not installed") as caught:
        _quantize(artifacts.fp32, tmp_path / "m.onnx", peer="nncf")
    assert "pip install nncf" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_without_images_or_of_a_quantised_file(artifacts, tmp_path):
    with pytest.raises(InputError, match="no images\n  expected: at least one"):
        _quantize(artifacts.fp32, tmp_path / "m.onnx", count=0)
    with pytest.raises(InputError, match="already quantised"):
        _quantize(artifacts.int8("x86"), tmp_path / "m.onnx")
