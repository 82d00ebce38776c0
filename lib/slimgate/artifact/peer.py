"""INT8 as other tools write it, beside ours: the same head in float, the same images, their own defaults."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimgate.artifact import peer_tools
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.head import float_head_nodes
from slimgate.artifact.load import artifact_from_file, read_card, set_card
from slimgate.artifact.peer_tools import DISTRIBUTIONS, TOOLS, version_of
from slimgate.artifact.placement import TARGETS, place_pairs
from slimgate.artifact.semi_structured import require_semi_structured
from slimgate.artifact.write import replace_file
from slimgate.compress.quantize.source import load_quantizable
from slimgate.errors import InputError, UnavailableError, unknown_name
from slimgate.flow import Artifact, Precision, Step

FloatArray = npt.NDArray[np.float32]

PYTHON_VARIABLE = "SLIMGATE_PEER_PYTHON"
"""Environment variable that names the Python of another environment, for peers that are not installed in this one."""


def quantize_with_peer(
    source: Artifact, inputs: Iterable[FloatArray], path: Path, *, peer: str, calibration_sha256: str
) -> Artifact:
    """Write the INT8 file of another tool, at its defaults but for what must stay in float.

    The head and what our x86 target leaves in float stay in float here too: without that, onnxruntime's defaults
    give a detector that finds nothing, and the comparison would be of heads and not of quantisers. ultralytics
    decides that for itself.

    Args:
        source: the FP32 ONNX artifact.
        inputs: calibration images ``(1, 3, s, s)`` float32 in 0..1, one after the other.
        path: the ``.onnx`` file; replaced as a whole or not at all.
        peer: a key of ``peer_tools.TOOLS``.
        calibration_sha256: of the calibration list, for the record.

    Raises:
        UsageError: unknown peer.
        UnavailableError: it is installed neither here nor where ``PYTHON_VARIABLE`` says, or fails there.
        InputError: the source cannot be quantised, or there are no images.
    """
    version = peer_version(peer)
    if version is None:
        package = DISTRIBUTIONS[peer][0]
        raise UnavailableError(
            f"peer '{peer}'",
            found=f"the package {package} is not installed",
            expected=f"{package}, beside onnx and onnxruntime",
            action=f"pip install {package}; where it asks for other versions than slimgate's, into an environment of "
            f"its own whose Python {PYTHON_VARIABLE} names",
        )
    started = time.perf_counter()
    model = load_quantizable(source.path)
    card = read_card(source.path, model)
    head = dict.fromkeys(float_head_nodes(source), "head")
    floats = sorted({*head, *place_pairs(Graph(model), head, TARGETS["x86"]).floats})
    images = list(inputs)
    if not images:
        raise InputError(
            f"calibration of {source.path}",
            found="no images",
            expected="at least one, better 500 training images",
            action="name a dataset with --calib",
        )
    with tempfile.TemporaryDirectory(prefix="slimgate-peer-") as folder:
        written = Path(folder, "peer.onnx")
        _quantize(peer, source.path, images, floats, written)
        model = load_onnx(written)
    step = Step(
        operation="quantize",
        settings={"peer": peer},
        notes={
            "calibration_sha256": calibration_sha256,
            "calibration_count": len(images),
            "version": version,
        },
    )
    card = dataclasses.replace(
        card, precision=Precision.INT8, target=f"x86-{peer}", lineage=(*card.lineage, step)
    )
    require_semi_structured(path, Graph(model), card.lineage)
    set_card(model, card)
    with replace_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return artifact_from_file(path, build_s=time.perf_counter() - started)


def peer_version(peer: str) -> str | None:
    """Return the version of a peer, in this environment or in that of ``PYTHON_VARIABLE``; None where it is in none.

    Raises:
        UsageError: unknown peer.
    """
    if peer not in TOOLS:
        raise unknown_name("peer", peer, TOOLS)
    python = os.environ.get(PYTHON_VARIABLE)
    return version_of(peer) or (_version_elsewhere(peer, python) if python else None)


@cache
def _version_elsewhere(peer: str, python: str) -> str | None:
    value = json.loads(_run_elsewhere(peer, python, ["version", peer]))
    return value if isinstance(value, str) else None


def _quantize(peer: str, source: Path, images: list[FloatArray], floats: list[str], path: Path) -> None:
    if version_of(peer) is not None:
        if peer == "ultralytics":
            from slimgate.model import ultralytics_env  # noqa: F401 - sets the environment before it loads
        TOOLS[peer](str(source), images, floats, str(path))
        return
    inputs, names = path.with_name("images.npy"), path.with_name("floats.json")
    np.save(inputs, np.concatenate(images))
    names.write_text(json.dumps(floats), encoding="utf-8")
    _run_elsewhere(peer, os.environ[PYTHON_VARIABLE], [peer, str(source), str(inputs), str(names), str(path)])


def _run_elsewhere(peer: str, python: str, arguments: list[str]) -> str:
    """Run the tools as a script of another environment's Python and return what it prints."""
    # -I: neither this environment's PYTHONPATH nor this folder, whose names are some of the standard library's.
    command = [python, "-I", str(Path(peer_tools.__file__)), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "nothing")
        raise UnavailableError(
            f"peer '{peer}' with {PYTHON_VARIABLE}={python}",
            found=f"it failed: {last}",
            expected=f"a Python whose environment has {DISTRIBUTIONS[peer][0]}",
            action=f"correct {PYTHON_VARIABLE}, or install {DISTRIBUTIONS[peer][0]} there",
        ) from error
    return done.stdout
