"""The key of an artifact: everything that decides it is in it."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import slimgate
from slimgate.study import keys, store

PACKAGE = Path(slimgate.__file__).parent
DISTRIBUTIONS = {**packages_distributions(), "zint": ["zint-bindings"]}
DECIDE_NOTHING = {
    "filelock": "locks",
    "optuna": "searches, which write studies",
    "platformdirs": "says where files lie",
    "pooch": "fetches what is pinned by sha256",
    "requests": "fetches what is pinned by sha256",
    "pyyaml": "what it reads is in the key",
    "zint-bindings": "draws pictures, whose sha256 is in the key",
    "modelopt": "a peer, whose version is in the key of its file",
    "nncf": "a peer, whose version is in the key of its file",
}


def _files(parts: tuple[str, ...]) -> Iterator[Path]:
    for part in parts:
        yield from [PACKAGE / part] if part.endswith(".py") else (PACKAGE / part).rglob("*.py")


def _imported(parts: tuple[str, ...]) -> set[str]:
    """Return the distributions that a part of the source imports."""
    modules = set()
    for file in _files(parts):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    modules -= {*sys.stdlib_module_names, "slimgate"}
    return {name.lower() for module in modules for name in DISTRIBUTIONS.get(module, [module])}


@pytest.mark.parametrize(
    ("parts", "packages"),
    [
        (store.SHAPING_SOURCE, keys.PACKAGES),
        (keys.MEASURING_SOURCE, keys.PACKAGES + keys.MEASURING_PACKAGES),
    ],
    ids=["shaping", "measuring"],
)
def test_every_package_that_shapes_an_artifact_has_its_version_in_the_key(parts, packages) -> None:
    assert {"numpy", "torch"} <= _imported(parts)
    assert _imported(parts) - set(DECIDE_NOTHING) - {"tensorrt", "tensorrt_rtx"} <= set(packages)
    assert set(keys.versions(*keys.MEASURING_PACKAGES)) == {*keys.PACKAGES, *keys.MEASURING_PACKAGES}


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert keys.versions("no-such-package")["no-such-package"] is None
    assert keys.versions()["numpy"]


@pytest.mark.parametrize(
    "file",
    [
        "model/architectures/yolov5n-deconv.yaml",
        "study/int8.py",
        "study/half.py",
        "artifact/simplify.py",
        "flow.py",
    ],
)
def test_source_that_shapes_artifacts_is_in_their_key(tmp_path, monkeypatch, file) -> None:
    copied = _copy(tmp_path, monkeypatch, store.SHAPING_SOURCE)
    before = _hash(store.SHAPING_SOURCE)
    assert before == store.source_sha256()
    (copied / "runtime").mkdir()
    (copied / "runtime" / "ort.py").write_text("")
    assert _hash(store.SHAPING_SOURCE) == before
    (copied / file).write_bytes((copied / file).read_bytes() + b"\n")
    assert _hash(store.SHAPING_SOURCE) != before


def test_source_that_measures_is_in_the_key_of_what_was_decided_by_it(tmp_path, monkeypatch) -> None:
    inputs = keys.measuring_inputs()["measuring"]
    assert set(inputs["versions"]) > {"openvino", "hotcoco", "onnxruntime"}
    copied = _copy(tmp_path, monkeypatch, keys.MEASURING_SOURCE)
    assert _hash(keys.MEASURING_SOURCE) == inputs["source"]
    for file in ("measure/accuracy.py", "runtime/ort.py", "study/latency.py"):
        before = _hash(keys.MEASURING_SOURCE)
        (copied / file).write_text("changed = 1\n")
        assert _hash(keys.MEASURING_SOURCE) != before


def _copy(folder: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...]) -> Path:
    """Copy parts of the source, and have them hashed in place of slimgate's own."""
    copied = folder / "slimgate"
    for part in parts:
        (copied / part).parent.mkdir(parents=True, exist_ok=True)
        if part.endswith(".py"):
            shutil.copyfile(PACKAGE / part, copied / part)
        else:
            shutil.copytree(PACKAGE / part, copied / part, ignore=shutil.ignore_patterns("__pycache__"))
    store.source_sha256()
    monkeypatch.setattr(store, "__file__", str(copied / "study" / "store.py"))
    return copied


def _hash(parts: tuple[str, ...]) -> str:
    return store.source_sha256.__wrapped__(parts)
