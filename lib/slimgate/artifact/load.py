"""From a file to an artifact, checked once at this edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimgate.artifact.card import Card, card_from_metadata
from slimgate.artifact.fingerprint import hash_file
from slimgate.artifact.graph import Graph, load_onnx
from slimgate.artifact.precision import claimed_precision, precision_shares
from slimgate.detect.graph_nms import COLUMNS
from slimgate.errors import InputError
from slimgate.flow import Artifact


def artifact_from_file(path: Path | str, *, build_s: float = 0.0) -> Artifact:
    """Return the artifact in an ``.onnx`` or ``.engine`` file.

    Args:
        path: the file.
        build_s: seconds it took to make, when the caller has just made it.

    Raises:
        InputError: the file is missing, damaged, or not a detector with one prediction output.
    """
    path = Path(path)
    if path.suffix.lower() == ".engine":
        from slimgate.artifact.manifest import artifact_from_engine

        return artifact_from_engine(path)
    model = load_onnx(path)
    return artifact_from_model(path, model, build_s=build_s)


def artifact_from_model(path: Path, model: Any, *, build_s: float) -> Artifact:
    """Return the artifact of an ONNX file whose parsed content is at hand."""
    card = read_card(path, model)
    graph = Graph(model)
    shares = precision_shares(graph)
    return Artifact(
        path=path,
        format="onnx",
        target=card.target,
        # The claim of our own files stands beside the proof; a foreign file claims nothing, so it gets its proof.
        precision=card.precision if card.weights_sha256 else claimed_precision(shares),
        class_names=card.class_names,
        image_size=card.image_size,
        batch=card.batch,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        build_s=build_s,
        shares=shares,
        facts={"nodes": len(graph.nodes), "convolutions": len(graph.convolutions()), **card.facts},
        lineage=card.lineage,
    )


def read_card(path: Path, model: Any) -> Card:
    """Return what an ONNX detector says about itself, held against its own graph.

    Raises:
        InputError: wrong inputs or outputs, no class names, or class names that do not fit the output.
    """
    image_size, batch = _input_size(path, model)
    try:
        card = card_from_metadata(
            {entry.key: entry.value for entry in model.metadata_props},
            name=path.stem,
            image_size=image_size,
            batch=batch,
        )
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise InputError(
            str(path),
            found=f"damaged metadata ({type(error).__name__}: {error})",
            expected="the metadata that slimgate or ultralytics writes",
            action="export the model again",
        ) from error
    if card is None:
        raise InputError(
            str(path),
            found="no class names in the file's metadata",
            expected="a 'names' entry, as slimgate and ultralytics write it",
            action="export the model with 'slimgate export'",
        )
    if (card.image_size, card.batch) != (image_size, batch):
        raise InputError(
            str(path),
            found=f"its input has {image_size} pixels and batch {batch}, its metadata say "
            f"{card.image_size} and {card.batch}",
            expected="metadata that describe this graph",
            action="export the model again",
        )
    _check_outputs(path, model, card)
    return card


def set_card(model: Any, card: Card) -> None:
    """Write a card into an ONNX model's metadata, replacing what is there."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, card.to_metadata())
    model.producer_name = "slimgate"
    model.producer_version = ""
    model.doc_string = ""


def _input_size(path: Path, model: Any) -> tuple[int, int]:
    """Return image size and batch (0: dynamic) of the only input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    shapes = [
        [size.dim_value if size.HasField("dim_value") else 0 for size in value.type.tensor_type.shape.dim]
        for value in inputs
    ]
    if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] == 3 and shapes[0][2] == shapes[0][3] > 0:
        element = inputs[0].type.tensor_type.elem_type
        if element == 1:
            return int(shapes[0][2]), int(shapes[0][0])
        import onnx

        raise InputError(
            str(path),
            found=f"an input of type {onnx.TensorProto.DataType.Name(element)}",
            expected="float32 images; FP16 artifacts keep float32 inputs",
            action="export the model with 'slimgate export'",
        )
    described = ", ".join(f"{value.name} {shape}" for value, shape in zip(inputs, shapes, strict=True))
    raise InputError(
        str(path),
        found=f"inputs {described or 'none'} (0: dynamic)",
        expected="one input (n, 3, s, s) of fixed square size",
        action="export the model at one image size with 'slimgate export'",
    )


def _check_outputs(path: Path, model: Any, card: Card) -> None:
    outputs = list(model.graph.output)
    if len(outputs) != 1:
        raise InputError(
            str(path),
            found=f"{len(outputs)} outputs: {', '.join(value.name for value in outputs)}",
            expected="one output, predictions (n, 4 + classes, candidates)",
            action="export the model with its decoding head, or NMS inside it with 'slimgate export --nms'",
        )
    found = Graph(model).types.get(outputs[0].name)
    shape = found.shape if found else ()
    if "nms" in card.facts:
        _check_rows(path, shape)
        return
    rows = 4 + len(card.class_names)
    if len(shape) == 3 and shape[2] == rows + 1 and shape[1] != rows:
        raise InputError(
            str(path),
            found=f"an output of shape {_described(shape)}: an export of YOLOv5's own, with a column for objectness "
            "that its scores are yet to be multiplied by",
            expected=f"(n, {rows}, candidates): four box rows and one row per class",
            action="pass the .pt that it was made from to 'slimgate export'",
        )
    if len(shape) != 3 or shape[1] != rows:
        raise InputError(
            str(path),
            found=f"an output of shape {_described(shape)} for {len(card.class_names)} class names",
            expected=f"(n, {rows}, candidates): four box rows and one row per class",
            action="check that the class names belong to this model, or export it with 'slimgate export'",
        )


def _described(shape: tuple[int | None, ...]) -> tuple[int | str, ...]:
    return tuple("n" if size is None else size for size in shape)


def _check_rows(path: Path, shape: tuple[int | None, ...]) -> None:
    if len(shape) != 3 or shape[2] != COLUMNS:
        raise InputError(
            str(path),
            found=f"an output of shape {_described(shape)}, beside metadata that say it suppresses inside",
            expected=f"(n, max_det, {COLUMNS}): box, score and class",
            action="export it again with 'slimgate export --nms'",
        )
