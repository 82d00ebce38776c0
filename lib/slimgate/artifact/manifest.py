"""What lies beside a TensorRT engine: an engine cannot say for itself what it detects."""

from __future__ import annotations

import json
from pathlib import Path

from slimgate.artifact.card import Card
from slimgate.artifact.fingerprint import hash_file
from slimgate.artifact.graph import read_bytes
from slimgate.artifact.plan_header import read_plan_header
from slimgate.errors import InputError
from slimgate.flow import Artifact, Json

FORMAT = "slimgate-engine/1"


def manifest_path(engine: Path) -> Path:
    """Return the path of an engine's manifest: ``model.engine.json``."""
    return engine.with_name(f"{engine.name}.json")


def manifest_json(artifact: Artifact, card: Card) -> dict[str, Json]:
    """Return what ``artifact_from_engine`` reads back."""
    return {
        "format": FORMAT,
        "card": card.to_json(),
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "build_s": artifact.build_s,
        "shares": dict(artifact.shares),
        "facts": dict(artifact.facts),
    }


def artifact_from_engine(path: Path) -> Artifact:
    """Return the artifact of an engine and its manifest.

    Raises:
        InputError: either is missing or damaged, or they do not belong together.
    """
    content = read_bytes(path, kind="TensorRT engine")
    header = read_plan_header(path, content)
    manifest = _read_manifest(path)
    try:
        card = Card.from_json(manifest["card"])
        artifact = Artifact(
            path=path,
            format="engine",
            target=card.target,
            precision=card.precision,
            class_names=card.class_names,
            image_size=card.image_size,
            batch=card.batch,
            sha256=str(manifest["sha256"]),
            size_bytes=int(manifest["size_bytes"]),
            build_s=float(manifest["build_s"]),
            shares={str(name): float(share) for name, share in manifest["shares"].items()},
            facts=dict(manifest["facts"]),
            lineage=card.lineage,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(manifest_path(path), f"{type(error).__name__}: {error}") from error
    if len(content) != artifact.size_bytes or hash_file(path) != artifact.sha256:
        raise InputError(
            str(path),
            found=f"{len(content)} bytes, not the {artifact.size_bytes} bytes that its manifest describes",
            expected=f"the engine with sha256 {artifact.sha256[:12]}",
            action="copy engine and manifest together, or build the engine again",
        )
    if header.kind != artifact.facts.get("kind"):
        raise InputError(
            str(path),
            found=f"built by {header.kind} {header.version}; its manifest says {artifact.facts.get('kind')}",
            expected="engine and manifest of one build",
            action="build the engine again with 'slimgate export --format engine'",
        )
    return artifact


def _read_manifest(engine: Path) -> dict[str, Json]:
    path = manifest_path(engine)
    if not path.exists():
        raise InputError(
            str(engine),
            found=f"no manifest '{path.name}' beside it",
            expected="the manifest that names classes and image size",
            action="copy it along, or build the engine again with 'slimgate export --format engine'",
        )
    try:
        value = json.loads(read_bytes(path, kind="manifest"))
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    if found != FORMAT:
        raise _unreadable(path, f"format '{found}'")
    return dict(value)


def _unreadable(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=f"not a readable manifest ({found})",
        expected=f"JSON of format '{FORMAT}'",
        action="build the engine again with 'slimgate export --format engine'",
    )
